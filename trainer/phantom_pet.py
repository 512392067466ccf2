"""A digital chest in a PET/CT scanner: its CT as scanned, and an uptake of FDG made up for it.

No two alike: organs lie where `trainer.phantom` puts soft tissue, their uptake is drawn at random
within what FDG shows (liver and blood 1.5 to 3, muscle below 1, lesions up to 12 g/mL).
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from trainer.datasets.dicom_pet import AIR_HU, Attenuation, Grid, PetCtSlice, on_grid
from trainer.degradations import Scan, degrade
from trainer.degradations.point_spread import gaussian
from trainer.phantom import HEIGHT_MM, SIDE, SPACING_MM, Chest
from trainer.projection import Float

PET_SIDE = 128
RESOLUTION_MM = 6.5
"""Width at half maximum of the PET's point spread."""

PHOTONS = (1e5, 8e5)
OWN_SEVERITY = (0.0, 0.35)
"""How noisy a clean PET slice is itself, as severity of `count_reduction`."""

DIAPHRAGM_MM = np.arange(-30.0, 31.0, 5.0)
"""Heights of the CT stack around a slice, for the breath that attenuation is taken in."""

UPTAKE_HU = (-1000.0, -950.0, -850.0, -500.0, -100.0, 0.0, 100.0, 400.0)
UPTAKE_SUV = (0.0, 0.0, 0.4, 0.4, 0.3, 0.7, 0.8, 1.3)
"""Uptake of air, lung, fat, muscle and marrow, by CT number."""


def training_slices(source: str, count: int, seed: int) -> Iterator[PetCtSlice]:
    """Slices of `count` different chests at random heights, with PET of 4.1 to 5.5 mm pixels."""
    for number in range(count):
        rng = np.random.default_rng((seed, number, 18))
        chest = Chest.random(rng)
        z_mm = float(rng.uniform(DIAPHRAGM_MM[-1], HEIGHT_MM - DIAPHRAGM_MM[-1]))
        clean = chest.slice(z_mm)
        ct = _centred(SIDE, SPACING_MM)
        pet = _centred(PET_SIDE, float(rng.uniform(4.1, 5.5)))
        shape = (PET_SIDE, PET_SIDE)
        photons = float(np.exp(rng.uniform(*np.log(PHOTONS))))
        suv = on_grid(uptake(clean, rng), ct, pet, shape)
        suv = degrade(
            "count_reduction",
            suv,
            float(rng.uniform(*OWN_SEVERITY)),
            rng,
            spacing_mm=pet.spacing_mm,
        )
        heights = z_mm - DIAPHRAGM_MM
        stack = [_coarse(chest.slice(float(height)), ct, pet) for height in heights]
        yield PetCtSlice(
            hu=Scan.of(clean, SPACING_MM, photons).acquired(rng),
            ct=ct,
            suv=suv,
            pet=pet,
            z_mm=z_mm,
            source=source,
            name=f"{number:04d}",
            attenuation=Attenuation(np.stack(stack), float(DIAPHRAGM_MM[1] - DIAPHRAGM_MM[0])),
            index=len(heights) // 2,
            incident_photons=photons,
        )


def uptake(hu: Float, rng: np.random.Generator) -> Float:
    """SUV `[H, W]` of a noise-free slice in HU: its tissues, organs and lesions at random."""
    suv = np.interp(hu, UPTAKE_HU, UPTAKE_SUV).astype(np.float32)
    soft = (hu > -20) & (hu < 120)
    rows, columns = np.nonzero(soft)
    y, x = np.mgrid[: hu.shape[0], : hu.shape[1]].astype(np.float32)

    def paint(largest_mm: float, smallest_mm: float, level: float, where: np.ndarray) -> None:
        place = int(rng.integers(len(rows)))
        a, b = rng.uniform(smallest_mm, largest_mm, 2) / SPACING_MM
        inside = ((x - columns[place]) / a) ** 2 + ((y - rows[place]) / b) ** 2 < 1
        suv[inside & where] = level

    if len(rows):
        for _ in range(int(rng.integers(4))):
            paint(90, 20, float(rng.uniform(1.2, 3.2)), soft)
        for _ in range(int(rng.integers(4))):
            paint(18, 4, float(np.exp(rng.uniform(*np.log((3, 12))))), hu > -950)
    coarse = rng.standard_normal((hu.shape[0] // 12, hu.shape[1] // 12)).astype(np.float32)
    uneven = cv2.resize(coarse, hu.shape[::-1], interpolation=cv2.INTER_CUBIC)
    suv *= 1 + np.float32(0.08) * uneven
    return np.maximum(gaussian(suv, RESOLUTION_MM / SPACING_MM), 0)


def _centred(side: int, spacing_mm: float) -> Grid:
    corner = -(side - 1) / 2 * spacing_mm
    return Grid(spacing_mm, corner, corner)


def _coarse(hu: Float, own: Grid, wanted: Grid) -> Float:
    smooth = gaussian(hu, wanted.spacing_mm / own.spacing_mm)
    return on_grid(smooth, own, wanted, (PET_SIDE, PET_SIDE), outside=AIR_HU)
