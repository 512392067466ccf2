"""Cards as the trainer writes them: the text of `card.toml`, which `models.card` reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomlkit

from models.card import CARD_NAME, Card, StartingWeights, TrainingSource, load_bundle
from trainer.recipe import Recipe

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def fitted(recipe: Recipe, configuration: Mapping[str, Any], measured: Mapping[str, Any]) -> Card:
    """The card of a fit, but for what the exported files tell.

    configuration: the run's (`pictures`, `without`, `weights`); measured: tables by title.
    """
    without = configuration.get("without")
    sources = [
        (recipe.source(name), images) for name, images in sorted(configuration["pictures"].items())
    ]
    return Card(
        name=recipe.name + (f"-without-{without}" if without else ""),
        version=recipe.version,
        architecture=recipe.architecture,
        preset=recipe.preset,
        modality=recipe.modality,
        render=recipe.render,
        input_shape=(0, 0, 0),
        outputs=(),
        scale=recipe.scale,
        training=tuple(
            TrainingSource(source.name, source.licence, images, source.attribution)
            for source, images in sources
        ),
        limitations=recipe.limitations,
        measured=measured,
        sha256={},
        weights=tuple(StartingWeights(**one) for one in configuration.get("weights", ())),
    )


def card_text(card: Card) -> str:
    """The bundle's `card.toml`. Figures are rounded to four decimals."""
    facts = {
        "name": card.name,
        "version": card.version,
        "architecture": card.architecture,
        "preset": card.preset,
        "modality": card.modality,
        "input_shape": card.input_shape,
        "outputs": card.outputs,
    }
    lines = [
        *_pairs(facts),
        "limitations = [",
        *(f"  {_toml(line)}," for line in card.limitations),
        "]",
        "",
        "[render]",
        *_pairs(card.render.as_table()),
        "",
        "[scale]",
        *_pairs(asdict(card.scale)),
    ]
    if card.domain:
        lines += ["", "[domain]", *_pairs(card.domain)]
    if card.uncertainty is not None:
        lines += ["", "[uncertainty]", *_pairs(asdict(card.uncertainty))]
    for source in card.training:
        lines += ["", "[[training]]", *_pairs(asdict(source))]
    for weights in card.weights:
        lines += ["", "[[weights]]", *_pairs(asdict(weights))]
    for title, table in card.measured.items():
        lines += ["", f"[measured.{_key(title)}]", *_pairs(table)]
    lines += ["", "[sha256]", *_pairs(card.sha256)]
    return "\n".join(lines) + "\n"


def amend(bundle: Path, title: str, table: Mapping[str, Any]) -> None:
    """Write a table into a bundle's card and keep all else of it, to the letter.

    Raises CardError where the bundle is damaged, before or after.
    """
    load_bundle(bundle)
    path = bundle / CARD_NAME
    document: Any = tomlkit.parse(path.read_text("utf-8"))
    added = tomlkit.table()
    for name, value in table.items():
        added.add(name, value)
    if title in document:
        document[title] = added
        text = tomlkit.dumps(document)
    else:
        put = tomlkit.dumps({title: added})
        text = tomlkit.dumps(document).replace("[sha256]\n", f"{put}\n[sha256]\n", 1)
    path.write_text(text, "utf-8")
    load_bundle(bundle)


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_toml(value)}" for key, value in table.items() if value is not None]


def _key(key: str) -> str:
    return key if BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _toml(value: Any) -> str:
    """A TOML literal of a string, number, list or table (JSON's strings are also TOML's)."""
    if isinstance(value, float):
        return repr(round(value, 4)) if value == value else "nan"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(_pairs(value)) + " }"
    return json.dumps(value, ensure_ascii=False)
