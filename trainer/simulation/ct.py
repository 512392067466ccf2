"""Clean CT slices, made worse on their rays and drawn in the window they are read in.

A case's options:

- `kernel`: of what is reconstructed (soft, standard, sharp).
- `reading`: `own`, the window that the slice's own kernel is read in, or soft, lung, bone.
- `field_of_view`: the side of what is drawn over the slice's, so that less shows the patient
  larger and more shows him smaller, within air.
- `centre`: where the middle of what is drawn lies, "x,y" as shares of the slice's side.
- `matrix`: `own`, or the rows and columns it is resampled to before it is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from models.physical import AIR_HU
from models.render import CtWindow, Float
from trainer import phantom
from trainer.datasets import CleanSlice, read_ct_slices
from trainer.degradations import ARTEFACTS, degrade
from trainer.recipe import Recipe, Source
from trainer.simulation.case import Case
from trainer.simulation.subject import OfCleanSlice, of_folders

OWN = "own"


@dataclass(frozen=True)
class CtSubject(OfCleanSlice):
    """A clean slice, with the photons of its own exposure."""

    clean: CleanSlice
    incident_photons: float
    _last: list[_Degraded] = field(default_factory=list, repr=False, compare=False)

    def draw(self, case: Case, recipe: Recipe, rng: np.random.Generator) -> Float:
        assert isinstance(recipe.render, CtWindow)
        hu = self._degraded(case.parts, case.options.get("kernel", "standard"), rng)
        reading = case.options.get("reading", OWN)
        return recipe.render.draw(
            framed(hu, case.options), self.clean.reading if reading == OWN else reading
        )

    def _degraded(
        self, parts: tuple[tuple[str, float], ...], kernel: str, rng: np.random.Generator
    ) -> Float:
        """The slice `[N, N]` in HU made worse; the same one again for several drawings of it."""
        if not parts:
            return self.clean.hu
        if self._last and self._last[0].is_of(parts, kernel, rng):
            return self._last[0].hu
        known = {
            "spacing_mm": self.clean.spacing_mm,
            "incident_photons": self.incident_photons,
            "kernel": kernel,
        }
        hu = self.clean.hu
        for name, severity in parts:
            takes = ARTEFACTS[name].geometry
            geometry = {key: value for key, value in known.items() if key in takes}
            hu = degrade(name, hu, severity, rng, **geometry)
        self._last[:] = [_Degraded(parts, kernel, rng, hu)]
        return hu


@dataclass(frozen=True)
class _Degraded:
    """A slice made worse, and by what: another generator would draw other noise."""

    parts: tuple[tuple[str, float], ...]
    kernel: str
    rng: np.random.Generator
    hu: Float

    def is_of(
        self, parts: tuple[tuple[str, float], ...], kernel: str, rng: np.random.Generator
    ) -> bool:
        return self.rng is rng and (self.parts, self.kernel) == (parts, kernel)


def framed(hu: Float, options: Mapping[str, str]) -> Float:
    """A slice `[N, N]` in HU as another field of view and matrix would show it, `[M, M]`."""
    side = len(hu)
    wanted = round(side * float(options.get("field_of_view", "1")))
    x, y = (round(side * float(share)) for share in options.get("centre", "0,0").split(","))
    if (wanted, x, y) != (side, 0, 0):
        shown = np.full((wanted, wanted), AIR_HU, np.float32)
        top, left = (side - wanted) // 2 + y, (side - wanted) // 2 + x
        rows = slice(max(0, top), min(side, top + wanted))
        columns = slice(max(0, left), min(side, left + wanted))
        shown[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = hu[
            rows, columns
        ]
        hu = shown
    matrix = options.get("matrix", OWN)
    if matrix != OWN:
        hu = np.asarray(cv2.resize(hu, (int(matrix),) * 2, interpolation=cv2.INTER_AREA))
    return hu


def ct_subjects(source: Source, recipe: Recipe, root: Path | None) -> Iterator[CtSubject]:
    """The clean slices of a source, folder by folder in order of z, or the digital phantom's."""
    if source.is_phantom:
        slices = phantom.training_slices(
            source.name, recipe.simulation.phantom_slices, recipe.simulation.seed
        )
    else:
        slices = of_folders(source, root, read_ct_slices)
    for clean in slices:
        yield CtSubject(clean, clean.incident_photons or source.incident_photons)
