"""Simulated sets: every clean subject of a recipe at several degradations, drawn and scored."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch

from trainer import targets
from trainer.datasets import Entry, write_set
from trainer.degradations import incident_photons_for
from trainer.recipe import Recipe, Source
from trainer.simulation.case import Case, grid_cases, random_cases
from trainer.simulation.ct import ct_subjects
from trainer.simulation.mr import mr_subjects
from trainer.simulation.pet_ct import pet_ct_subjects
from trainer.simulation.subject import Simulator, Subject

Picture = npt.NDArray[np.float16]
Part = Literal["all", "train", "held-out"]

SIMULATORS: dict[str, Simulator] = {
    "ct-window": ct_subjects,
    "mr-stack": mr_subjects,
    "pet-ct-fused": pet_ct_subjects,
}
"""By the kind of picture that a recipe draws."""


def simulate_subject(
    subject: Subject, cases: Iterable[Case], recipe: Recipe
) -> list[tuple[Picture, Entry]]:
    """Degrade, draw and score one subject; the same subject and seed give the same pictures."""
    seed = (recipe.simulation.seed, zlib.crc32(f"{subject.source}/{subject.name}".encode()))
    rng = np.random.default_rng(seed)
    names = [target.name for target in recipe.targets]
    made = []
    for case in cases:
        picture = subject.draw(case, recipe, rng)
        reference = subject.draw(Case((), case.options), recipe, rng)
        metrics = targets.measure(picture, reference, names)
        entry = Entry(
            source=subject.source,
            slice=subject.name,
            kind=case.kind,
            severity=case.severity,
            parts=dict(case.parts),
            options=dict(case.options),
            metrics=metrics,
            target=targets.score(metrics, recipe.targets),
        )
        made.append((picture.astype(np.float16), entry))
    return made


def simulate(
    recipe: Recipe,
    root: Path | None,
    sources: Iterable[Source],
    folder: Path,
    *,
    grid: bool,
    every: int | None,
    processes: int,
    report: Callable[[str, int], None],
    part: Part = "all",
    plain: bool = False,
) -> int:
    """Write the simulated set of some sources and return its number of pictures.

    grid: an evaluation set (each degradation at each severity) instead of random cases;
    every: takes one slice in so many, by default all, for a grid the recipe's grid_every;
    part: of sources with blocks held out, only what is trained on, or only what is held out;
    plain: random cases are drawn with the evaluation's options, once each;
    report(source, slices done) is told the progress.
    """
    thinned = every or (recipe.simulation.grid_every if grid else 1)
    pictures: list[Picture] = []
    entries: list[Entry] = []
    # a forked child of a process whose torch or OpenCV already runs threads waits for them for ever
    fresh = get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=fresh, initializer=_one_thread) as pool:
        for source in sources:
            step = source.every * thinned
            chosen = chain.from_iterable(
                islice(subjects(source, recipe, root, part), 0, None, step)
                for _ in range(1 if grid else source.repeat)
            )
            jobs = [
                pool.submit(simulate_subject, subject, cases, recipe)
                for subject, cases in _with_cases(chosen, recipe, grid, plain)
            ]
            for done, job in enumerate(jobs, start=1):
                for picture, entry in job.result():
                    pictures.append(picture)
                    entries.append(entry)
                report(source.name, done)
    if not entries:
        raise ValueError(f"part {part!r} of these sources holds no slices")
    write_set(folder, pictures, entries, recipe.render)
    return len(entries)


def subjects(
    source: Source, recipe: Recipe, root: Path | None, part: Part = "all"
) -> Iterator[Subject]:
    """The clean subjects of a source, in order of z within a folder.

    A held-out block is the recipe's `held_out_mm` of its source; what lies within `gap_mm` of one
    is neither trained on nor measured on. Raises DatasetError where a folder holds none.
    """
    for subject in SIMULATORS[recipe.render.kind](source, recipe, root):
        inside = any(low <= subject.z_mm <= high for low, high in source.held_out_mm)
        near = any(
            low - source.gap_mm <= subject.z_mm <= high + source.gap_mm
            for low, high in source.held_out_mm
        )
        if part == "all" or (inside if part == "held-out" else not near):
            yield subject


def calibrate(recipe: Recipe, root: Path | None, every: int) -> dict[str, tuple[float, ...]]:
    """Knots of every metric from the recipe's sources, one slice in `every`: its medians at the
    severities of the recipe's ruler, the degradation that a score is a step of."""
    names = [target.name for target in recipe.targets]
    ruler = recipe.simulation.ruler
    values: dict[str, list[list[float]]] = {name: [] for name in names}
    rng = np.random.default_rng(recipe.simulation.seed)
    options = {**recipe.simulation.plain_options, **recipe.simulation.ruler_options}
    for source in recipe.sources:
        for subject in islice(subjects(source, recipe, root), 0, None, source.every * every):
            reference = subject.draw(Case((), options), recipe, rng)
            rows = [
                targets.measure(
                    subject.draw(Case(((ruler, severity),), options), recipe, rng),
                    reference,
                    names,
                )
                for severity in targets.KNOT_SEVERITIES
            ]
            for name in names:
                values[name].append([row[name] for row in rows])
    return {name: targets.knots(values[name]) for name in names}


def calibrate_photons(
    recipe: Recipe, source: Source, root: Path | None, every: int, noise_hu: float
) -> float:
    """I₀ at which a scan of one in `every` slices of a source has the noise measured in them."""
    chosen = islice(ct_subjects(source, recipe, root), 0, None, every)
    slices = [(one.clean.hu, one.clean.spacing_mm) for one in chosen]
    return incident_photons_for(slices, noise_hu, np.random.default_rng(recipe.simulation.seed))


def _with_cases(
    chosen: Iterable[Subject], recipe: Recipe, grid: bool, plain: bool
) -> Iterator[tuple[Subject, list[Case]]]:
    for number, subject in enumerate(chosen):
        rng = np.random.default_rng((recipe.simulation.seed, number))
        yield subject, grid_cases(recipe) if grid else random_cases(recipe, rng, plain=plain)


def _one_thread() -> None:
    # Processes share the cores already; threads within them would only queue.
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
