"""Noise of a picture that was captured, sent or converted, not of the scan behind it."""

from __future__ import annotations

import numpy as np

from trainer.degradations.contract import degradation
from trainer.projection import Float

STRONGEST_NOISE = 0.08
"""Standard deviation at severity 1, as a share of the scale from black to white."""

MOST_IMPULSES = 0.02
"""Share of white pixels that jump at severity 1."""


@degradation
def gaussian_noise(
    image: Float,
    severity: float,
    rng: np.random.Generator,
    *,
    window: tuple[float, float] | None = None,
) -> Float:
    """White Gaussian noise on a picture: σ = severity·STRONGEST_NOISE of the scale.

    The scale lies between the two values of `window`, by default the picture's own lowest and
    highest; what leaves it is clipped, as 8 bits would, but no pixel that lay beyond it already.
    Every pixel is independent, so it is finer than any scanner's noise. Source: Gonzalez and
    Woods, Digital Image Processing, section 5.2.
    """
    low, high = _scale(image, window)
    noise = rng.normal(0, severity * STRONGEST_NOISE * (high - low), image.shape)
    noisy = np.clip(image + noise, np.minimum(image, low), np.maximum(image, high))
    return np.asarray(noisy, np.float32)


@degradation
def impulse_noise(
    image: Float,
    severity: float,
    rng: np.random.Generator,
    *,
    window: tuple[float, float] | None = None,
) -> Float:
    """Single pixels that jump to white, the more the brighter they were.

    A pixel at the level x of its scale (0…1, see `gaussian_noise`) does with the probability
    severity·MOST_IMPULSES·x: an event that is rare and as frequent as what is counted, so black
    stays black. In a picture of three channels each jumps by itself, which leaves coloured specks.
    Source: Gonzalez and Woods, section 5.2 (salt), with the rate of a Poisson process.
    """
    low, high = _scale(image, window)
    level = np.clip((image - low) / (high - low), 0, 1)
    jumps = rng.random(image.shape) < severity * MOST_IMPULSES * level
    return np.where(jumps, np.maximum(image, np.float32(high)), image)


def _scale(image: Float, window: tuple[float, float] | None) -> tuple[float, float]:
    low, high = window or (float(image.min()), float(image.max()))
    if high <= low:
        if window:
            raise ValueError(f"noise of a capture: window {window} is not (lower, higher)")
        high = low + 1
    return low, high
