"""Noise of MR receivers, as magnitude pictures show it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from trainer.degradations.contract import degradation, reference_level, refuse_negative
from trainer.degradations.kspace import refuse_axis
from trainer.projection import Float

LARGEST_SIGMA = 0.15
"""σ at severity 1 of the single-channel noises, as a fraction of the picture's reference level."""

LARGEST_COIL_SIGMA = 0.08
"""The same of each coil of the non-central χ noise, whose floor rises with their number."""

COIL_RING = 8
COIL_WIDTH = 0.6
"""Coils of the array behind a g-factor map, and the reach of each as a fraction of the FOV."""


@degradation
def rician_noise(
    image: Float, severity: float, rng: np.random.Generator, *, level: float | None = None
) -> Float:
    """Noise of one receiver: M = |A + σ(n₁ + i·n₂)|, σ = severity·LARGEST_SIGMA·level.

    Rician: near Gaussian in bright tissue, a floor of mean σ√(π/2) in the background. level: what
    counts as bright, by default the picture's 99th percentile. Source: Gudbjartsson and Patz,
    Magn Reson Med 34, 1995.
    """
    refuse_negative(image, "rician_noise")
    sigma = severity * LARGEST_SIGMA * (level or reference_level(image))
    return _of_coils(image, sigma, 1, rng)


@degradation
def noncentral_chi_noise(
    image: Float,
    severity: float,
    rng: np.random.Generator,
    *,
    coils: int = 8,
    level: float | None = None,
) -> Float:
    """Noise of n receivers joined by root sum of squares: M² = Σ_c |A_c + σ(n_c + i·n'_c)|².

    Non-central χ of 2n degrees of freedom: the floor has the mean
    σ√(π/2)·(2n − 1)!!/(2^(n−1)·(n − 1)!), so it rises with the number of coils. σ is that of each
    coil, severity·LARGEST_COIL_SIGMA·level, and ΣA_c² = A². Source: Constantinides, Atalar and
    McVeigh, Magn Reson Med 38, 1997.
    """
    refuse_negative(image, "noncentral_chi_noise")
    if coils < 1:
        raise ValueError(f"noncentral_chi_noise: coils = {coils}; there is at least one")
    sigma = severity * LARGEST_COIL_SIGMA * (level or reference_level(image))
    return _of_coils(image, sigma, coils, rng)


@degradation
def spatially_varying_noise(
    image: Float,
    severity: float,
    rng: np.random.Generator,
    *,
    phase_axis: int = 0,
    acceleration: int = 4,
    level: float | None = None,
) -> Float:
    """Rician noise of parallel imaging: σ(x) = σ·g(x), worst where coils see least apart.

    g is the geometry factor of SENSE at `acceleration` along the phase-encoding axis for a ring
    of COIL_RING coils; σ = severity·LARGEST_SIGMA·level/mean(g), so that severities compare with
    `rician_noise`. Source: Pruessmann et al., Magn Reson Med 42, 1999, equation 23.
    """
    refuse_negative(image, "spatially_varying_noise")
    refuse_axis(phase_axis)
    g = g_factor(image.shape, phase_axis, acceleration)
    sigma = severity * LARGEST_SIGMA * (level or reference_level(image)) * g / g.mean()
    return _of_coils(image, sigma, 1, rng)


@lru_cache(maxsize=16)
def g_factor(shape: tuple[int, ...], phase_axis: int, acceleration: int) -> npt.NDArray[np.float64]:
    """The g-factor map `[H, W]`: √([(SᴴS)⁻¹]₀₀·[SᴴS]₀₀) over the points that fold together.

    S holds what each coil sees of a point and of its aliases FOV/acceleration apart. Kept, and not
    to be written to: it takes longer than all else that is done to a slice. Raises ValueError for
    an acceleration below 1 or beyond half the coils.
    """
    if not 1 <= acceleration <= COIL_RING // 2:
        raise ValueError(f"acceleration {acceleration} is not within 1…{COIL_RING // 2}")
    rows, columns = (np.arange(n) / n - 0.5 for n in shape)
    seen = []
    for alias in range(acceleration):
        offset = alias / acceleration
        y, x = rows[:, None] + 0 * columns, 0 * rows[:, None] + columns
        if phase_axis == 0:
            y = (y + offset + 0.5) % 1 - 0.5
        else:
            x = (x + offset + 0.5) % 1 - 0.5
        seen.append(_sensitivities(y, x))
    S = np.stack(seen, axis=-1)  # [H, W, coils, aliases]
    gram = np.conj(np.swapaxes(S, -1, -2)) @ S
    inverse = np.linalg.inv(gram)
    return np.asarray(np.sqrt(np.maximum((inverse[..., 0, 0] * gram[..., 0, 0]).real, 1)))


def _sensitivities(
    y: npt.NDArray[np.float64], x: npt.NDArray[np.float64]
) -> npt.NDArray[np.complex128]:
    """What each coil of the ring sees of points in units of the FOV: `[H, W, COIL_RING]`."""
    angle = 2 * np.pi * (np.arange(COIL_RING) + 0.5) / COIL_RING
    along, across = y[..., None] - 0.6 * np.sin(angle), x[..., None] - 0.6 * np.cos(angle)
    fall = np.exp(-(along**2 + across**2) / (2 * (COIL_WIDTH / 2) ** 2))
    return np.asarray(fall * np.exp(1j * np.arctan2(along, across)))


def _of_coils(
    image: Float, sigma: float | npt.NDArray[np.float64], coils: int, rng: np.random.Generator
) -> Float:
    """The length of 2·coils Gaussian components, one of them around the picture.

    Where the signal lies among the components does not matter to the length, so all of it may lie
    in the first.
    """
    first = image + sigma * rng.standard_normal(image.shape)
    rest = rng.chisquare(2 * coils - 1, image.shape)
    return np.asarray(np.sqrt(first**2 + np.square(sigma) * rest), np.float32)
