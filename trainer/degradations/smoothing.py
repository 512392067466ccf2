"""CT slices that were smoothed too much: soft kernels and strong denoising."""

from __future__ import annotations

import cv2
import numpy as np

from trainer.degradations.contract import degradation
from trainer.degradations.point_spread import gaussian
from trainer.projection import Float

WIDEST_FWHM_MM = 5.0
"""Width at half maximum of the low pass at severity 1."""

STRONGEST_RANGE_HU = 120.0
WIDEST_REACH_MM = 2.4
"""Range and reach (standard deviations) of the bilateral filter at severity 1."""


@degradation
def over_smoothing(
    image: Float, severity: float, rng: np.random.Generator, *, spacing_mm: float
) -> Float:
    """A CT slice under too soft a kernel: a Gaussian low pass of FWHM severity·WIDEST_FWHM_MM.

    A reconstruction kernel is a transfer function, so a softer one is the sharper one times
    their ratio; that ratio is taken as exp(−2(πσf)²), σ = FWHM/2.355. Edges and noise are blurred
    alike. No random part. Source: Kak and Slaney, section 3.1 (the window on the ramp).
    """
    del rng
    return gaussian(image, severity * WIDEST_FWHM_MM / spacing_mm)


@degradation
def edge_preserving_smoothing(
    image: Float, severity: float, rng: np.random.Generator, *, spacing_mm: float
) -> Float:
    """A CT slice denoised until it looks like plastic: a bilateral filter.

    Each pixel becomes the mean of its neighbours weighed by exp(−r²/2σ_s² − ΔHU²/2σ_r²), with
    σ_s = severity·WIDEST_REACH_MM and σ_r = severity·STRONGEST_RANGE_HU: noise and faint texture
    go, edges stay, as strong iterative or learned reconstruction leaves them. No random part.
    Source: Tomasi and Manduchi, ICCV 1998; the look: Mileto et al., Radiology 293, 2019.
    """
    del rng
    reach = severity * WIDEST_REACH_MM / spacing_mm
    # OpenCV picks a window of 1.5 σ itself, too small a disc to look like anything but noise.
    window = 2 * int(np.ceil(2 * reach)) + 1
    smooth = cv2.bilateralFilter(image, window, severity * STRONGEST_RANGE_HU, reach)
    return np.asarray(smooth, np.float32)
