"""What a simulator of one modality is to the rest of the simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from models.render import Float
from trainer.recipe import Recipe, Source
from trainer.simulation.case import Case

S = TypeVar("S")


class Clean(Protocol):
    """What every clean slice, or pair of them, tells of itself.

    z_mm: its place along the axis, by which blocks are held out.
    """

    @property
    def source(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def z_mm(self) -> float: ...


class Subject(Clean, Protocol):
    """A clean slice (or a pair of them) that can be made worse and drawn."""

    def draw(self, case: Case, recipe: Recipe, rng: np.random.Generator) -> Float:
        """The picture `[C, rows, columns]`, 0…1, of the subject as the case has it."""
        ...


class OfCleanSlice:
    """A subject that goes by its clean slice's name and place."""

    clean: Clean

    @property
    def source(self) -> str:
        return self.clean.source

    @property
    def name(self) -> str:
        return self.clean.name

    @property
    def z_mm(self) -> float:
        return self.clean.z_mm


def of_folders(
    source: Source, root: Path | None, read: Callable[[Path, str], Iterator[S]]
) -> Iterator[S]:
    """A source's slices, folder by folder. Raises ValueError where no root was given."""
    if root is None:
        raise ValueError(f"source {source.name} reads DICOM folders: give their root with --root")
    for name in source.folders:
        yield from read(root / name, source.name)


class Simulator(Protocol):
    """Finds the clean subjects of a source, in order of z.

    Raises DatasetError where a folder holds none.
    """

    def __call__(self, source: Source, recipe: Recipe, root: Path | None) -> Iterator[Subject]: ...
