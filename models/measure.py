"""Plain physical figures beside the score: noise in soft tissue in HU, an MR slice's SNR."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SOFT_TISSUE_HU = (0.0, 100.0)
BLOCK_PIXELS = 8
FEWEST_BLOCKS = 60
FOREGROUND_SHARE = 0.2
_BIN_HU = 0.5
_SMOOTHING_BINS = 5


def soft_tissue_noise_hu(hu: npt.NDArray[np.float32]) -> float | None:
    """The noise of one CT slice `[H, W]` in HU; None where too little soft tissue is in view.

    After Christianson et al. (AJR 2015;205:W93, "Automated technique to measure noise in clinical
    CT examinations"): the standard deviation in every small block whose mean is that of soft
    tissue, and of these the commonest value, which edges and structure do not move. Blocks of
    8×8 pixels on a half-overlapping grid; soft tissue is judged by the block's mean, so heavy
    noise does not empty the sample. A plane is taken out of each block: shading is not noise.
    """
    deviations = np.concatenate(
        [_block_deviations(hu[top:, left:]) for top in (0, 4) for left in (0, 4)]
    )
    if deviations.size < FEWEST_BLOCKS:
        return None
    counts, edges = np.histogram(
        deviations, np.arange(0.0, deviations.max() + 2 * _BIN_HU, _BIN_HU)
    )
    smooth = np.convolve(counts, np.ones(_SMOOTHING_BINS), mode="same")
    peak = int(np.argmax(smooth))
    near = np.abs(deviations - (edges[peak] + _BIN_HU / 2)) <= _SMOOTHING_BINS * _BIN_HU
    return float(np.median(deviations[near]))


def foreground_snr(signal: npt.NDArray[np.float32], level: float) -> float | None:
    """Signal over noise of one MR slice `[H, W]`; None where too little foreground is in view.

    The median of the foreground (brighter than FOREGROUND_SHARE of the stack's level) over the
    deviation of its noise. That is estimated within the foreground, for the background of parallel
    imaging is masked or has noise of its own: from the diagonal detail of Haar wavelets, 2×2
    pixels each, by its median absolute value over 0.6745 (Donoho & Johnstone, Biometrika 1994;81:
    425; for Rician MR noise, which is Gaussian where the signal is several times it, Coupé et al.,
    Med Image Anal 2010;14:483). A picture whose scanner interpolated or filtered it has less
    detail, and so a higher figure: compare series of one protocol only.
    """
    rows, columns = (side // 2 * 2 for side in signal.shape)
    quads = signal[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2).transpose(0, 2, 1, 3)
    quads = quads[quads.min(axis=(2, 3)) > FOREGROUND_SHARE * level]
    if len(quads) < FEWEST_BLOCKS:
        return None
    diagonal = (quads[:, 0, 0] - quads[:, 0, 1] - quads[:, 1, 0] + quads[:, 1, 1]) / 2
    noise = float(np.median(np.abs(diagonal))) / 0.6745
    return float(np.median(quads)) / noise if noise > 0 else None


def _block_deviations(hu: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    rows, columns = (side // BLOCK_PIXELS for side in hu.shape)
    if not rows or not columns:
        return np.empty(0, np.float32)
    blocks = hu[: rows * BLOCK_PIXELS, : columns * BLOCK_PIXELS].reshape(
        rows, BLOCK_PIXELS, columns, BLOCK_PIXELS
    )
    means = blocks.mean(axis=(1, 3))
    soft = (means > SOFT_TISSUE_HU[0]) & (means < SOFT_TISSUE_HU[1])
    tissue = blocks.transpose(0, 2, 1, 3)[soft]
    tissue -= tissue.mean(axis=(1, 2), keepdims=True)
    # what a plane explains is shading, not noise
    place = np.arange(BLOCK_PIXELS, dtype=np.float32) - (BLOCK_PIXELS - 1) / 2
    spread = BLOCK_PIXELS * float(place @ place)
    down, across = tissue.sum(axis=2) @ place, tissue.sum(axis=1) @ place
    squares = np.square(tissue).sum(axis=(1, 2)) - (np.square(down) + np.square(across)) / spread
    freedom = BLOCK_PIXELS**2 - 3
    return np.asarray(np.sqrt(np.maximum(squares, 0.0) / freedom), np.float32)
