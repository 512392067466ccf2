"""Training: one loop, read from top to bottom."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.networks import gaussian, md_iqa
from trainer import metrics
from trainer.datasets import SimulatedSet
from trainer.losses import distribution_loss
from trainer.recipe import Recipe, parse_recipe

CHECKPOINT_NAME = "checkpoint.pt"
RECIPE_NAME = "recipe.toml"
CONFIGURATION_NAME = "configuration.json"
HISTORY_NAME = "history.jsonl"


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to; srocc is None without pictures to validate on."""

    number: int
    loss: float
    learning_rate: float
    srocc: float | None


def fit(
    recipe: Recipe,
    train: SimulatedSet,
    validation: SimulatedSet | None,
    run: Path,
    *,
    without: str | None = None,
    stop_after: int | None = None,
    report: Callable[[Epoch], None] = lambda _: None,
) -> md_iqa.MDIQA:
    """Train the recipe's network on a simulated set, resuming what the run folder holds.

    Every epoch ends with a checkpoint that carries weights, optimiser and random states, so an
    interrupted run goes on to the numbers of an uninterrupted one. stop_after: the epoch to stop
    after (the learning rate still follows the recipe's number of epochs). validation is only
    watched; the last epoch is kept, never the best, so that its figures stay honest.
    """
    settings = recipe.fit
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    network = md_iqa.build(recipe.preset).to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    batches = len(train.entries) // settings.batch_size
    if batches == 0:
        raise ValueError(
            f"{len(train.entries)} pictures do not fill a batch of {settings.batch_size}; "
            "simulate more or lower fit.batch_size"
        )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=settings.learning_rate,
        total_steps=batches * settings.epochs,
        pct_start=0.1,
        cycle_momentum=False,
    )
    first = 0
    checkpoint_path = run / CHECKPOINT_NAME
    if checkpoint_path.exists():
        first = _resume(checkpoint_path, recipe, network, optimiser, schedule, rng)
    else:
        run.mkdir(parents=True, exist_ok=True)
        _describe(run, recipe, train, without)

    pictures, targets = train.pictures, torch.from_numpy(train.targets)
    for epoch in range(first, min(stop_after or settings.epochs, settings.epochs)):
        network.train()
        order = rng.permutation(len(train.entries))[: batches * settings.batch_size]
        total = 0.0
        for batch in order.reshape(batches, settings.batch_size):
            B = torch.from_numpy(np.stack([_augmented(pictures[i], rng) for i in batch]))
            Y = network.targets(targets[batch])
            with torch.autocast(
                "cpu", dtype=torch.bfloat16, enabled=settings.precision == "bf16-mixed"
            ):
                logits = network(B.to(memory_format=torch.channels_last))
            loss = distribution_loss(logits.float(), Y, settings.kl_weight)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        done = Epoch(
            number=epoch + 1,
            loss=total / batches,
            learning_rate=float(schedule.get_last_lr()[0]),
            srocc=_validate(network, validation),
        )
        _save(checkpoint_path, recipe, network, optimiser, schedule, rng, epoch + 1)
        with (run / HISTORY_NAME).open("a", encoding="utf-8") as history:
            history.write(json.dumps(asdict(done)) + "\n")
        report(done)
    return network


def load_network(run: Path) -> tuple[md_iqa.MDIQA, Recipe, dict[str, Any]]:
    """The network of a run as last checkpointed, its recipe and its configuration.

    Raises ValueError where the folder is no run.
    """
    if not (run / CHECKPOINT_NAME).exists():
        raise ValueError(
            f"{run}: holds no {CHECKPOINT_NAME}; make one with `python -m trainer fit`"
        )
    recipe = parse_recipe((run / RECIPE_NAME).read_text("utf-8"), str(run / RECIPE_NAME))
    network = md_iqa.build(recipe.preset)
    checkpoint = torch.load(run / CHECKPOINT_NAME, weights_only=True)
    network.load_state_dict(checkpoint["network"])
    return network.eval(), recipe, json.loads((run / CONFIGURATION_NAME).read_text("utf-8"))


@torch.no_grad()
def estimates(network: md_iqa.MDIQA, pictures: Any) -> dict[str, Tensor]:
    """Scores `[n]` of pictures `[n, C, H, W]`: `expectation` as served, `argmax` as published."""
    network.eval()
    expectation, argmax = [], []
    for start in range(0, len(pictures), 32):
        logits = network(torch.from_numpy(np.asarray(pictures[start : start + 32], np.float32)))
        expectation.append(gaussian.expected_score(logits, network.scores))
        argmax.append(gaussian.peak_score(logits, network.preset.highest))
    return {"expectation": torch.cat(expectation), "argmax": torch.cat(argmax)}


def _augmented(picture: Any, rng: np.random.Generator) -> Any:
    """The picture `[C, H, W]` turned by a multiple of 90° and perhaps mirrored."""
    turned = np.rot90(np.asarray(picture, np.float32), int(rng.integers(4)), axes=(1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if rng.integers(2) else turned)


def _validate(network: md_iqa.MDIQA, validation: SimulatedSet | None) -> float | None:
    if validation is None or len(validation.entries) < 3:
        return None
    return metrics.srocc(
        estimates(network, validation.pictures)["expectation"].numpy(), validation.targets
    )


def _describe(run: Path, recipe: Recipe, train: SimulatedSet, without: str | None) -> None:
    """Write what this run is made of, once, at its start."""
    (run / RECIPE_NAME).write_text(recipe.text, "utf-8")
    counts: dict[str, int] = {}
    for entry in train.entries:
        counts[entry.source] = counts.get(entry.source, 0) + 1
    configuration = {
        "without": without,
        "pictures": counts,
        "slices": len({(entry.source, entry.slice) for entry in train.entries}),
        "torch": torch.__version__,
    }
    (run / CONFIGURATION_NAME).write_text(json.dumps(configuration, indent=1) + "\n", "utf-8")


def _save(
    path: Path,
    recipe: Recipe,
    network: md_iqa.MDIQA,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    rng: np.random.Generator,
    epoch: int,
) -> None:
    state = {
        "recipe": recipe.text,
        "epoch": epoch,
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "schedule": schedule.state_dict(),
        "torch_rng": torch.get_rng_state(),
        "numpy_rng": json.dumps(rng.bit_generator.state),
    }
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def _resume(
    path: Path,
    recipe: Recipe,
    network: md_iqa.MDIQA,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    rng: np.random.Generator,
) -> int:
    """Take up a checkpoint; the number of epochs done. Raises ValueError on another recipe."""
    state = torch.load(path, weights_only=True)
    if state["recipe"] != recipe.text:
        raise ValueError(f"{path} was made from another recipe; choose a new --run folder")
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    schedule.load_state_dict(state["schedule"])
    torch.set_rng_state(state["torch_rng"])
    rng.bit_generator.state = json.loads(state["numpy_rng"])
    return int(state["epoch"])
