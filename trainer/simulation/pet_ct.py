"""Clean PET/CT slices, made worse where they come from, fused, and worse again as pictures.

What spoils a scan is done to the CT in HU or to the PET in SUV, each on its own grid; what spoils
a capture is done to the fused picture. Recipes list degradations in the order they happen.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models.render import Float, PetCtFused
from trainer import phantom_pet
from trainer.datasets.dicom_pet import AIR_HU, Grid, PetCtSlice, on_grid, read_pet_ct_slices
from trainer.degradations import ARTEFACTS, degrade
from trainer.degradations.compression import colour_jpeg
from trainer.degradations.point_spread import gaussian
from trainer.recipe import Recipe, Source
from trainer.simulation.case import Case
from trainer.simulation.subject import OfCleanSlice, of_folders

COLOUR_JPEG = "colour_jpeg"
"""Not of the registry, for it takes all three channels at once."""

OF_PICTURES = ("gaussian_noise", "impulse_noise")

DISPLAYS = {
    "standard": (1.0, 0.0, 0.0, 0.0),
    "hot": (0.65, 0.0, 0.0, 0.0),
    "cool": (1.8, 0.0, 0.0, 0.0),
    "ct-heavy": (1.0, 0.15, 0.0, 0.0),
    "pet-heavy": (0.85, -0.15, 0.0, 0.0),
    "wide": (1.2, 0.05, 10.0, 150.0),
    "narrow": (1.0, 0.0, 0.0, -80.0),
}
"""What readers change: factor on the SUV drawn white-hot; added to the CT's share, level, width."""

FIELDS = {"native": 1.0, "wide": 1.35, "tight": 0.8, "tighter": 0.65}
"""Field of view, as a factor on the CT's own."""

GRAINS = {"own": (0.0, 0.0), "fine": (12.0, 1.2), "coarse": (12.0, 2.1), "heavy": (22.0, 1.4)}
"""Noise of another scanner's CT, a clean one's too: HU, width of a grain in pixels."""


@dataclass(frozen=True)
class PetCtSubject(OfCleanSlice):
    """A clean pair of slices, with the photons of the CT's own exposure.

    A case's options: `display` (DISPLAYS), `field` (FIELDS), `grain` (GRAINS), and `stored`:
    `drawn` as the gate draws it, or `jpeg` of best quality, as archived captures are.
    """

    clean: PetCtSlice
    incident_photons: float

    def degraded(
        self, parts: Iterable[tuple[str, float]], rng: np.random.Generator
    ) -> tuple[Float, Float]:
        """HU and SUV, each on its own grid, after those of the parts that spoil the scan.

        Raises ValueError for what is of neither modality.
        """
        hu, suv = self.clean.hu, self.clean.suv
        for name, severity in parts:
            modality = "any" if name == COLOUR_JPEG else ARTEFACTS[name].modality
            if modality == "CT":
                hu = degrade(name, hu, severity, rng, **self._geometry(name, self.clean.ct))
            elif modality == "PET":
                suv = degrade(name, suv, severity, rng, **self._geometry(name, self.clean.pet))
            elif modality != "any":
                raise ValueError(f"{name} is for {modality}, not for PET/CT")
        return hu, suv

    def draw(self, case: Case, recipe: Recipe, rng: np.random.Generator) -> Float:
        """The fused picture `[3, rows, columns]`, 0…1. Raises ValueError for what suits none."""
        hu, suv = self.degraded(case.parts, rng)
        picture = self._fused(hu, suv, case, recipe)
        saved = case.options.get("stored", "drawn") == "jpeg"
        for name, severity in case.parts:
            if name == COLOUR_JPEG:
                picture, saved = colour_jpeg(picture, severity), False
            elif name in OF_PICTURES:
                channels = [degrade(name, one, severity, rng, window=(0.0, 1.0)) for one in picture]
                picture = np.stack(channels)
            elif ARTEFACTS[name].modality == "any":
                raise ValueError(f"{name} is not for colour pictures; take {COLOUR_JPEG}")
        return colour_jpeg(picture, 0) if saved else picture

    def _fused(self, hu: Float, suv: Float, case: Case, recipe: Recipe) -> Float:
        assert isinstance(recipe.render, PetCtFused)
        render, own = recipe.render, self.clean.ct
        top, share, level, wider = DISPLAYS[case.options.get("display", "standard")]
        render = replace(
            render,
            suv_top=render.suv_top * top,
            ct_weight=min(max(render.ct_weight + share, 0.0), 1.0),
            window_center_hu=render.window_center_hu + level,
            window_width_hu=render.window_width_hu + wider,
        )
        factor = FIELDS[case.options.get("field", "native")]
        if factor != 1:
            rows, columns = hu.shape
            grown = (factor - 1) / 2 * own.spacing_mm
            wanted = Grid(
                own.spacing_mm * factor,
                own.x_mm - grown * (columns - 1),
                own.y_mm - grown * (rows - 1),
            )
            hu, own = on_grid(hu, own, wanted, hu.shape, outside=AIR_HU), wanted
        noise_hu, width = GRAINS[case.options.get("grain", "own")]
        if noise_hu:
            hu = hu + np.float32(noise_hu) * self._grain(hu.shape, width)
        return render.draw(hu, on_grid(suv, self.clean.pet, own, hu.shape))

    def _grain(self, shape: tuple[int, ...], width: float) -> Float:
        """Noise `[H, W]` of standard deviation 1, the same at every call: a clean picture and a
        worse one of it must have it alike."""
        rng = np.random.default_rng(zlib.crc32(f"{self.source}/{self.name}".encode()))
        noise = gaussian(rng.standard_normal(shape).astype(np.float32), width)
        return np.asarray(noise / noise.std(), np.float32)

    def _geometry(self, name: str, grid: Grid) -> dict[str, object]:
        known: dict[str, object] = {
            "spacing_mm": grid.spacing_mm,
            "incident_photons": self.incident_photons,
        }
        if self.clean.attenuation is not None:
            known |= {
                "ct_hu": self.clean.attenuation.hu,
                "index": self.clean.index,
                "slice_mm": self.clean.attenuation.slice_mm,
            }
        return {key: value for key, value in known.items() if key in ARTEFACTS[name].geometry}


def pet_ct_subjects(source: Source, recipe: Recipe, root: Path | None) -> Iterator[PetCtSubject]:
    """The clean pairs of a source, folder by folder in order of z, or the digital phantom's."""
    if source.is_phantom:
        slices = phantom_pet.training_slices(
            source.name, recipe.simulation.phantom_slices, recipe.simulation.seed
        )
    else:
        slices = of_folders(source, root, read_pet_ct_slices)
    for clean in slices:
        yield PetCtSubject(clean, clean.incident_photons or source.incident_photons)
