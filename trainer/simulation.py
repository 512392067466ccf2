"""Simulated sets: every clean slice of a recipe at several degradations, drawn and scored."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from models.render import render
from trainer import phantom, targets
from trainer.datasets import CleanSlice, Entry, read_ct_slices, write_set
from trainer.degradations import Scan, at_severity, incident_photons_for
from trainer.projection import Kernel
from trainer.recipe import Recipe, Source

Picture = npt.NDArray[np.float16]


@dataclass(frozen=True)
class Case:
    """One degradation to simulate: kind `clean`, `noise`, `views` or `mixed`, severities 0…1."""

    kind: str
    noise: float
    sparsity: float
    kernel: Kernel

    @property
    def severity(self) -> float:
        return max(self.noise, self.sparsity)


def random_cases(recipe: Recipe, rng: np.random.Generator) -> list[Case]:
    """Cases of one slice for training: one clean, then noise, views and both in turn."""
    cases = [Case("clean", 0.0, 0.0, "standard")]
    for number in range(1, recipe.simulation.per_slice):
        kind = ("noise", "mixed", "noise", "views")[number % 4]
        noise, sparsity = rng.uniform(0, 1, 2)
        kernel = recipe.simulation.kernels[rng.integers(len(recipe.simulation.kernels))]
        cases.append(
            Case(
                kind,
                0.0 if kind == "views" else float(noise),
                0.0 if kind == "noise" else float(sparsity),
                kernel,  # type: ignore[arg-type] # checked against projection.HANN_CUTOFF there
            )
        )
    return cases


def grid_cases(recipe: Recipe) -> list[Case]:
    """Cases of one slice for evaluation: each severity as noise, as views and as both."""
    cases = []
    for severity in recipe.simulation.grid_severities:
        if severity == 0:
            cases.append(Case("clean", 0.0, 0.0, "standard"))
            continue
        cases.append(Case("noise", severity, 0.0, "standard"))
        cases.append(Case("views", 0.0, severity, "standard"))
        cases.append(Case("mixed", severity, severity, "standard"))
    return cases


def simulate_slice(
    clean: CleanSlice, photons: float, cases: Iterable[Case], recipe: Recipe
) -> list[tuple[Picture, Entry]]:
    """Degrade, draw and score one slice; the same slice and seed give the same pictures."""
    seed = (recipe.simulation.seed, zlib.crc32(f"{clean.source}/{clean.name}".encode()))
    rng = np.random.default_rng(seed)
    scan = Scan.of(clean.hu, clean.spacing_mm, clean.incident_photons or photons)
    reference = render(clean.hu, recipe.render)
    names = [target.name for target in recipe.targets]
    made = []
    for case in cases:
        degradation = at_severity(case.noise, case.sparsity)
        picture = render(scan.degraded(degradation, rng, case.kernel), recipe.render)
        metrics = targets.measure(picture, reference, names)
        entry = Entry(
            source=clean.source,
            slice=clean.name,
            kind=case.kind,
            severity=case.severity,
            dose_fraction=degradation.dose_fraction,
            views=degradation.views,
            kernel=case.kernel,
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
) -> int:
    """Write the simulated set of some sources and return its number of pictures.

    grid: an evaluation set (every severity as noise, views and both) instead of random cases;
    every: takes one slice in so many, by default all, for a grid the recipe's grid_every;
    report(source, slices done) is told the progress.
    """
    thinned = every or (recipe.simulation.grid_every if grid else 1)
    pictures: list[Picture] = []
    entries: list[Entry] = []
    # a forked child of a process whose torch or OpenCV already runs threads waits for them for ever
    fresh = get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=fresh, initializer=_one_thread) as pool:
        for source in sources:
            chosen = islice(clean_slices(source, recipe, root), 0, None, source.every * thinned)
            jobs = [
                pool.submit(simulate_slice, clean, source.incident_photons, cases, recipe)
                for clean, cases in _with_cases(chosen, recipe, grid)
            ]
            for done, job in enumerate(jobs, start=1):
                for picture, entry in job.result():
                    pictures.append(picture)
                    entries.append(entry)
                report(source.name, done)
    write_set(folder, pictures, entries, recipe.render)
    return len(entries)


def clean_slices(source: Source, recipe: Recipe, root: Path | None) -> Iterator[CleanSlice]:
    """The clean slices of a source, folder by folder in order of z.

    Raises DatasetError where a folder holds none, ValueError where no root was given.
    """
    if source.is_phantom:
        yield from phantom.training_slices(
            source.name, recipe.simulation.phantom_slices, recipe.simulation.seed
        )
        return
    if root is None:
        raise ValueError(f"source {source.name} reads DICOM folders: give their root with --root")
    for name in source.folders:
        yield from read_ct_slices(root / name, source.name)


def calibrate(recipe: Recipe, root: Path | None, every: int) -> dict[str, tuple[float, ...]]:
    """Knots of every metric from the recipe's sources, one slice in `every`."""
    names = [target.name for target in recipe.targets]
    values: dict[str, list[list[float]]] = {name: [] for name in names}
    rng = np.random.default_rng(recipe.simulation.seed)
    for source in recipe.sources:
        for clean in islice(clean_slices(source, recipe, root), 0, None, source.every * every):
            scan = Scan.of(clean.hu, clean.spacing_mm, source.incident_photons)
            reference = render(clean.hu, recipe.render)
            rows = [
                targets.measure(
                    render(scan.degraded(at_severity(severity, 0), rng), recipe.render),
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
    chosen = islice(clean_slices(source, recipe, root), 0, None, every)
    slices = [(clean.hu, clean.spacing_mm) for clean in chosen]
    return incident_photons_for(slices, noise_hu, np.random.default_rng(recipe.simulation.seed))


def _with_cases(
    slices: Iterable[CleanSlice], recipe: Recipe, grid: bool
) -> Iterator[tuple[CleanSlice, list[Case]]]:
    for number, clean in enumerate(slices):
        rng = np.random.default_rng((recipe.simulation.seed, number))
        yield clean, grid_cases(recipe) if grid else random_cases(recipe, rng)


def _one_thread() -> None:
    # Processes share the cores already; threads within them would only queue.
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
