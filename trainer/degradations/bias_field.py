"""MR shading: uneven transmit field and receive coils."""

from __future__ import annotations

import numpy as np

from trainer.degradations.contract import degradation, refuse_negative
from trainer.projection import Float

STRONGEST = float(np.log(3.0))
"""Logarithm of the gain, up and down, at severity 1."""


@degradation
def bias_field(image: Float, severity: float, rng: np.random.Generator) -> Float:
    """Slow shading of an MR picture: A·exp(severity·STRONGEST·B), B a smooth field in −1…1.

    B is a random polynomial of the second order in both coordinates, whose linear part makes one
    side bright as a surface coil does. Log-additive, as bias correction models it; the picture's
    mean is kept, as the scanner's own scaling keeps it. Random: the polynomial. Source: Sled,
    Zijdenbos and Evans, IEEE Trans Med Imaging 17, 1998.
    """
    refuse_negative(image, "bias_field")
    H, W = image.shape
    y, x = np.linspace(-1, 1, H)[:, None], np.linspace(-1, 1, W)[None]
    heading, bend_y, bend_x, twist = rng.uniform((0, -0.5, -0.5, -0.5), (2 * np.pi, 0.5, 0.5, 0.5))
    field = np.sin(heading) * y + np.cos(heading) * x + bend_y * y**2 + bend_x * x**2
    field = field + twist * x * y
    low, high = field.min(), field.max()
    field = 2 * (field - low) / (high - low) - 1
    shaded = image * np.exp(severity * STRONGEST * field)
    total = float(shaded.sum())
    return np.asarray(shaded * (float(image.sum()) / total if total else 1.0), np.float32)
