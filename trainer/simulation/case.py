"""What is done to one clean subject: which degradations, how severe, and how it is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from trainer.recipe import Recipe

CLEAN = "clean"


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


def random_cases(recipe: Recipe, rng: np.random.Generator) -> list[Case]:
    """Cases of one subject for training: one clean, the others of one degradation or of two."""
    simulation = recipe.simulation
    weights = np.array([one.weight for one in recipe.degradations])
    cases = [Case((), _options(recipe, rng))]
    for _ in range(1, simulation.per_slice):
        count = 2 if rng.random() < simulation.mixed and len(weights) > 1 else 1
        chosen = rng.choice(len(weights), count, replace=False, p=weights / weights.sum())
        parts = tuple((recipe.degradations[i].name, float(rng.uniform())) for i in sorted(chosen))
        cases.append(Case(parts, _options(recipe, rng)))
    return cases


def grid_cases(recipe: Recipe) -> list[Case]:
    """Cases of one subject for evaluation: clean, and each degradation alone at each severity.

    Options take their first value.
    """
    options = {name: values[0] for name, values in recipe.simulation.options.items()}
    return [Case((), options)] + [
        Case(((one.name, severity),), options)
        for one in recipe.degradations
        for severity in recipe.simulation.grid_severities
        if severity > 0
    ]


def _options(recipe: Recipe, rng: np.random.Generator) -> dict[str, str]:
    return {name: _one(values, rng) for name, values in recipe.simulation.options.items()}


def _one(values: Sequence[str], rng: np.random.Generator) -> str:
    return values[int(rng.integers(len(values)))]
