"""The scale of an MR stack: signal has no unit, so its own foreground has to give one.

NumPy only. Every slice tells its foreground and the level of it; the stack's scale is the median
over the slices that show anatomy, on a grid of steps, so that it settles after a few slices and
is the same in whatever order they arrive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.render import Float

LEVEL_PERCENTILE = 99.0
LEAST_FOREGROUND = 0.10
"""Share of the picture that must be foreground for a slice to vote, and to be scored."""

DARKEST = 1 / 6
"""Of its stack's level: a slice below it shows the receiver's noise, however it looks."""

DIM = 0.1
"""Of its stack's level: what is darker counts as background."""

STEP = 0.05
"""The grid of scales: neighbours differ by a factor of e^STEP."""

_BINS = 256


@dataclass(frozen=True)
class SliceLevel:
    """What a slice says of its stack's scale.

    level: the 99th percentile of its foreground; foreground: the share of its pixels that is.
    """

    level: float
    foreground: float

    @property
    def votes(self) -> bool:
        return self.foreground >= LEAST_FOREGROUND and self.level > 0


def slice_level(signal: Float) -> SliceLevel:
    """The foreground of a slice `[H, W]` and its level. Foreground is what lies above Otsu's
    threshold of the signal's square root, which keeps dark tissue from counting as background."""
    root = np.sqrt(signal)
    top = float(np.percentile(root, 99.9))
    if not top > root.min():
        return SliceLevel(0.0, 0.0)
    counts, edges = np.histogram(np.minimum(root, top), _BINS, (0.0, top))
    threshold = edges[_otsu(counts) + 1]
    foreground = signal[root > threshold]
    if not foreground.size:
        return SliceLevel(0.0, 0.0)
    return SliceLevel(
        float(np.percentile(foreground, LEVEL_PERCENTILE)), foreground.size / signal.size
    )


def stack_level(levels: Sequence[float]) -> float:
    """The scale of a stack from the levels of its voting slices (at least one), on the grid.

    Slices far below the others' upper quartile are noise beyond the patient, and do not count.
    """
    votes = np.asarray(levels, float)
    bright = votes >= DARKEST * np.percentile(votes, 75)
    return grid_level(float(np.median(votes[bright])))


def shows_anatomy(signal: Float, own: SliceLevel, level: float) -> bool:
    """Whether a slice `[H, W]` shows anatomy on the scale of its stack: it is not far darker than
    the others, and enough of it is brighter than their background."""
    if own.level < DARKEST * level:
        return False
    return float((signal > DIM * level).mean()) >= LEAST_FOREGROUND


def grid_level(level: float) -> float:
    """The nearest scale of the grid."""
    return math.exp(round(math.log(level) / STEP) * STEP)


def levels_differ(one: float, other: float) -> bool:
    """Whether two scales of the grid are not the same."""
    return abs(math.log(one / other)) > STEP / 2


def _otsu(counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> int:
    """The bin that ends the lower of two classes of greatest separation (Otsu 1979)."""
    weights = counts / counts.sum()
    places = np.arange(len(counts))
    below = np.cumsum(weights)
    mean_below = np.cumsum(weights * places)
    total = mean_below[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (total * below - mean_below) ** 2 / (below * (1 - below))
    return int(np.nanargmax(np.where(np.isfinite(between), between, np.nan)))
