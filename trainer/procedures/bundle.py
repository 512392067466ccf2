"""From a run of a paper's procedure to a bundle.

A procedure has several trainings, and each has a folder in the run; the one whose network is wanted
is named (`joint`, `phase-2`, `fold-3`). What the card says comes from the run (architecture, images
seen, weights started from, what was measured of this very training) and from the recipe's [bundle]
(name, drawing, scale, limitations).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models import networks
from models.card import Card, ScoreScale, StartingWeights, TrainingSource
from models.networks.network import Network
from models.render import CtWindow, Float, RenderSpec
from trainer import loop, procedures
from trainer.export import GOLDEN_PICTURES, write_bundle
from trainer.phantom import Chest
from trainer.procedures.description import Description
from trainer.procedures.experiment import (
    CONFIGURATION_NAME,
    MEASURED_NAME,
    RECIPE_NAME,
    TRAINING_NAME,
    ProcedureRecipe,
    load_source,
    sources_of,
)
from trainer.recipe import read_text
from trainer.settings import Views
from trainer.views import prepared

GOLDEN_HEIGHTS_MM = (40.0, 200.0)
GOLDEN_NOISE_HU = 200.0
"""Golden chests: from which height to which, and the noise added to the last of them."""


def export(
    training: Path,
    folder: Path,
    *,
    data: Path | None = None,
    overrides: Iterable[str] = (),
    measured: Mapping[str, Any] | None = None,
) -> None:
    """Write the network of a training, RUN/NAME, as a bundle.

    data: the folder of the run's datasets, needed where golden pictures cannot be drawn from the
    trainer's own phantoms. overrides: of the run's recipe, for a [bundle] that it lacks. measured:
    tables by title, beside those that the run measured of this training. Raises ValueError naming
    the file, key or option that is missing, and as `write_bundle` does.
    """
    run = training.parent
    source = str(run / RECIPE_NAME)
    recipe = procedures.parse(read_text(run / RECIPE_NAME, overrides), source)
    description = _description(recipe, source)
    trained = json.loads((training / TRAINING_NAME).read_text("utf-8"))
    sources = _sources(recipe, trained["images"], source)
    network = _network(recipe, training, trained["keep"])
    render = _render(description, network)
    card = Card(
        name=description.name,
        version=description.version,
        architecture=recipe.architecture,
        preset=recipe.preset,
        modality=description.modality,
        render=render,
        input_shape=(0, 0, 0),
        outputs=(),
        scale=_scale(description, network),
        training=sources,
        limitations=description.limitations,
        measured=_measured(run, training.name) | dict(measured or {}),
        sha256={},
        weights=tuple(StartingWeights(**one) for one in _told(run, CONFIGURATION_NAME)["weights"]),
    )
    write_bundle(network, card, _golden_pictures(recipe, render, network, data), folder)


def _description(recipe: ProcedureRecipe, source: str) -> Description:
    if recipe.bundle is None:
        raise ValueError(
            f"{source}: has no [bundle]; a card needs {', '.join(Description.model_fields)}: give "
            "each with --set bundle.KEY=VALUE, such as --set bundle.name=ct-md-iqa"
        )
    return recipe.bundle


def _sources(
    recipe: ProcedureRecipe, images: Mapping[str, int], source: str
) -> tuple[TrainingSource, ...]:
    """Raises ValueError naming the key of a source whose licence nobody has stated."""
    known = {one.title: (key, one) for key, one in sources_of(recipe)}
    found = []
    for title, number in sorted(images.items()):
        key, one = known[title]
        if not one.licence:
            raise ValueError(
                f"{source}: {key}.licence is missing: under what licence was the network trained "
                f"on {title}? Give it with --set {key}.licence=…"
            )
        found.append(TrainingSource(title, one.licence, number, one.attribution))
    return tuple(found)


def _network(recipe: ProcedureRecipe, training: Path, keep: str) -> Network:
    """The network as the training handed it on. Raises ValueError where it is no such network."""
    checkpoint = training / loop.CHECKPOINT_NAME
    if not checkpoint.exists():
        raise ValueError(f"{checkpoint}: is missing; let `reproduce` run to its end")
    best = training / loop.BEST_NAME
    kept = best if keep == "best" and best.exists() else checkpoint
    state = torch.load(kept, weights_only=True, map_location="cpu")["network"]
    network = networks.build(
        recipe.architecture, recipe.preset, ablations=frozenset(recipe.ablations)
    )
    if state.keys() != network.state_dict().keys():
        raise ValueError(
            f"{kept}: is not the whole of {recipe.architecture}/{recipe.preset}, but a part that "
            "another training of the run starts from; export the last one"
        )
    network.load_state_dict(state)
    return network.eval()


def _render(description: Description, network: Network) -> RenderSpec:
    """Raises ValueError where what is drawn is not what the network reads."""
    channels, side = network.preset.channels, network.preset.side
    try:
        render = RenderSpec.from_table({"rows": side, "columns": side} | description.render)
    except KeyError as error:
        raise ValueError(f"bundle.render: the key {error} is missing") from error
    drawn = (render.channels, render.rows, render.columns)
    if drawn != (channels, side, side):
        raise ValueError(
            f"bundle.render draws {drawn}, and the network reads {(channels, side, side)}; leave "
            "rows and columns out, and choose a kind of so many channels"
        )
    return render


def _scale(description: Description, network: Network) -> ScoreScale:
    stated, highest = description.scale, network.preset.highest
    # Whatever the published scale, training brings it to this one, the best picture highest.
    if (stated.worst, stated.best) != (0.0, highest):
        raise ValueError(
            f"bundle.scale: the network's scores go from worst = 0 to best = {highest:g}"
        )
    return ScoreScale(stated.worst, stated.best, stated.meaning)


def _told(run: Path, name: str) -> Any:
    if not (run / name).exists():
        raise ValueError(f"{run / name}: is missing; let `reproduce` run to its end")
    return json.loads((run / name).read_text("utf-8"))


def _measured(run: Path, training: str) -> dict[str, Any]:
    """What the run measured of this training, by method."""
    rows = [dict(row) for row in _told(run, MEASURED_NAME) if row["training"] == training]
    for row in rows:
        del row["training"]
    return {row.pop("method"): row for row in rows}


def _golden_pictures(
    recipe: ProcedureRecipe, render: RenderSpec, network: Network, data: Path | None
) -> Float:
    """Pictures `[GOLDEN_PICTURES, C, S, S]`, from good to bad.

    CT: digital chests, which need nobody's licence, under noise. Others: the run's own scored
    images, so that the bundle goes no further than their licence does.
    """
    if isinstance(render, CtWindow):
        heights = np.linspace(*GOLDEN_HEIGHTS_MM, GOLDEN_PICTURES)
        drawn = []
        for number, z_mm in enumerate(heights):
            hu = Chest.ordinary().slice(float(z_mm))
            noise = np.random.default_rng(number).standard_normal(hu.shape, np.float32)
            share = number / (GOLDEN_PICTURES - 1)
            drawn.append(render.draw(hu + np.float32(GOLDEN_NOISE_HU * share) * noise))
        return np.stack(drawn)
    if data is None:
        raise ValueError(
            f"golden pictures of kind {render.kind!r} come from the run's images; give their "
            "folder with --data"
        )
    scored = load_source(dict(sources_of(recipe))["data.scored"], data).labelled
    views = Views(side=network.preset.side)
    order = np.argsort(-scored.scores if scored.higher_is_better else scored.scores, kind="stable")
    places = order[np.linspace(0, len(order) - 1, GOLDEN_PICTURES).round().astype(int)]
    return np.stack(
        [prepared(one.load(), views, network.preset.channels) for one in scored.select(places)]
    )
