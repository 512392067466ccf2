"""From physical values to what the network sees, the same in training and in service.

NumPy only. Two steps: stored values become physical ones (`models.physical`), physical ones become
the picture a reader would see (here). The trainer degrades between the two.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """A linear window (PS3.3 C.11.2.1.3.2, LINEAR_EXACT: no half-unit offset), in HU."""

    center_hu: float
    width_hu: float

    def __post_init__(self) -> None:
        if self.width_hu <= 0:
            raise ValueError("a window's width_hu must be positive")

    def apply(self, hu: Float) -> Float:
        """`[H, W]` in HU onto 0…1."""
        low = np.float32(self.center_hu - self.width_hu / 2)
        return np.asarray(np.clip((hu - low) / np.float32(self.width_hu), 0.0, 1.0), np.float32)


@dataclass(frozen=True)
class RenderSpec:
    """How a bundle wants its slices drawn: rows × columns, and the values of its kind.

    The kinds are the subclasses; `from_table` makes the one that a table names.
    """

    kind: ClassVar[str]
    channels: ClassVar[int] = 1

    rows: int
    columns: int

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1:
            raise ValueError("render.rows and render.columns must be positive")

    @classmethod
    def from_table(cls, table: dict[str, Any]) -> RenderSpec:
        """From the `[render]` table of a card or a recipe. Raises KeyError, ValueError."""
        kinds = {one.kind: one for one in (CtWindow, MrStack, PetCtFused)}
        values = dict(table)
        kind = str(values.pop("kind"))
        if kind not in kinds:
            raise ValueError(f"render.kind = {kind!r} is not known; known: {', '.join(kinds)}")
        return kinds[kind].of(values)

    @classmethod
    def of(cls, values: dict[str, Any]) -> RenderSpec:
        """From a table without its kind. Raises KeyError, ValueError naming the key."""
        unknown = set(values) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(f"render.{min(unknown)} is not a value of kind {cls.kind!r}")
        for name, field in cls.__dataclass_fields__.items():
            if name not in values and field.default is field.default_factory:
                raise KeyError(f"render.{name}")
        return cls(**values)

    def as_table(self) -> dict[str, Any]:
        """The table that `from_table` reads; None values left out."""
        return {"kind": self.kind} | {
            key: value for key, value in asdict(self).items() if value is not None
        }


@dataclass(frozen=True)
class CtWindow(RenderSpec):
    """One grey channel, HU through the window that a reader of its kernel would use.

    window_center_hu, window_width_hu: the soft-tissue window; lung, bone: the windows of series
    reconstructed with sharp kernels (`models.kernel`), by default the soft-tissue one too.
    """

    kind: ClassVar[str] = "ct-window"

    window_center_hu: float
    window_width_hu: float
    lung: Window | None = None
    bone: Window | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window_width_hu <= 0:
            raise ValueError("render.window_width_hu must be positive")

    @classmethod
    def of(cls, values: dict[str, Any]) -> RenderSpec:
        windows = {key: Window(**values[key]) for key in ("lung", "bone") if values.get(key)}
        return super().of(values | windows)

    def window(self, reading: str = "soft") -> Window:
        """The window for a series read as `soft`, `lung` or `bone`."""
        sharp = {"lung": self.lung, "bone": self.bone}.get(reading)
        return sharp or Window(self.window_center_hu, self.window_width_hu)

    def draw(self, hu: Float, reading: str = "soft") -> Float:
        """One slice `[H, W]` in HU as the network's input `[1, rows, columns]`, values 0…1.

        The window comes first, as on a reader's screen: noise beyond it is clipped before it is
        averaged. The slice is scaled to fit with its aspect kept and centred on black.
        """
        return fit(self.window(reading).apply(hu)[None], self.rows, self.columns)


@dataclass(frozen=True)
class MrStack(RenderSpec):
    """One grey channel, signal over the level of its stack.

    Signal has no unit: every stack has one scale, worked out from the foreground of its slices
    (`models.intensity`), so that a dark end slice stays dark and noise keeps its weight.

    headroom: how far beyond the stack's level white lies.
    """

    kind: ClassVar[str] = "mr-stack"

    headroom: float = 1.1

    def draw(self, signal: Float, level: float) -> Float:
        """One slice `[H, W]` of signal as `[1, rows, columns]`, values 0…1; black is no signal."""
        white = np.float32(max(level * self.headroom, 1e-30))
        return fit(np.clip(signal / white, 0.0, 1.0)[None], self.rows, self.columns)


@dataclass(frozen=True)
class PetCtFused(RenderSpec):
    """Three channels: PET in DICOM's hot-iron palette over CT in a window, as readers fuse them.

    suv_top: the SUV drawn white-hot; ct_weight: the share of the CT in the mixture.
    """

    kind: ClassVar[str] = "pet-ct-fused"
    channels: ClassVar[int] = 3

    window_center_hu: float
    window_width_hu: float
    suv_top: float
    ct_weight: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window_width_hu <= 0 or self.suv_top <= 0 or not 0 <= self.ct_weight <= 1:
            raise ValueError(
                "render.window_width_hu and render.suv_top must be positive, "
                "render.ct_weight within 0…1"
            )

    def fuse(self, hu: Float, suv: Float) -> Float:
        """CT `[H, W]` in HU and PET `[H, W]` in SUV on the same grid, as `[3, H, W]`, 0…1."""
        grey = Window(self.window_center_hu, self.window_width_hu).apply(hu)
        hot = hot_iron(np.clip(suv / np.float32(self.suv_top), 0.0, 1.0))
        weight = np.float32(self.ct_weight)
        return np.asarray(weight * grey[None] + (1 - weight) * hot, np.float32)

    def draw(self, hu: Float, suv: Float) -> Float:
        """CT and PET on the same grid `[H, W]` as the network's input `[3, rows, columns]`."""
        return fit(self.fuse(hu, suv), self.rows, self.columns)


