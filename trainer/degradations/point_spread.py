"""Gaussian point spread of a scanner, given by its full width at half maximum."""

from __future__ import annotations

import cv2
import numpy as np

from trainer.projection import Float

FWHM_PER_SIGMA = float(2 * np.sqrt(2 * np.log(2)))


def gaussian(image: Float, fwhm_px: float) -> Float:
    """A picture `[H, W]` blurred by a Gaussian of this width in pixels; edges are mirrored."""
    sigma = fwhm_px / FWHM_PER_SIGMA
    if sigma <= 0:
        return image.copy()
    window = 2 * int(np.ceil(4 * sigma)) + 1
    blurred = cv2.GaussianBlur(image, (window, window), sigma, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred, np.float32)
