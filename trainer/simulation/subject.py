"""What a simulator of one modality is to the rest of the simulation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from models.render import Float
from trainer.recipe import Recipe, Source
from trainer.simulation.case import Case


class Subject(Protocol):
    """A clean slice (or a pair of them) that can be made worse and drawn.

    z_mm: its place along the axis, by which blocks are held out.
    """

    @property
    def source(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def z_mm(self) -> float: ...

    def draw(self, case: Case, recipe: Recipe, rng: np.random.Generator) -> Float:
        """The picture `[C, rows, columns]`, 0…1, of the subject as the case has it."""
        ...


class Simulator(Protocol):
    """Finds the clean subjects of a source, in order of z.

    Raises DatasetError where a folder holds none.
    """

    def __call__(self, source: Source, recipe: Recipe, root: Path | None) -> Iterator[Subject]: ...
