"""MR aliasing: lines of k-space left out, and not made up for."""

from __future__ import annotations

import numpy as np

from trainer.degradations.contract import degradation, refuse_negative
from trainer.degradations.kspace import along_axis, lines, refuse_axis, to_kspace, to_magnitude
from trainer.projection import Float


@degradation
def wrap(
    image: Float,
    severity: float,
    rng: np.random.Generator,
    *,
    phase_axis: int = 0,
    acceleration: int = 2,
) -> Float:
    """An MR picture folded onto itself along the phase-encoding axis, FOV/acceleration apart.

    Of R = acceleration lines one is read. Unfolding that fails by a part leaves the skipped lines
    at 1 − severity of their strength and the read ones at 1 + severity·(R − 1): the picture stays,
    and copies of strength `severity` lie at the multiples of FOV/R. At severity 1 nothing is
    unfolded, which is also the wrap of a field of view R times too small. No random part. Source:
    Pruessmann et al., Magn Reson Med 42, 1999.
    """
    del rng
    refuse_negative(image, "wrap")
    refuse_axis(phase_axis)
    if acceleration < 2:
        raise ValueError(f"wrap: acceleration = {acceleration}; nothing folds below 2")
    read = lines(image.shape[phase_axis]) % acceleration == 0
    weight = np.where(read, 1 + severity * (acceleration - 1), 1 - severity)
    return to_magnitude(to_kspace(image) * along_axis(weight, phase_axis))
