"""A recipe: everything one bundle is made from, as `conf/recipes/*.toml` states it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.card import ScoreScale
from models.render import RenderSpec


class RecipeError(ValueError):
    """A recipe cannot be read; the message names the file and the key."""


@dataclass(frozen=True)
class Source:
    """One source of clean slices.

    folders: DICOM folders, relative to the data root; none for the digital phantom.
    incident_photons: I₀ at the slices' own exposure, so that a scan simulated at it has the
    noise measured in them; every: each how manieth slice along z is taken.
    """

    name: str
    licence: str
    attribution: str
    folders: tuple[str, ...]
    incident_photons: float
    every: int = 1

    @property
    def is_phantom(self) -> bool:
        return not self.folders


@dataclass(frozen=True)
class Simulation:
    """How many degraded pictures a slice yields.

    per_slice: pictures a slice, the first of them clean; kernels: those drawn from;
    grid_severities: the severities of an evaluation set; phantom_slices: slices of the phantom.
    """

    seed: int
    per_slice: int
    kernels: tuple[str, ...]
    grid_severities: tuple[float, ...]
    grid_every: int
    phantom_slices: int


@dataclass(frozen=True)
class TargetMetric:
    """A full-reference metric, and its values at the scores 4, 3, 2, 1 and 0."""

    name: str
    knots: tuple[float, ...]


@dataclass(frozen=True)
class Fit:
    """How the network is trained. precision: `32` or `bf16-mixed`, as Lightning names them."""

    seed: int
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    kl_weight: float
    precision: str
    threads: int


@dataclass(frozen=True)
class Recipe:
    """The whole recipe; `text` is the file as read, kept with every run."""

    name: str
    version: str
    architecture: str
    preset: str
    modality: str
    render: RenderSpec
    scale: ScoreScale
    sources: tuple[Source, ...]
    simulation: Simulation
    targets: tuple[TargetMetric, ...]
    fit: Fit
    limitations: tuple[str, ...]
    text: str

    def source(self, name: str) -> Source:
        """Raises RecipeError naming the sources there are."""
        for source in self.sources:
            if source.name == name:
                return source
        known = ", ".join(source.name for source in self.sources)
        raise RecipeError(f"no source {name!r} in the recipe; it has {known}")


def load_recipe(path: Path) -> Recipe:
    """Read a recipe. Raises RecipeError naming file and key."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from error
    return parse_recipe(text, str(path))


def parse_recipe(text: str, source: str = "recipe") -> Recipe:
    try:
        raw = tomllib.loads(text)
        simulation, fit, scale = raw["simulation"], raw["fit"], raw["scale"]
        recipe = Recipe(
            name=raw["name"],
            version=raw["version"],
            architecture=raw["architecture"],
            preset=raw["preset"],
            modality=raw["modality"],
            render=RenderSpec.from_table(raw["render"]),
            scale=ScoreScale(float(scale["worst"]), float(scale["best"]), scale["meaning"]),
            sources=tuple(Source(**_tuples(table)) for table in raw["sources"]),
            simulation=Simulation(**_tuples(simulation)),
            targets=tuple(TargetMetric(**_tuples(table)) for table in raw["targets"]),
            fit=Fit(**fit),
            limitations=tuple(raw["limitations"]),
            text=text,
        )
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{source}: not TOML: {error}") from error
    except KeyError as error:
        raise RecipeError(f"{source}: the key {error} is missing") from error
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{source}: {error}") from error
    if recipe.fit.precision not in ("32", "bf16-mixed"):
        raise RecipeError(f"{source}: fit.precision must be '32' or 'bf16-mixed'")
    for target in recipe.targets:
        if len(target.knots) != 5:
            raise RecipeError(f"{source}: targets {target.name}: five knots are needed, 4 to 0")
    return recipe


def _tuples(table: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
