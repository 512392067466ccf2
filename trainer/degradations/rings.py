"""Rings: detector channels whose gain has drifted since the last calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.degradations.contract import degradation
from trainer.degradations.sinogram import FULL_VIEWS, difference_hu
from trainer.projection import Float, Kernel

FAULTY_CHANNELS = 12
LARGEST_GAIN_ERROR = 0.03
"""Of a faulty channel at severity 1, as a fraction of its gain."""

GAIN_SPREAD = 0.001
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
    close. channels: which ones are faulty, by default FAULTY_CHANNELS drawn at random within the
    object's shadow; every channel has a small error besides, unless channels are named. Source:
    Sijbers and Postnov, Phys Med Biol 49, 2004; Boas and Fleischmann, Imaging Med 4, 2012.
    """
    side = image.shape[1]
    error = np.zeros(side)
    if channels is None:
        # Within the middle 70 %: outside, a ring would run through air.
        low, high = int(0.15 * side), int(0.85 * side)
        faulty = rng.choice(np.arange(low, high), min(FAULTY_CHANNELS, high - low), replace=False)
        error += rng.standard_normal(side) * GAIN_SPREAD
        error[faulty] += rng.uniform(-1, 1, len(faulty)) * LARGEST_GAIN_ERROR
    else:
        error[list(channels)] = LARGEST_GAIN_ERROR
    offset = -np.log1p(severity * error)
    change = np.broadcast_to((offset + offset[::-1]) / 2, (FULL_VIEWS, side))
    return image + difference_hu(np.ascontiguousarray(change, np.float32), spacing_mm, kernel)
