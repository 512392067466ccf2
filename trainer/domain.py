"""What a bundle is for, learnt from the slices it is trained on, clean and at their worst.

Limits are the range of every measure of `models.domain` over the training slices, widened, and
never narrower than what patients' pictures are known to reach: a few training patients show
little of it, and a bad picture must not leave the domain, it must get its low score.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from models import domain
from trainer import cards
from trainer.datasets import CleanSlice
from trainer.datasets.dicom_pet import on_grid
from trainer.degradations import ARTEFACTS, degrade
from trainer.recipe import Recipe, Source
from trainer.simulation import subjects
from trainer.simulation.case import Case
from trainer.simulation.ct import CtSubject
from trainer.simulation.mr import MrSubject
from trainer.simulation.pet_ct import PetCtSubject
from trainer.simulation.subject import Subject

SLICES = 6
"""Of each source, unless someone asks for more."""

Describe = Callable[[Any, str | None, Recipe, np.random.Generator], dict[str, float]]


def learn(recipe: Recipe, root: Path | None, slices: int) -> dict[str, tuple[float, float]]:
    """Limits from `slices` slices of each source's training part, evenly taken: clean, and by
    each of the recipe's degradations at severity 1.

    Raises DatasetError where a source has no slices, ValueError where its pictures cannot be
    described.
    """
    seen: list[Mapping[str, float]] = []
    for source in recipe.sources:
        for subject in _some(subjects(source, recipe, root, "train"), source, slices):
            seen += described(subject, recipe)
    return limits(recipe.render.kind, seen)


def described(subject: Subject, recipe: Recipe) -> list[dict[str, float]]:
    """Measures of a subject, clean and at the worst of every degradation of the recipe."""
    describe = DESCRIBERS.get(type(subject))
    if describe is None:
        raise ValueError(f"{recipe.render.kind}: {type(subject).__name__} is described nowhere")
    rng = np.random.default_rng(zlib.crc32(f"{subject.source}/{subject.name}".encode()))
    kinds = [None, *(one.name for one in recipe.degradations)]
    return [describe(subject, name, recipe, rng) for name in kinds]


def limits(kind: str, seen: list[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """Limits of every measure, three figures each, from what the training slices measure."""
    made = {}
    for name, descriptor in domain.DESCRIPTORS[kind].items():
        values = [one[name] for one in seen if name in one] or list(descriptor.reach)
        low = min(min(values) / descriptor.widening, descriptor.reach[0])
        high = max(max(values) * descriptor.widening, descriptor.reach[1])
        if descriptor.unit == "%" and descriptor.reach[1] <= 1:
            high = min(high, 1.0)
        made[name] = (float(f"{low:.3g}"), float(f"{high:.3g}"))
    return made


def write(bundle: Path, limits_: Mapping[str, tuple[float, float]]) -> None:
    """Write limits into a bundle's card and keep all else of it, to the letter.

    Raises CardError where the bundle is damaged, before or after.
    """
    cards.amend(bundle, "domain", {name: list(span) for name, span in limits_.items()})


def _some(found: Iterator[Subject], source: Source, count: int) -> list[Subject]:
    """Evenly along the source; of digital slices, each made at random, the first."""
    if source.is_phantom:
        return list(islice(found, count))
    every = list(found)
    if not every:  # held out wholly
        return []
    places = np.unique(np.linspace(0, len(every) - 1, count).round().astype(int))
    return [every[place] for place in places]


def _ct(
    subject: CtSubject, name: str | None, _: Recipe, rng: np.random.Generator
) -> dict[str, float]:
    clean: CleanSlice = subject.clean
    hu = clean.hu
    if name is not None:
        known = {"spacing_mm": clean.spacing_mm, "incident_photons": subject.incident_photons}
        takes = ARTEFACTS[name].geometry
        hu = degrade(name, hu, 1.0, rng, **{key: one for key, one in known.items() if key in takes})
    return domain.describe_ct(hu, clean.spacing_mm)


def _mr(
    subject: MrSubject, name: str | None, recipe: Recipe, rng: np.random.Generator
) -> dict[str, float]:
    parts = () if name is None else ((name, 1.0),)
    signal, _ = subject.degraded(Case(parts), recipe, rng)
    return domain.describe_mr(signal)


def _pet_ct(
    subject: PetCtSubject, name: str | None, _: Recipe, rng: np.random.Generator
) -> dict[str, float]:
    hu, suv = subject.degraded(() if name is None else ((name, 1.0),), rng)
    clean = subject.clean
    return domain.describe_pet_ct(
        hu, on_grid(suv, clean.pet, clean.ct, hu.shape), clean.ct.spacing_mm
    )


DESCRIBERS: dict[type, Describe] = {CtSubject: _ct, MrSubject: _mr, PetCtSubject: _pet_ct}
"""By the kind of subject."""
