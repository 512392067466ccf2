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
    deviations = _block_deviations(hu)
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
    """Deviations from a plane in every block of soft tissue of the half-overlapping grid.

    Blocks are four cells each, and a cell's sums are added up once for the blocks that share it.
    """
    side = BLOCK_PIXELS // 2
    rows, columns = (length // side for length in hu.shape)
    if rows < 2 or columns < 2:
        return np.empty(0, np.float32)
    # about the middle of soft tissue, so that squares lose nothing in single precision
    about = hu[: rows * side, : columns * side] - np.float32(sum(SOFT_TISSUE_HU) / 2)
    of_rows, of_moments = _added(about.reshape(-1, side))
    total, down = _added(of_rows.reshape(rows, side, columns).transpose(0, 2, 1))
    across, _ = _added(of_moments.reshape(rows, side, columns).transpose(0, 2, 1))
    squares, _ = _added(np.square(about).reshape(-1, side))
    square, _ = _added(squares.reshape(rows, side, columns).transpose(0, 2, 1))
    sums, squared = _blocks(total), _blocks(square)
    means = sums / BLOCK_PIXELS**2 + sum(SOFT_TISSUE_HU) / 2
    soft = (means > SOFT_TISSUE_HU[0]) & (means < SOFT_TISSUE_HU[1])
    # a cell's middle lies half a cell off its block's
    upper, lower = total[:, :-1] + total[:, 1:], total[:-1] + total[1:]
    offset = np.float32(side / 2)
    down_block = _blocks(down) + offset * (upper[1:] - upper[:-1])
    across_block = _blocks(across) + offset * (lower[:, 1:] - lower[:, :-1])
    # what a plane explains is shading, not noise
    whole = np.arange(BLOCK_PIXELS) - (BLOCK_PIXELS - 1) / 2
    spread = BLOCK_PIXELS * float(whole @ whole)
    left = (
        squared[soft]
        - np.square(sums[soft]) / BLOCK_PIXELS**2
        - (np.square(down_block[soft]) + np.square(across_block[soft])) / spread
    )
    return np.asarray(np.sqrt(np.maximum(left, 0.0) / (BLOCK_PIXELS**2 - 3)), np.float32)


def _added(
    fours: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Of `[…, 4]`: the sums, and the first moments about the middle. (Added one by one: a matrix
    product as thin as this would wake every thread of the BLAS library.)"""
    a, b, c, d = (fours[..., place] for place in range(BLOCK_PIXELS // 2))
    return a + b + c + d, np.float32(1.5) * (d - a) + np.float32(0.5) * (c - b)


def _blocks(cells: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Sums over 2×2 neighbouring cells."""
    strips = cells[1:] + cells[:-1]
    return np.asarray(strips[:, 1:] + strips[:, :-1])
