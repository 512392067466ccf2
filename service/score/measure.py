"""A plain physical figure beside the score: noise in soft tissue, in HU."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SOFT_TISSUE_HU = (0.0, 100.0)
BLOCK_PIXELS = 8
FEWEST_BLOCKS = 60
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
