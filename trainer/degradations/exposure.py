"""Worse scans of a given slice: fewer photons, fewer views.

Everything happens in the projection domain, and only the difference that a worse scan would have
made is reconstructed and added to the slice. So the slice keeps its own noise, sharpness and
reconstruction, and with nothing taken away it comes back bit for bit. (Reprojecting and
reconstructing the slice itself would smooth it: a chest of 28.8 HU comes back with 17.6.)

Quantum noise. A ray of line integral p receives Poisson(I₀·e^(−p)) photons at the slice's own
exposure. At the dose fraction d the same detector would have kept each of them with probability
d, so the lower counts are drawn by binomial thinning; what changes is
ln(N/I₀) − ln(N_d/(d·I₀)), of variance e^p/I₀·(1/d − 1) (Yu et al., J Comput Assist Tomogr 36,
2012). Electronic noise of σ_e counts weighs more as counts fall: counts of variance
σ_e²·(1 − d²) are added, which leaves the electronic noise that the slice already has. Hardly any
photons (shoulders, hips) leave the logarithm's linear range and streak, as they do on a scanner.

Sparse views. Of V views every (V/v)-th is kept and weighs V/v times as much; the difference to
all V views is what is reconstructed.

What this leaves out: bow-tie filter and tube current modulation, beam hardening and scatter,
helical interpolation, iterative or learned reconstruction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.degradations.contract import degradation
from trainer.degradations.sinogram import FULL_VIEWS, difference_hu, line_integrals
from trainer.projection import Float, Kernel

ELECTRONIC_COUNTS = 8.0
"""Standard deviation of the electronic noise of a detector channel, in photons."""

SPARSE_VIEWS = (360, 180, 120, 90, 72, 60, 45, 40, 36, 30)
"""View counts that divide a complete scan evenly, so that kept views stay equidistant."""

DIAGNOSTIC_PHOTONS = 5e5
"""I₀ of an ordinary diagnostic slice, where nothing better is known of it."""

LOWEST_DOSE_FRACTION = 0.02
LOWEST_VIEWS = 30


@dataclass(frozen=True)
class Degradation:
    """What is taken from a scan: the dose fraction kept (0…1] and the views kept of FULL_VIEWS."""

    dose_fraction: float = 1.0
    views: int = FULL_VIEWS

    def __post_init__(self) -> None:
        if not 0 < self.dose_fraction <= 1:
            raise ValueError(f"dose fraction {self.dose_fraction} is not within (0, 1]")
        if self.views not in SPARSE_VIEWS:
            raise ValueError(f"{self.views} views: choose one of {SPARSE_VIEWS}")


def at_severity(noise: float, sparsity: float) -> Degradation:
    """The degradation of two severities 0…1, both geometric: equal steps look about equal.

    noise 0 is the full dose and 1 is LOWEST_DOSE_FRACTION; sparsity 0 is all views and 1 is
    LOWEST_VIEWS, rounded to the nearest even division of the scan.
    """
    wanted = np.log(FULL_VIEWS) + sparsity * np.log(LOWEST_VIEWS / FULL_VIEWS)
    views = min(SPARSE_VIEWS, key=lambda count: abs(float(np.log(count)) - float(wanted)))
    return Degradation(float(LOWEST_DOSE_FRACTION**noise), views)


@dataclass(frozen=True)
class Scan:
    """A slice together with its simulated rays.

    hu: the slice `[N, N]` in HU; spacing_mm: its pixel spacing; incident_photons: I₀, a ray
    through air, at the slice's own exposure; line_integrals: `[V, N]`.
    """

    hu: Float
    spacing_mm: float
    incident_photons: float
    line_integrals: Float

    @classmethod
    def of(cls, hu: Float, spacing_mm: float, incident_photons: float) -> Scan:
        return cls(hu, spacing_mm, incident_photons, line_integrals(hu, spacing_mm))

    def degraded(
        self, degradation: Degradation, rng: np.random.Generator, kernel: Kernel = "standard"
    ) -> Float:
        """The slice `[N, N]` in HU as the worse scan would show it."""
        if degradation == Degradation():
            return self.hu.copy()
        change = self.sparse_view_change(degradation.views)
        kept = np.zeros((FULL_VIEWS, 1), np.float32)
        kept[:: FULL_VIEWS // degradation.views] = FULL_VIEWS / degradation.views
        change += kept * self.quantum_change(degradation.dose_fraction, rng)
        return self.hu + difference_hu(change, self.spacing_mm, kernel)

    def quantum_change(self, dose_fraction: float, rng: np.random.Generator) -> Float:
        """What fewer photons change in the line integrals, `[V, N]`; zero at full dose."""
        if dose_fraction == 1:
            return np.zeros_like(self.line_integrals)
        expected = self.incident_photons * np.exp(-self.line_integrals.astype(np.float64))
        counts = rng.poisson(expected)
        fewer = rng.binomial(counts, dose_fraction) + rng.normal(
            0, ELECTRONIC_COUNTS * np.sqrt(1 - dose_fraction**2), counts.shape
        )
        change = _log(counts) - _log(fewer) + np.log(dose_fraction)
        return np.asarray(change, np.float32)

    def sparse_view_change(self, views: int) -> Float:
        """What leaving out views changes in the sinogram, `[V, N]`; zero with all of them."""
        step = FULL_VIEWS // views
        if step == 1:
            return np.zeros_like(self.line_integrals)
        change = -self.line_integrals
        change[::step] *= 1 - step
        return change

    def acquired(self, rng: np.random.Generator, kernel: Kernel = "standard") -> Float:
        """A noise-free object `[N, N]` in HU as scanned at its exposure: all the noise is added."""
        expected = self.incident_photons * np.exp(-self.line_integrals.astype(np.float64))
        counts = rng.poisson(expected) + rng.normal(0, ELECTRONIC_COUNTS, expected.shape)
        change = (_log(expected) - _log(counts)).astype(np.float32)
        return self.hu + difference_hu(change, self.spacing_mm, kernel)


@degradation
def quantum_noise(
    image: Float,
    severity: float,
    rng: np.random.Generator,
    *,
    spacing_mm: float,
    incident_photons: float = DIAGNOSTIC_PHOTONS,
    kernel: Kernel = "standard",
) -> Float:
    """A CT slice at a lower dose: binomially thinned photons, with electronic noise.

    Dose fraction LOWEST_DOSE_FRACTION^severity of the slice's own exposure I₀; the change of a
    ray's logarithm has the variance e^p/I₀·(1/d − 1). Source: Yu et al., J Comput Assist Tomogr
    36, 2012; Massoumzadeh et al., Med Phys 36, 2009.
    """
    scan = Scan.of(image, spacing_mm, incident_photons)
    return scan.degraded(at_severity(severity, 0), rng, kernel)


@degradation
def sparse_views(
    image: Float,
    severity: float,
    rng: np.random.Generator,
    *,
    spacing_mm: float,
    kernel: Kernel = "standard",
) -> Float:
    """A CT slice from fewer views: every (V/v)-th of V views, weighing V/v times as much.

    v goes from FULL_VIEWS to LOWEST_VIEWS geometrically, rounded to an even division of the scan
    (SPARSE_VIEWS), so that a severity below about 0.14 changes nothing. With fewer views than
    about π/2 of the detector's bins the Fourier plane has gaps: streaks from every edge. Source:
    Kak and Slaney, Principles of Computerized Tomographic Imaging, section 5.1.
    """
    # Photons have no part in it: only which views are kept.
    scan = Scan.of(image, spacing_mm, DIAGNOSTIC_PHOTONS)
    return scan.degraded(at_severity(0, severity), rng, kernel)


def incident_photons_for(
    slices: Sequence[tuple[Float, float]], noise_hu: float, rng: np.random.Generator
) -> float:
    """I₀ at which a scan of the slices (HU, spacing in mm) has the noise that they show.

    noise_hu is the standard deviation measured in their soft tissue. Variance goes as 1/I₀, so a
    trial exposure high enough to keep the logarithm linear tells the rest.
    """
    trial = 1e7
    variances = []
    for hu, spacing_mm in slices:
        added = Scan.of(hu, spacing_mm, trial).acquired(rng) - hu
        variances.append(float(np.var(added[soft_tissue(hu)])))
    return float(trial * np.mean(variances) / noise_hu**2)


def soft_tissue(hu: Float) -> npt.NDArray[np.bool_]:
    """Where a slice shows muscle, blood or liver away from edges: 0…100 HU after smoothing."""
    import cv2

    smooth = cv2.GaussianBlur(hu, (0, 0), 3)
    inside = ((smooth > 0) & (smooth < 100)).astype(np.uint8)
    return np.asarray(cv2.erode(inside, np.ones((7, 7), np.uint8)), np.bool_)


def _log(counts: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    # A channel that saw nothing is read as half a photon; its logarithm would be infinite.
    return np.log(np.maximum(counts.astype(np.float64), 0.5))
