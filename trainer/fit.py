"""The fit of a bundle's network: from a simulated set to a run that can be exported."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric

from models import networks
from models.card import StartingWeights
from models.networks.ms_iqa import MSIQA
from models.networks.network import Network
from models.render import Float
from trainer import loop, weights
from trainer.batches import Pictures
from trainer.by_kind import ByKind, labels
from trainer.datasets import SimulatedSet
from trainer.depthwise import quicken
from trainer.losses import Supervised
from trainer.readout import fit_readout
from trainer.recipe import Recipe, parse_recipe
from trainer.settings import Views
from trainer.severities import Told, teach
from trainer.tracking import Epoch

RECIPE_NAME = "recipe.toml"
CONFIGURATION_NAME = "configuration.json"
MEASURED_BATCH = 32
EIGHTHS = 8


def fit(
    recipe: Recipe,
    train: SimulatedSet,
    validation: SimulatedSet | None,
    run: Path,
    *,
    without: str | None = None,
    start: Path | None = None,
    stop_after: int | None = None,
    report: Callable[[Epoch], None] = lambda _: None,
    told: Callable[[Told], None] = lambda _: None,
) -> Network:
    """Train the recipe's network on a simulated set, resuming what the run folder holds.

    Where the recipe has a table [teach], the network is taught severities first (told hears of
    it), and then only its readout is fitted to the targets.

    without: the source that was left out, for the record; start: the run whose weights are gone
    on from, with a schedule of this recipe's own; stop_after: the epoch to stop after.
    validation is watched, and chosen by only where the recipe says `keep = "best"`: figures of
    pictures that chose the weights are not honest ones. Raises ValueError as `loop.train` does, and
    where start holds another network.
    """
    settings = recipe.fit
    fabric = loop.start(settings.hardware)
    torch.manual_seed(settings.seed)
    network, records = weights.build(recipe.architecture, recipe.preset, (), recipe.weights)
    _set_kl_weight(network, recipe)
    _check_drawn_for(network, train)
    if start is not None:
        earlier, first, _ = load_network(start)
        if (first.architecture, first.preset) != (recipe.architecture, recipe.preset):
            raise ValueError(f"{start} holds {first.architecture} {first.preset}: another network")
        network.load_state_dict(earlier.state_dict())
    # All orientations and mirror images of a picture, evenly.
    views = Views(side=network.preset.side, turn=0.75, mirror=0.5)
    channels = network.preset.channels
    step = loop.Step(run, recipe.text, stop_after, report)
    order = evened(train.targets, network.preset.highest, settings.most_repeats)
    images = train.scored.images
    scores, objective = train.targets, Supervised(network)
    if settings.severities:
        kinds = [one.name for one in recipe.degradations]
        scores = labels(train, kinds)
        objective = ByKind(
            network, len(kinds), settings.severities, settings.order, settings.backbone_rate
        )
    if settings.fixed_depthwise:
        quicken(network)
    if fabric.is_global_zero and not (run / loop.CHECKPOINT_NAME).exists():
        _describe(run, recipe, train, without, start, records)
    fabric.barrier()
    if recipe.teach is not None and start is None:
        _teach(network, recipe, train, validation, run, fabric, report, told)
        return network
    loop.train(
        network,
        objective,
        settings,
        settings.hardware,
        fabric,
        Pictures([images[i] for i in order], scores[order], views, channels),
        step,
        validation=Pictures(validation.scored.images, validation.targets, views, channels)
        if validation is not None
        else None,
    )
    return network


def _teach(
    network: Network,
    recipe: Recipe,
    train: SimulatedSet,
    validation: SimulatedSet | None,
    run: Path,
    fabric: Fabric,
    report: Callable[[Epoch], None],
    told: Callable[[Told], None],
) -> None:
    """Severities, then the readout, and a checkpoint as `loop.train` leaves one."""
    if not isinstance(network, MSIQA):
        raise ValueError(f"[teach] is for ms-iqa, not for {recipe.architecture}; take it out")
    teach(network, recipe, train, fabric, run, told)
    fit_readout(network, recipe.fit, train, fabric, run, validation, report)
    if fabric.is_global_zero:
        state = {"recipe": recipe.text, "network": network.state_dict()}
        torch.save(state, run / loop.CHECKPOINT_NAME)


def evened(scores: Float, highest: float, most_repeats: int) -> npt.NDArray[np.intp]:
    """Indices of pictures with scores `[n]`, each once or several times, to even out the scale.

    Mild damage is what most random cases are: a network taught distributions then settles on the
    top of the scale and stays there. The scale is cut into EIGHTHS; pictures of one come as many
    times as it takes, rounded, to have as many as the fullest, and never more than most_repeats.
    """
    part = np.minimum(scores / highest * EIGHTHS, EIGHTHS - 1).astype(int)
    counts = np.bincount(part, minlength=EIGHTHS)
    wanted = np.rint(counts.max() / np.maximum(counts, 1)).astype(int)
    return np.repeat(np.arange(len(scores)), np.clip(wanted, 1, most_repeats)[part])


def _check_drawn_for(network: Network, train: SimulatedSet) -> None:
    """Raises ValueError where pictures are not drawn as the exported network will be served."""
    wanted = (network.preset.channels, network.preset.side, network.preset.side)
    if train.pictures.shape[1:] != wanted:
        raise ValueError(
            f"the set holds pictures {train.pictures.shape[1:]}, and the network is served "
            f"{wanted}; correct rows and columns in the recipe's [render] and simulate again"
        )


def _set_kl_weight(network: Network, recipe: Recipe) -> None:
    if hasattr(network, "kl_weight"):
        network.kl_weight = recipe.fit.kl_weight  # type: ignore[assignment] # MD-IQA's float


def load_network(run: Path) -> tuple[Network, Recipe, dict[str, Any]]:
    """The network of a run as last checkpointed, its recipe and its configuration.

    Raises ValueError where the folder is no run.
    """
    checkpoint = run / loop.CHECKPOINT_NAME
    if not checkpoint.exists():
        raise ValueError(
            f"{run}: holds no {checkpoint.name}; make one with `python -m trainer fit`"
        )
    recipe = parse_recipe((run / RECIPE_NAME).read_text("utf-8"), str(run / RECIPE_NAME))
    network = networks.build(recipe.architecture, recipe.preset)
    _set_kl_weight(network, recipe)
    kept = run / loop.BEST_NAME if recipe.fit.keep == "best" else checkpoint
    network.load_state_dict(torch.load(kept, weights_only=True, map_location="cpu")["network"])
    return network.eval(), recipe, _configuration(run)


def _configuration(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / CONFIGURATION_NAME).read_text("utf-8"))
    return found


@torch.no_grad()
def estimates(network: Network, pictures: Any) -> dict[str, Float]:
    """Scores `[n]` of pictures `[n, C, H, W]`: `served` as exported, `published` as the paper's."""
    network.eval()
    served = network.served().eval()
    found: dict[str, list[Float]] = {"served": [], "published": []}
    for start in range(0, len(pictures), MEASURED_BATCH):
        batch = torch.from_numpy(np.asarray(pictures[start : start + MEASURED_BATCH], np.float32))
        found["served"].append(served(batch)[0].numpy())
        found["published"].append(network.estimate(network(batch)).numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _describe(
    run: Path,
    recipe: Recipe,
    train: SimulatedSet,
    without: str | None,
    start: Path | None,
    records: tuple[StartingWeights, ...],
) -> None:
    """Write what this run is made of, once, at its start."""
    run.mkdir(parents=True, exist_ok=True)
    (run / RECIPE_NAME).write_text(recipe.text, "utf-8")
    counts: dict[str, int] = {}
    for entry in train.entries:
        counts[entry.source] = counts.get(entry.source, 0) + 1
    earlier = None if start is None else _configuration(start)
    configuration = {
        "without": without,
        "started_from": earlier,
        "pictures": counts,
        "slices": len({(entry.source, entry.slice) for entry in train.entries}),
        # what the earlier run started from is in these weights still
        "weights": earlier["weights"] if earlier else weights.as_tables(records),
        "torch": torch.__version__,
        "lightning_fabric": version("lightning-fabric"),
    }
    (run / CONFIGURATION_NAME).write_text(json.dumps(configuration, indent=1) + "\n", "utf-8")
