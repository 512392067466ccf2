"""Rings: detector channels whose gain has drifted since the last calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.degradations.contract import degradation
from trainer.degradations.sinogram import FULL_VIEWS, difference_hu
from trainer.projection import Float, Kernel

FAULTY_GROUPS = 10
CHANNELS_A_GROUP = 2
"""Neighbours share electronics, so they fail together."""

LARGEST_GAIN_ERROR = 0.10
"""Of a faulty channel at severity 1, as a fraction of its gain; drawn ones have half or more."""

GAIN_SPREAD = 0.004
"""Standard deviation of all the other channels' gain errors at severity 1."""


@degradation
def ring_artefacts(
    image: Float,
    severity: float,
    rng: np.random.Generator,
    *,
    spacing_mm: float,
    channels: Sequence[int] | None = None,
    kernel: Kernel = "standard",
) -> Float:
    """Rings in a CT slice: channel c reads (1 + ε_c) times its photons, in every view.

    The line integral of that channel is off by −ln(1 + ε_c) all around, which backprojects to a
    circle of the channel's distance from the isocentre. A turn of 360° sees each ray twice, by
    the channel and by its mirror image; their mean is what a scan over 180° is given, so rings
    close. channels: which ones are faulty, by default FAULTY_GROUPS groups of neighbours drawn at
    random in the middle 70 %, while every other channel is off by a little; where channels are
    named all others are exact. Source: Sijbers and Postnov, Phys Med Biol 49, 2004; Boas and
    Fleischmann, Imaging Med 4, 2012.
    """
    side = image.shape[1]
    error = np.zeros(side)
    if channels is None:
        # Further out a ring would run through air.
        first = rng.integers(int(0.15 * side), int(0.85 * side), FAULTY_GROUPS)
        drift = rng.uniform(0.5, 1, FAULTY_GROUPS) * rng.choice([-1, 1], FAULTY_GROUPS)
        error += rng.standard_normal(side) * GAIN_SPREAD
        for neighbour in range(CHANNELS_A_GROUP):
            error[np.minimum(first + neighbour, side - 1)] = drift * LARGEST_GAIN_ERROR
    else:
        error[list(channels)] = LARGEST_GAIN_ERROR
    offset = -np.log1p(severity * error)
    change = np.broadcast_to((offset + offset[::-1]) / 2, (FULL_VIEWS, side))
    return image + difference_hu(np.ascontiguousarray(change, np.float32), spacing_mm, kernel)
