"""PET slices from fewer coincidences."""

from __future__ import annotations

import numpy as np

from trainer.degradations.contract import degradation, refuse_negative
from trainer.degradations.ordered_subsets import Emission
from trainer.degradations.point_spread import gaussian
from trainer.projection import Float

DIAGNOSTIC_COUNTS = 1e6
"""True coincidences of one slice of an ordinary whole-body bed position."""

LOWEST_COUNT_FRACTION = 0.02

BACKGROUND_FRACTION = 0.3
"""Randoms and scatter as a share of all that is detected; their mean is known and modelled."""

FILTER_FWHM_MM = 6.0
"""Transaxial filter after the reconstruction, as clinical protocols have it."""


@degradation
def count_reduction(
    image: Float,
    severity: float,
    rng: np.random.Generator,
    *,
    spacing_mm: float,
    counts: float = DIAGNOSTIC_COUNTS,
) -> Float:
    """A PET slice of fewer counts: Poisson in the sinogram, reconstructed by ordered subsets.

    The slice's own scan has y ~ Poisson(A f + r) with `counts` trues in A f; the shorter one keeps
    each count with probability d = LOWEST_COUNT_FRACTION^severity (binomial thinning). Both are
    reconstructed by OSEM with the known background r and filtered; the difference is added to
    the slice, which is cut at 0. So the noise is correlated over the filter's width, grows with
    the activity, and has a variance of (1/d − 1)/counts: σ goes as 1/√counts. Source: Hudson and
    Larkin, IEEE Trans Med Imaging 13, 1994; Barrett et al., Phys Med Biol 39, 1994 (noise of EM).
    """
    refuse_negative(image, "count_reduction")
    if not image.any():
        return image
    emission = Emission.of(image)
    trues = emission.rays * (counts / float(emission.rays.sum()))
    background = BACKGROUND_FRACTION / (1 - BACKGROUND_FRACTION) * trues.mean(axis=1)
    fraction = LOWEST_COUNT_FRACTION**severity
    full = rng.poisson(trues + background[:, None])
    fewer = rng.binomial(full, fraction) / fraction
    # Back from counts to the slice's own unit.
    scale = np.float32(emission.rays.sum() / counts)
    change = scale * (
        emission.reconstruct(fewer, background) - emission.reconstruct(full, background)
    )
    noisy = image + gaussian(change, FILTER_FWHM_MM / spacing_mm)
    return np.asarray(np.maximum(noisy, 0.0), np.float32)
