"""From a decoded slice to what the network sees, the same in training and in service.

NumPy only. Two steps: stored values become physical ones (`to_hu`), physical ones become the
picture a reader would see (`render`). The trainer degrades between the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]

AIR_HU = -1024.0
"""What padding outside the reconstruction circle is taken to be."""

HIGHEST_HU = 3071.0
"""The top of the 12-bit CT scale; extended scales (metal) are clipped to it."""


@dataclass(frozen=True)
class RenderSpec:
    """How a bundle wants its slices drawn.

    kind: `ct-window`, one grey channel, HU through a linear window (PS3.3 C.11.2.1.3.2,
    LINEAR_EXACT: no half-unit offset) onto 0…1.
    """

    kind: str
    rows: int
    columns: int
    window_center_hu: float
    window_width_hu: float

    def __post_init__(self) -> None:
        if self.kind != "ct-window":
            raise ValueError(f"render.kind = {self.kind!r} is not known; known: 'ct-window'")
        if self.rows < 1 or self.columns < 1 or self.window_width_hu <= 0:
            raise ValueError(
                "render.rows, render.columns and render.window_width_hu must be positive"
            )

    @classmethod
    def from_table(cls, table: dict[str, Any]) -> RenderSpec:
        """From the `[render]` table of a card or a recipe. Raises KeyError, ValueError."""
        return cls(
            kind=str(table["kind"]),
            rows=int(table["rows"]),
            columns=int(table["columns"]),
            window_center_hu=float(table["window_center_hu"]),
            window_width_hu=float(table["window_width_hu"]),
        )


def to_hu(stored: npt.NDArray[Any], ds: Any) -> Float:
    """Stored values `[H, W]` to Hounsfield units `[H, W]` (PS3.3 C.11.1: slope, intercept).

    `ds` is anything that answers to DICOM keywords (a pydicom Dataset, the frame's own functional
    groups already merged into it). Pixel Padding Value, with its range limit where given, becomes
    air (PS3.3 C.7.5.1.1.2), and the result is clipped to the 12-bit scale.
    """
    slope = float(getattr(ds, "RescaleSlope", None) or 1.0)
    intercept = float(getattr(ds, "RescaleIntercept", None) or 0.0)
    hu = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    padding = getattr(ds, "PixelPaddingValue", None)
    if padding is not None:
        limit = getattr(ds, "PixelPaddingRangeLimit", None)
        low, high = sorted((int(padding), int(padding if limit is None else limit)))
        hu[(stored >= low) & (stored <= high)] = AIR_HU
    return np.clip(hu, AIR_HU, HIGHEST_HU, out=hu)


def render(hu: Float, spec: RenderSpec) -> Float:
    """Draw one slice `[H, W]` in HU as the network's input `[1, rows, columns]`, values 0…1.

    The window comes first, as on a reader's screen: noise beyond it is clipped before it is
    averaged. The slice is scaled to fit with its aspect kept and centred on black.
    """
    low = spec.window_center_hu - spec.window_width_hu / 2
    picture = np.clip((hu - np.float32(low)) / np.float32(spec.window_width_hu), 0.0, 1.0)
    scale = min(spec.rows / picture.shape[0], spec.columns / picture.shape[1])
    rows = max(1, round(picture.shape[0] * scale))
    columns = max(1, round(picture.shape[1] * scale))
    drawn = resize(picture, rows, columns)
    if (rows, columns) == (spec.rows, spec.columns):
        return drawn[None]
    canvas = np.zeros((1, spec.rows, spec.columns), np.float32)
    top, left = (spec.rows - rows) // 2, (spec.columns - columns) // 2
    canvas[0, top : top + rows, left : left + columns] = drawn
    return canvas


def resize(image: Float, rows: int, columns: int) -> Float:
    """Resample `[H, W]` to `[rows, columns]` with a triangle filter as wide as the step.

    Widening the filter with the step keeps downsampling free of aliasing, so noise is averaged
    and never folded.
    """
    if image.shape == (rows, columns):
        return np.ascontiguousarray(image, np.float32)
    down = _resampling_matrix(image.shape[0], rows)
    across = _resampling_matrix(image.shape[1], columns)
    return np.asarray(down @ image.astype(np.float32, copy=False) @ across.T, np.float32)


@lru_cache(maxsize=32)
def _resampling_matrix(source: int, target: int) -> Float:
    """Weights `[target, source]` of a triangle filter, rows summing to one."""
    step = source / target
    support = max(1.0, step)
    centres = (np.arange(target) + 0.5) * step - 0.5
    distance = np.abs(np.arange(source)[None, :] - centres[:, None]) / support
    weights = np.clip(1.0 - distance, 0.0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