def hot_iron(level: Float) -> Float:
    """Levels 0…1 `[H, W]` in the Hot Iron palette (PS3.6 B.1.1) as `[3, H, W]`, 0…1.

    The palette is three ramps over its 256 entries: red over the first half, green over the
    second, blue over the last quarter; its last entry is white.
    """
    entry = np.rint(level * 255)
    red = np.minimum(entry * 2, 255)
    green = np.where(entry == 255, 255, np.clip((entry - 128) * 2, 0, 255))
    blue = np.clip((entry - 191) * 4, 0, 255)
    return np.asarray(np.stack([red, green, blue]) / 255, np.float32)


def fit(picture: Float, rows: int, columns: int) -> Float:
    """Scale `[C, H, W]` to fit `[C, rows, columns]` with its aspect kept, centred on black."""
    scale = min(rows / picture.shape[1], columns / picture.shape[2])
    inner_rows = max(1, round(picture.shape[1] * scale))
    inner_columns = max(1, round(picture.shape[2] * scale))
    drawn = np.stack([resize(channel, inner_rows, inner_columns) for channel in picture])
    if (inner_rows, inner_columns) == (rows, columns):
        return drawn
    canvas = np.zeros((len(picture), rows, columns), np.float32)
    top, left = (rows - inner_rows) // 2, (columns - inner_columns) // 2
    canvas[:, top : top + inner_rows, left : left + inner_columns] = drawn
    return canvas


def resize(image: Float, rows: int, columns: int) -> Float:
    """Resample `[H, W]` to `[rows, columns]` with a triangle filter as wide as the step.

    Widening the filter with the step keeps downsampling free of aliasing, so noise is averaged
    and never folded.
    """
    if image.shape == (rows, columns):
        return np.ascontiguousarray(image, np.float32)
    down = _resampled(image.astype(np.float32, copy=False), rows)
    return np.ascontiguousarray(_resampled(np.ascontiguousarray(down.T), columns).T)


def _resampled(image: Float, rows: int) -> Float:
    """`[H, W]` to `[rows, W]`."""
    places, weights = _taps(image.shape[0], rows)
    result = image[places[0]] * weights[0][:, None]
    for place, weight in zip(places[1:], weights[1:], strict=True):
        result += image[place] * weight[:, None]
    return np.asarray(result, np.float32)


@lru_cache(maxsize=32)
def _taps(source: int, target: int) -> tuple[npt.NDArray[np.intp], Float]:
    """Which samples make each of `target` ones, and their weights: a triangle filter, summing to
    one. Both `[taps, target]`."""
    step = source / target
    support = max(1.0, step)
    centres = (np.arange(target) + 0.5) * step - 0.5
    places = np.ceil(centres - support).astype(np.intp)[:, None] + np.arange(int(2 * support) + 1)
    weights = np.clip(1.0 - np.abs(places - centres[:, None]) / support, 0.0, None)
    weights *= (places >= 0) & (places < source)
    weights /= weights.sum(axis=1, keepdims=True)
    used = weights.any(axis=0)
    return np.clip(places, 0, source - 1).T[used], np.asarray(weights.T[used], np.float32)
