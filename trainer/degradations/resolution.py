"""PET slices of coarser resolution."""

from __future__ import annotations

import numpy as np

from trainer.degradations.contract import degradation, refuse_negative
from trainer.degradations.point_spread import gaussian
from trainer.projection import Float

WIDEST_FWHM_MM = 16.0


@degradation
def resolution_blur(
    image: Float, severity: float, rng: np.random.Generator, *, spacing_mm: float
) -> Float:
    """A PET slice blurred by a Gaussian of FWHM severity·WIDEST_FWHM_MM on top of its own.

    Positron range, non-collinearity, detector width and breathing add in quadrature to something
    near a Gaussian: FWHM² = FWHM_own² + FWHM_added². Small lesions lose uptake (partial volume),
    totals stay. No random part. Source: Moses, Nucl Instrum Methods A 648, 2011; Soret et al.,
    J Nucl Med 48, 2007.
    """
    del rng
    refuse_negative(image, "resolution_blur")
    return gaussian(image, severity * WIDEST_FWHM_MM / spacing_mm)
