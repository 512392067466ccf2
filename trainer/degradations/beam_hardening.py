"""Beam hardening: what bone does to a beam of many energies that water correction misses."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trainer.degradations.contract import degradation
from trainer.degradations.sinogram import FULL_VIEWS, difference_hu
from trainer.projection import WATER_PER_MM, Float, Kernel, attenuation_per_mm, project

TUBE_KV = 120.0
INHERENT_ALUMINIUM_MM = 6.0

TABLE_KEV = np.array([30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0])
WATER_CM2_G = np.array([0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707, 0.1505])
BONE_CM2_G = np.array([1.331, 0.6655, 0.4242, 0.3148, 0.2229, 0.1855, 0.1480])
ALUMINIUM_CM2_G = np.array([1.128, 0.5685, 0.3681, 0.2778, 0.2018, 0.1704, 0.1378])
"""Mass attenuation coefficients, NIST X-Ray Mass Attenuation Coefficients, tables 3 and 4."""

ALUMINIUM_G_CM3 = 2.699

BONE_FROM_HU, BONE_AT_HU = 120.0, 320.0
"""Below the first a pixel is water of some density, above the second it is bone."""

BONE_FACTOR = 3.0
"""How much more bone the beam meets at severity 1 than the slice shows: iodine, dense bone."""


@degradation
def beam_hardening(
    image: Float,
    severity: float,
    rng: np.random.Generator,
    *,
    spacing_mm: float,
    kernel: Kernel = "standard",
) -> Float:
    """Dark bands and streaks between dense objects of a CT slice.

    The slice is split into water and bone by its HU. A ray of line integrals w and b (at the
    energy where water attenuates WATER_PER_MM) is measured by an energy-integrating detector as
    P(w, b) = −ln Σ S(E)·exp(−w·μ_w(E)/μ_w(E₀) − b·μ_b(E)/μ_b(E₀)), S the 120 kV spectrum of
    Kramers' law behind aluminium. Scanners undo this for water alone, w = P⁻¹(P(w, 0)); the
    error that bone leaves, P⁻¹(P(w, B·b)) − w − k·b with B = severity·BONE_FACTOR, is
    reconstructed. k is the least-squares slope over the slice's rays: that part is the brightness
    of bone, which the slice shows already; what is left are the bands. No random part. Source:
    Joseph and Spital, J Comput Assist Tomogr 2, 1978; Brooks and Di Chiro, Phys Med Biol 21, 1976.
    """
    del rng
    water, bone = _materials(image)
    w = project(water, FULL_VIEWS, spacing_mm).astype(np.float64)
    b = project(bone, FULL_VIEWS, spacing_mm).astype(np.float64) * severity * BONE_FACTOR
    longest = float(w.max() + 4 * b.max()) + 1.0
    grid = np.linspace(0, longest, 4096)
    measured_of_water = _measured(grid, np.zeros_like(grid))
    corrected = np.interp(_measured(w, b), measured_of_water, grid)
    error = corrected - w
    squares = float((b * b).sum())
    change = error - (float((error * b).sum()) / squares * b if squares else 0.0)
    return image + difference_hu(change.astype(np.float32), spacing_mm, kernel)


def _materials(hu: Float) -> tuple[Float, Float]:
    """Attenuation in 1/mm of the water and of the bone in a slice; their sum is the slice's."""
    per_mm = attenuation_per_mm(hu)
    share = np.clip((hu - BONE_FROM_HU) / (BONE_AT_HU - BONE_FROM_HU), 0, 1).astype(np.float32)
    return per_mm * (1 - share), per_mm * share


def _measured(
    water: npt.NDArray[np.float64], bone: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """P(w, b): what the detector's logarithm reads behind line integrals of water and bone."""
    transmitted = np.zeros_like(water)
    for share, of_water, of_bone in zip(*_spectrum(), strict=True):
        transmitted += share * np.exp(-water * of_water - bone * of_bone)
    return -np.log(transmitted)


def _spectrum() -> tuple[npt.NDArray[np.float64], ...]:
    """Energy fluence of each 5 keV bin, and μ(E)/μ(E₀) of water and of bone in it.

    Kramers: photons ∝ (kV − E)/E, hence energy ∝ kV − E. E₀ is where water has WATER_PER_MM.
    """
    kev = np.arange(30.0, TUBE_KV, 5.0)
    aluminium = np.exp(-_at(kev, ALUMINIUM_CM2_G) * ALUMINIUM_G_CM3 * INHERENT_ALUMINIUM_MM / 10)
    energy = (TUBE_KV - kev) * aluminium
    reference = np.interp(-WATER_PER_MM * 10, -WATER_CM2_G, TABLE_KEV)
    water = _at(kev, WATER_CM2_G) / _at(reference, WATER_CM2_G)
    bone = _at(kev, BONE_CM2_G) / _at(reference, BONE_CM2_G)
    return energy / energy.sum(), water, bone


def _at(
    kev: npt.NDArray[np.float64] | np.float64, table: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """A column of the table at other energies: straight lines between logarithms."""
    return np.asarray(np.exp(np.interp(np.log(kev), np.log(TABLE_KEV), np.log(table))))
