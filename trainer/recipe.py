"""A recipe: everything one bundle is made from, as `conf/recipes/*.toml` states it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tomlkit
from pydantic import BaseModel, Field, ValidationError
from tomlkit.exceptions import TOMLKitError

from models.card import ScoreScale
from models.render import RenderSpec
from trainer.settings import Hardware, Precision, Table, Training, Weights

M = TypeVar("M", bound=BaseModel)


class RecipeError(ValueError):
    """A recipe cannot be read; the message names the file and the key."""


@dataclass(frozen=True)
class Source:
    """One source of clean slices.

    folders: DICOM folders, relative to the data root; none for the digital phantom.
    incident_photons: I₀ at the CT slices' own exposure, so that a scan simulated at it has the
    noise measured in them; every: each how manieth slice along z is taken; held_out_mm: ranges of
    z that are never trained on; gap_mm: what is left out on either side of them; repeat: how often
    each slice is gone through, where few slices are to weigh as much as many.
    """

    name: str
    licence: str
    attribution: str
    folders: tuple[str, ...]
    incident_photons: float = 5e5
    every: int = 1
    held_out_mm: tuple[tuple[float, float], ...] = ()
    gap_mm: float = 20.0
    repeat: int = 1

    @property
    def is_phantom(self) -> bool:
        return not self.folders


@dataclass(frozen=True)
class Simulation:
    """How many degraded pictures a slice yields.

    per_slice: pictures a slice, the first of them clean; mixed: the share of the others with two
    degradations; options: what a case draws besides (for CT: `kernel`), each from a list whose
    first value is the evaluation's; drawings: pictures drawn of each degraded slice, each with
    values of its own for the options in `drawn` (for CT: `reading`, `field_of_view`, `centre`,
    `matrix`); grid_severities: of an evaluation set; ruler: the degradation whose severities 0, ¼,
    ½, ¾, 1 are the scores 4 to 0, measured under ruler_options; phantom_slices: slices of the
    phantom; most: degradations that a picture can have, each after the first with the chance
    `mixed`.
    """

    seed: int
    per_slice: int
    mixed: float
    ruler: str
    options: Mapping[str, tuple[str, ...]]
    grid_severities: tuple[float, ...]
    grid_every: int
    phantom_slices: int = 0
    drawings: int = 1
    drawn: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ruler_options: Mapping[str, str] = field(default_factory=dict)
    most: int = 2

    @property
    def plain_options(self) -> dict[str, str]:
        """The evaluation's options: the first value of each."""
        return {name: values[0] for name, values in {**self.options, **self.drawn}.items()}


@dataclass(frozen=True)
class Degraded:
    """A degradation of the registry.

    weight: how often pictures get it, relative to others; strongest: the registry's severity that
    is this recipe's severity 1 (read for MR), where the rest of its range is worthless anyhow.
    """

    name: str
    weight: float = 1.0
    strongest: float = 1.0


@dataclass(frozen=True)
class TargetMetric:
    """A full-reference metric, and its values at the scores 4, 3, 2, 1 and 0."""

    name: str
    knots: tuple[float, ...]


class Fit(Training):
    """How the network is trained, and on what.

    kl_weight: β of MD-IQA's equation 4, for a network that has it; most_repeats: how often a
    picture of a rarely met score may come in an epoch, to even out the scale; severities, order,
    backbone_rate: MIQANet also learns the severities (`trainer/by_kind.py`), 0 for scores alone;
    fixed_depthwise: depthwise filters stay as published, which takes half the time
    (`trainer/depthwise.py`); the rest: `settings.Training` and `settings.Hardware`.
    """

    schedule: Literal["constant", "cosine", "one-cycle"] = "one-cycle"
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    kl_weight: Annotated[float, Field(ge=0)] = 0.1
    most_repeats: Annotated[int, Field(ge=1)] = 1
    severities: Annotated[float, Field(ge=0)] = 0.0
    order: Annotated[float, Field(ge=0)] = 0.0
    backbone_rate: Annotated[float, Field(gt=0)] | None = None
    fixed_depthwise: bool = False
    accelerator: str = "auto"
    devices: int | str = 1
    strategy: str = "auto"
    precision: Precision = "32-true"
    threads: Annotated[int, Field(ge=1)] = 2

    @property
    def hardware(self) -> Hardware:
        return Hardware(
            accelerator=self.accelerator,
            devices=self.devices,
            strategy=self.strategy,
            precision=self.precision,
            threads=self.threads,
        )


