"""A bundle's card: what a network is, what it was trained on, how far to trust it.

A bundle is a folder::

    card.toml     this card; lists the sha256 of every other file
    model.onnx    dynamic batch; outputs `score [B]` and, where the network has them,
                  `map [B, h, w]` and `spread [B]`
    golden.npz    `input [n, C, H, W]` float32, one array per output, `tolerance` (scalar)

The bundle's digest is the SHA-256 of `card.toml`; since the card lists the digest of every
other file, it names weights, golden outputs and description together.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models import domain
from models.render import RenderSpec

CARD_NAME = "card.toml"
MODEL_NAME = "model.onnx"
GOLDEN_NAME = "golden.npz"


class CardError(ValueError):
    """A bundle's card is missing, malformed, or does not match the files beside it."""


@dataclass(frozen=True)
class ScoreScale:
    """The scale of a network's score: `worst` and `best` are its two ends."""

    worst: float
    best: float
    meaning: str

    @property
    def higher_is_better(self) -> bool:
        return self.best > self.worst


@dataclass(frozen=True)
class TrainingSource:
    """One source of training images, with the licence under which its use was allowed."""

    name: str
    licence: str
    images: int
    attribution: str = ""


@dataclass(frozen=True)
class StartingWeights:
    """The weights that one backbone started training from.

    file, sha256: of the file they were read from; source: where that came from; licence: theirs,
    empty where nobody has said.
    """

    backbone: str
    file: str
    sha256: str
    source: str
    licence: str = ""


@dataclass(frozen=True)
class Uncertainty:
    """The standard deviation of a slice's score about the score it should get.

    factor: what the network's own `spread` is multiplied by; error: that of every score, where
    the network states none. One of them is given. pictures: how many it was found on; found_on:
    what these were, in words.
    """

    found_on: str
    pictures: int
    factor: float | None = None
    error: float | None = None

    def __post_init__(self) -> None:
        given = [one for one in (self.factor, self.error) if one is not None]
        if len(given) != 1 or not given[0] > 0:
            raise ValueError("uncertainty: give either factor or error, above 0")

    def spread(self, own: float | None) -> float | None:
        """Of a score whose network states `own`."""
        if self.factor is None:
            return self.error
        return None if own is None else own * self.factor


@dataclass(frozen=True)
class Card:
    """The facts of one bundle, as `card.toml` states them.

    `input_shape` is (channels, rows, columns); `outputs` names the graph's outputs in order.
    `measured` holds the figures of the evaluation run as the trainer wrote them, and
    `limitations` the sentences that must travel with every score. `weights` is empty for a
    network that was trained from scratch. `domain` limits what a picture may be like to be
    scored (`models.domain`); empty, everything is. Without `uncertainty` the network's own
    `spread` is taken as it is.
    """

    name: str
    version: str
    architecture: str
    preset: str
    modality: str
    render: RenderSpec
    input_shape: tuple[int, int, int]
    outputs: tuple[str, ...]
    scale: ScoreScale
    training: tuple[TrainingSource, ...]
    limitations: tuple[str, ...]
    measured: Mapping[str, Any]
    sha256: Mapping[str, str]
    weights: tuple[StartingWeights, ...] = ()
    domain: domain.Limits = field(default_factory=dict)
    uncertainty: Uncertainty | None = None


@dataclass(frozen=True)
class Bundle:
    """A card together with the folder it was read from and its digest (hex SHA-256)."""

    folder: Path
    card: Card
    digest: str

    @property
    def model_path(self) -> Path:
        return self.folder / MODEL_NAME

    @property
    def golden_path(self) -> Path:
        return self.folder / GOLDEN_NAME


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_card(text: str, source: str = CARD_NAME) -> Card:
    """Read a card from TOML text; `source` names it in errors.

    Raises CardError with the offending key.
    """
    try:
        raw = tomllib.loads(text)
        scale = raw["scale"]
        render = RenderSpec.from_table(raw["render"])
        return Card(
            name=str(raw["name"]),
            version=str(raw["version"]),
            architecture=str(raw["architecture"]),
            preset=str(raw["preset"]),
            modality=str(raw["modality"]),
            render=render,
            input_shape=_shape(raw["input_shape"]),
            outputs=tuple(str(name) for name in raw["outputs"]),
            scale=ScoreScale(float(scale["worst"]), float(scale["best"]), str(scale["meaning"])),
            training=tuple(TrainingSource(**source) for source in raw["training"]),
            limitations=tuple(str(line) for line in raw["limitations"]),
            measured=MappingProxyType(raw.get("measured", {})),
            sha256=MappingProxyType(dict(raw["sha256"])),
            weights=tuple(StartingWeights(**one) for one in raw.get("weights", ())),
            domain=MappingProxyType(domain.limits_from(render.kind, raw.get("domain", {}))),
            uncertainty=Uncertainty(**raw["uncertainty"]) if "uncertainty" in raw else None,
        )
    except tomllib.TOMLDecodeError as error:
        raise CardError(f"{source}: not TOML: {error}") from error
    except KeyError as error:
        raise CardError(f"{source}: the key {error} is missing") from error
    except (TypeError, ValueError) as error:
        raise CardError(f"{source}: {error}") from error


def load_bundle(folder: Path) -> Bundle:
    """Read the bundle in `folder` and check every file against the digest its card lists.

    Raises CardError naming the file that is missing or differs.
    """
    card_path = folder / CARD_NAME
    try:
        text = card_path.read_bytes()
    except OSError as error:
        raise CardError(f"{card_path}: cannot be read: {error.strerror}") from error
    card = parse_card(text.decode("utf-8", errors="replace"), str(card_path))
    if set(card.sha256) < {MODEL_NAME, GOLDEN_NAME}:
        raise CardError(f"{card_path}: [sha256] must list {MODEL_NAME} and {GOLDEN_NAME}")
    for name, expected in card.sha256.items():
        path = folder / name
        if not path.is_file():
            raise CardError(f"{path}: listed in {CARD_NAME} and missing")
        if file_sha256(path) != expected:
            raise CardError(
                f"{path}: differs from the sha256 in {CARD_NAME}; fetch the bundle again"
            )
    return Bundle(folder, card, hashlib.sha256(text).hexdigest())


def load_bundles(root: Path) -> tuple[Bundle, ...]:
    """Every bundle below `root`, one folder each, in order of name."""
    return tuple(load_bundle(path.parent) for path in sorted(root.glob(f"*/{CARD_NAME}")))


def _shape(value: Any) -> tuple[int, int, int]:
    channels, rows, columns = (int(n) for n in value)
    return channels, rows, columns
