"""MR spikes: single samples of k-space hit by an electric discharge."""

from __future__ import annotations

import numpy as np

from trainer.degradations.contract import degradation, reference_level, refuse_negative
from trainer.degradations.kspace import to_kspace, to_magnitude
from trainer.projection import Float

LARGEST_AMPLITUDE = 0.3
"""Of the wave of one spike at severity 1, as a fraction of the picture's reference level."""


@degradation
def spikes(
    image: Float,
    severity: float,
    rng: np.random.Generator,
    *,
    count: int = 2,
    level: float | None = None,
) -> Float:
    """Herringbone: each of `count` wrong samples of k-space lays one wave over the MR picture.

    A sample off by a·HW·e^(iφ) at (k_y, k_x) adds a·exp(2πi(k_y·y/H + k_x·x/W) + iφ) to the
    complex picture, a = severity·LARGEST_AMPLITUDE·level/√count; the magnitude shows it as stripes
    of that one spatial frequency. Random: the places (a tenth to a third of the way out) and φ.
    level: by default the picture's 99th percentile. Source: Foo et al., IEEE Trans Med
    Imaging 13, 1994; Heiland, Clin Neuroradiol 18, 2008.
    """
    refuse_negative(image, "spikes")
    amplitude = severity * LARGEST_AMPLITUDE * (level or reference_level(image)) / np.sqrt(count)
    kspace = to_kspace(image)
    H, W = image.shape
    for _ in range(count):
        radius, angle, phase = rng.uniform((0.1, 0, 0), (1 / 3, 2 * np.pi, 2 * np.pi))
        row, column = round(radius * H * np.sin(angle)), round(radius * W * np.cos(angle))
        kspace[row, column] += amplitude * H * W * np.exp(1j * phase)
    return to_magnitude(kspace)