class Teaching(Table):
    """How a network is taught severities before scores (`trainer/severities.py`).

    steps, batch_size: of crops with sides of `side` pixels; learning_rate: the highest of AdamW's
    one-cycle, backbone_rate that of the CNN on its published weights.
    """

    seed: int
    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)] = 8
    side: Annotated[int, Field(ge=32)] = 256
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    backbone_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.02


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
    degradations: tuple[Degraded, ...]
    targets: tuple[TargetMetric, ...]
    fit: Fit
    limitations: tuple[str, ...]
    text: str
    weights: Weights
    teach: Teaching | None = None

    def source(self, name: str) -> Source:
        """Raises RecipeError naming the sources there are."""
        for source in self.sources:
            if source.name == name:
                return source
        known = ", ".join(source.name for source in self.sources)
        raise RecipeError(f"no source {name!r} in the recipe; it has {known}")


def load_recipe(path: Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe, with `section.key=value` overrides. Raises RecipeError naming file and key."""
    return parse_recipe(read_text(path, overrides), str(path))


def read_text(path: Path, overrides: Iterable[str] = ()) -> str:
    """A recipe's text with overrides written into it. Raises RecipeError naming file or override.

    An override's value is TOML, or plain text where it is none: `fit.epochs=3`,
    `hardware.accelerator=cpu`. Without a value the key is taken out.
    """
    try:
        text = path.read_text("utf-8")
        document: Any = tomlkit.parse(text)
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from error
    except TOMLKitError as error:
        raise RecipeError(f"{path}: not TOML: {error}") from error
    for override in overrides:
        place, equals, value = override.partition("=")
        *sections, key = place.strip().split(".")
        if not (equals and key):
            raise RecipeError(f"{override!r}: write an override as section.key=value")
        table = document
        for section in sections:
            if section not in table:
                table[section] = tomlkit.table()
            table = table[section]
            if not isinstance(table, dict):
                raise RecipeError(f"{override!r}: {section} is no section of {path}")
        if value.strip():
            table[key] = _value(value.strip())
        else:
            table.pop(key, None)
    return tomlkit.dumps(document) if overrides else text


def parse_recipe(text: str, source: str = "recipe") -> Recipe:
    """Raises RecipeError naming the source and the key."""
    try:
        raw = tomllib.loads(text)
        simulation, scale = raw["simulation"], raw["scale"]
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
            degradations=tuple(Degraded(**table) for table in raw["degradations"]),
            targets=tuple(TargetMetric(**_tuples(table)) for table in raw["targets"]),
            fit=validated(Fit, raw["fit"], source, "fit"),
            limitations=tuple(raw["limitations"]),
            text=text,
            weights=validated(Weights, raw.get("weights", {}), source, "weights"),
            teach=validated(Teaching, raw["teach"], source, "teach") if "teach" in raw else None,
        )
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{source}: not TOML: {error}") from error
    except KeyError as error:
        raise RecipeError(f"{source}: the key {error} is missing") from error
    except RecipeError:
        raise
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{source}: {error}") from error
    for target in recipe.targets:
        if len(target.knots) != 5:
            raise RecipeError(f"{source}: targets {target.name}: five knots are needed, 4 to 0")
    return recipe


def validated(model: type[M], table: Any, source: str, section: str = "") -> M:
    """A table as a model. Raises RecipeError naming the source and every key that is wrong."""
    try:
        return model.model_validate(table)
    except ValidationError as error:
        wrong = "; ".join(
            ".".join(str(part) for part in (*([section] if section else []), *one["loc"]))
            + f": {one['msg']}"
            for one in error.errors()
        )
        raise RecipeError(f"{source}: {wrong}") from error


def _value(text: str) -> Any:
    try:
        return tomlkit.value(text)
    except TOMLKitError:
        return text


def _tuples(value: Any) -> Any:
    """The same with every list a tuple, however deep."""
    match value:
        case dict():
            return {key: _tuples(one) for key, one in value.items()}
        case list():
            return tuple(_tuples(one) for one in value)
        case _:
            return value
