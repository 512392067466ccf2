"""Where a frame lies in the patient, and one frame resampled onto the grid of another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from pydicom import Dataset

from models.render import Float
from service import header

_PARALLEL = 0.999
"""Cosine beyond which two directions count as one: 2.5 degrees."""

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Plane:
    """A frame's grid in the patient (PS3.3 C.7.6.2.1.1), in mm, x to the left, y to the back.

    origin: centre of the first pixel; across, down: directions in which columns and rows are
    counted; column_mm, row_mm: from one column or row to the next.
    """

    origin: Vector
    across: Vector
    down: Vector
    column_mm: float
    row_mm: float

    @classmethod
    def of(cls, flat: Dataset) -> Plane | None:
        """From a frame's own header; None where position, orientation or spacing is missing."""
        place = _numbers(flat, "ImagePositionPatient", 3)
        directions = _numbers(flat, "ImageOrientationPatient", 6)
        spacing = _numbers(flat, "PixelSpacing", 2)
        if place is None or directions is None or spacing is None or min(spacing) <= 0:
            return None
        across, down = directions[:3], directions[3:]
        if min(np.linalg.norm(across), np.linalg.norm(down)) < 0.5:
            return None
        return cls(_vector(place), _vector(across), _vector(down), spacing[1], spacing[0])

    def point(self, row: float, column: float) -> Vector:
        """The place in the patient of a pixel's centre."""
        return _vector(
            np.asarray(self.origin)
            + np.asarray(self.across) * self.column_mm * column
            + np.asarray(self.down) * self.row_mm * row
        )

    def pixel(self, point: Vector) -> tuple[float, float]:
        """Row and column, in fractions, of a place in the patient, along the normal."""
        offset = np.asarray(point) - np.asarray(self.origin)
        return (
            float(offset @ np.asarray(self.down)) / self.row_mm,
            float(offset @ np.asarray(self.across)) / self.column_mm,
        )

    def offset_mm(self, other: Plane) -> float:
        """How far another plane lies from this one, along this one's normal."""
        apart = np.asarray(other.origin) - np.asarray(self.origin)
        return float(np.cross(self.across, self.down) @ apart)

    def aligned(self, other: Plane) -> bool:
        """Whether rows and columns of both run along the same lines, either way."""
        return bool(
            min(abs(np.dot(self.across, other.across)), abs(np.dot(self.down, other.down)))
            > _PARALLEL
        )


def resample(picture: Float, source: Plane, target: Plane, rows: int, columns: int) -> Float:
    """A picture `[h, w]` on `source`'s grid as `[rows, columns]` on `target`'s: bilinear, in the
    plane, 0 outside. The planes must be aligned."""
    top, left = source.pixel(target.origin)
    below, right = source.pixel(target.point(1, 1))
    down = _interpolation(picture.shape[0], rows, top, below - top)
    over = _interpolation(picture.shape[1], columns, left, right - left)
    return np.asarray(down @ picture @ over.T, np.float32)


@lru_cache(maxsize=16)
def _interpolation(source: int, target: int, first: float, step: float) -> Float:
    """Weights `[target, source]` of linear interpolation at `first + step · i`; rows of places
    outside the source's pixels are 0."""
    places = first + step * np.arange(target)
    inside = (places >= -0.5) & (places <= source - 0.5)
    distance = np.abs(np.clip(places, 0, source - 1)[:, None] - np.arange(source)[None, :])
    weights = np.clip(1.0 - distance, 0.0, None) * inside[:, None]
    return np.asarray(weights, np.float32)


def _numbers(flat: Dataset, keyword: str, count: int) -> list[float] | None:
    try:
        found = [float(part) for part in header.text(flat, keyword, 512).split("\\")]
    except ValueError:
        return None
    return found if len(found) == count and bool(np.isfinite(found).all()) else None


def _vector(values: object) -> Vector:
    x, y, z = (float(value) for value in np.asarray(values))
    return x, y, z
