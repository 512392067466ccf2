"""What is done to one clean subject: which degradations, how severe, and how it is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from trainer.datasets import CLEAN
from trainer.recipe import Recipe


@dataclass(frozen=True)
class Case:
    """Degradations by name with their severities 0…1, applied in order; none leaves it clean.

    options: what a simulator draws besides, the same for the clean picture that a worse one is
    compared with (a reconstruction kernel, a reading window).
    """

    parts: tuple[tuple[str, float], ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return "+".join(name for name, _ in self.parts) or CLEAN

    @property
    def severity(self) -> float:
        """The largest of its severities."""
        return max((severity for _, severity in self.parts), default=0.0)


def random_cases(recipe: Recipe, rng: np.random.Generator, *, plain: bool = False) -> list[Case]:
    """Cases of one subject: one clean, the others of one degradation or of two, at any severity.

    Each is there as many times as the recipe has drawings, drawn with options of its own. plain:
    drawn once, with the evaluation's options.
    """
    simulation = recipe.simulation
    weights = np.array([one.weight for one in recipe.degradations])
    cases = _drawn((), recipe, rng, plain)
    for _ in range(1, simulation.per_slice):
        count, most = 1, min(simulation.most, len(weights))
        while count < most and rng.random() < simulation.mixed:
            count += 1
        chosen = rng.choice(len(weights), count, replace=False, p=weights / weights.sum())
        parts = tuple((recipe.degradations[i].name, float(rng.uniform())) for i in sorted(chosen))
        cases += _drawn(parts, recipe, rng, plain)
    return cases


def grid_cases(recipe: Recipe) -> list[Case]:
    """Cases of one subject for evaluation: clean, and each degradation alone at each severity.

    Options take their first value.
    """
    options = recipe.simulation.plain_options
    return [Case((), options)] + [
        Case(((one.name, severity),), options)
        for one in recipe.degradations
        for severity in recipe.simulation.grid_severities
        if severity > 0
    ]


def _drawn(
    parts: tuple[tuple[str, float], ...], recipe: Recipe, rng: np.random.Generator, plain: bool
) -> list[Case]:
    simulation = recipe.simulation
    if plain:
        return [Case(parts, simulation.plain_options)]
    shared = {name: _one(values, rng) for name, values in simulation.options.items()}
    return [
        Case(parts, shared | {name: _one(values, rng) for name, values in simulation.drawn.items()})
        for _ in range(simulation.drawings)
    ]


def _one(values: Sequence[str], rng: np.random.Generator) -> str:
    return values[int(rng.integers(len(values)))]
