"""MR motion: the patient lies elsewhere when some lines of k-space are read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trainer.degradations.contract import degradation, refuse_negative
from trainer.degradations.kspace import along_axis, lines, refuse_axis, to_kspace, to_magnitude
from trainer.projection import Float

LARGEST_SHIFT_MM = 8.0
MOVES = 12


@degradation
def kspace_motion(
    image: Float,
    severity: float,
    rng: np.random.Generator,
    *,
    spacing_mm: float,
    phase_axis: int = 0,
) -> Float:
    """Smeared and repeated edges of a patient who moves between the lines of an MR picture.

    Line k is read while the object lies at d(k), so it carries the phase −2π(k_p·d_p + k_f·d_f)
    (shift theorem). d is constant but for MOVES sudden moves at random times, half of them in the
    middle quarter of the lines, between places drawn within ±severity·LARGEST_SHIFT_MM in both
    directions; its mean, weighed by the lines' energy, is 0, so that the picture stays about where
    it was. Lines are read in order. Rotation and non-rigid motion are left out. Source: Zaitsev,
    Maclaren and Herbst, J Magn Reson Imaging 42, 2015.
    """
    refuse_negative(image, "kspace_motion")
    refuse_axis(phase_axis)
    frequency_axis = 1 - phase_axis
    of_phase = along_axis(lines(image.shape[phase_axis]), phase_axis)
    of_frequency = along_axis(lines(image.shape[frequency_axis]), frequency_axis)
    largest_px = severity * LARGEST_SHIFT_MM / spacing_mm
    line, kspace = lines(image.shape[phase_axis]), to_kspace(image)
    energy = (np.abs(kspace) ** 2).sum(axis=frequency_axis) + 1e-12
    along = along_axis(largest_px * _path(line, energy, rng), phase_axis)
    across = along_axis(largest_px * _path(line, energy, rng), phase_axis)
    turns = (
        of_phase * along / image.shape[phase_axis]
        + of_frequency * across / image.shape[frequency_axis]
    )
    return to_magnitude(kspace * np.exp(-2j * np.pi * turns))


def _path(
    line: npt.NDArray[np.int64], energy: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Where the object lies at each line: places drawn from −1…1 less their weighed mean."""
    low, high = int(line.min()), int(line.max())
    # Half of the moves within the middle quarter, where the contrast is.
    spread = np.where(np.arange(MOVES) % 2 == 0, 1.0, 0.25)
    moments = np.sort((low + high) / 2 + rng.uniform(-0.5, 0.5, MOVES) * spread * (high - low))
    places = rng.uniform(-1, 1, MOVES + 1)
    visited = places[np.searchsorted(moments, line)]
    return np.asarray(visited - np.average(visited, weights=energy))
