"""Clean CT slices, made worse on their rays and drawn in the window they are read in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.render import CtWindow, Float
from trainer import phantom
from trainer.datasets import CleanSlice, read_ct_slices
from trainer.degradations import ARTEFACTS, degrade
from trainer.recipe import Recipe, Source
from trainer.simulation.case import Case


@dataclass(frozen=True)
class CtSubject:
    """A clean slice, with the photons of its own exposure.

    A case's options: `kernel` of what is reconstructed, `reading` (soft, lung, bone).
    """

    clean: CleanSlice
    incident_photons: float

    @property
    def source(self) -> str:
        return self.clean.source

    @property
    def name(self) -> str:
        return self.clean.name

    @property
    def z_mm(self) -> float:
        return self.clean.z_mm

    def draw(self, case: Case, recipe: Recipe, rng: np.random.Generator) -> Float:
        hu = self.clean.hu
        known = {
            "spacing_mm": self.clean.spacing_mm,
            "incident_photons": self.incident_photons,
            "kernel": case.options.get("kernel", "standard"),
        }
        for name, severity in case.parts:
            takes = ARTEFACTS[name].geometry
            geometry = {key: value for key, value in known.items() if key in takes}
            hu = degrade(name, hu, severity, rng, **geometry)
        assert isinstance(recipe.render, CtWindow)
        return recipe.render.draw(hu, case.options.get("reading", "soft"))


def ct_subjects(source: Source, recipe: Recipe, root: Path | None) -> Iterator[CtSubject]:
    """The clean slices of a source, folder by folder in order of z, or the digital phantom's."""
    if source.is_phantom:
        slices = phantom.training_slices(
            source.name, recipe.simulation.phantom_slices, recipe.simulation.seed
        )
    else:
        slices = _of_folders(source, root)
    for clean in slices:
        yield CtSubject(clean, clean.incident_photons or source.incident_photons)


def _of_folders(source: Source, root: Path | None) -> Iterator[CleanSlice]:
    if root is None:
        raise ValueError(f"source {source.name} reads DICOM folders: give their root with --root")
    for name in source.folders:
        yield from read_ct_slices(root / name, source.name)
