"""Training: one loop, read from top to bottom, on Lightning Fabric.

Fabric decides where things run (devices, precision, several processes); what happens stands here.
An epoch's order, variations and dropout all follow from the seed and the epoch's number, and every
epoch ends with a checkpoint, so a run that was killed goes on to the numbers of one that was not.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException
from scipy import stats
from torch import Tensor

from models.networks.network import Network
from models.render import Float
from trainer.batches import Pictures, Shuffled, measured_batches, training_batches
from trainer.losses import Batch, Supervised
from trainer.settings import Hardware, Training
from trainer.tracking import Epoch, Tracking

CHECKPOINT_NAME = "checkpoint.pt"
BEST_NAME = "best.pt"


@dataclass(frozen=True)
class Step:
    """One training of a run: its folder, and the words that tell it from another's checkpoint.

    stop_after: the epoch to stop after, the schedule still following the settings' epochs;
    report: is told every epoch.
    """

    run: Path
    recipe: str
    stop_after: int | None = None
    report: Callable[[Epoch], None] = lambda _: None


def start(hardware: Hardware) -> Fabric:
    """Fabric on the recipe's hardware, its processes launched; torch set to repeat itself.

    Raises ValueError where this machine has no such hardware.
    """
    # Read by cuBLAS when it starts; without it matrix products on a GPU do not repeat.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(hardware.threads)
    try:
        fabric = Fabric(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            num_nodes=hardware.num_nodes,
            strategy=hardware.strategy,
            precision=hardware.precision,
        )
    except (RuntimeError, ImportError, MisconfigurationException) as error:
        raise ValueError(f"hardware {hardware}: {error}") from error
    fabric.launch()
    # CUDA has no repeatable gradient of grid_sample, which aligns features: there it only warns.
    torch.use_deterministic_algorithms(True, warn_only=fabric.device.type == "cuda")
    return fabric


def train(
    network: Network,
    objective: Supervised,
    settings: Training,
    hardware: Hardware,
    fabric: Fabric,
    pictures: Pictures,
    step: Step,
    *,
    others: Pictures | None = None,
    validation: Pictures | None = None,
) -> tuple[Epoch, ...]:
    """Train a network in place, resuming what the step's folder holds; the epochs it took.

    others: pseudo-labelled pictures, for an objective that needs them. validation: pictures to
    watch, and to choose by where the settings keep the best or stop early. Raises ValueError where
    the pictures do not fill a batch, or a checkpoint was made by another recipe.
    """
    order = Shuffled(
        len(pictures), settings.batch_size, settings.seed, fabric.global_rank, fabric.world_size
    )
    if len(order) == 0:
        raise ValueError(
            f"{len(pictures)} pictures do not fill a batch of {settings.batch_size} on each of "
            f"{fabric.world_size} devices; bring more or lower batch_size"
        )
    if validation is None and (settings.patience or settings.keep == "best"):
        raise ValueError("patience and keep = 'best' need pictures to validate on")
    steps_per_epoch = math.ceil(len(order) / settings.accumulate)
    fabric.to_device(network)
    objective.to(fabric.device)
    network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(
        objective.groups(),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
    )
    schedule = _schedule(optimiser, settings, steps_per_epoch * settings.epochs)
    wrapped, wrapped_optimiser = fabric.setup(network, optimiser)
    run = _Run(step, network, objective, optimiser, schedule, fabric)
    run.resume()

    loader = training_batches(pictures, order, hardware)
    other_order, other_loader = None, None
    if objective.needs_others and others is not None:
        other_order = Shuffled(
            len(others),
            settings.batch_size,
            settings.seed + 1,
            fabric.global_rank,
            fabric.world_size,
            batches=len(order),
        )
        other_loader = training_batches(others, other_order, hardware)

    last = min(step.stop_after or settings.epochs, settings.epochs)
    while run.epoch < last and not run.exhausted(settings.patience):
        order.epoch = run.epoch
        if other_order is not None:
            other_order.epoch = run.epoch
        _seed(settings.seed, run.epoch, fabric.global_rank)
        network.train()
        total = torch.zeros((), device=fabric.device)
        other_batches = iter(other_loader) if other_loader is not None else None
        for number, (views, scores) in enumerate(loader, start=1):
            batch = Batch(*_on(fabric, views, scores))
            if other_batches is not None:
                batch = Batch(batch.pictures, batch.scores, *_on(fabric, *next(other_batches)))
            stepping = number % settings.accumulate == 0 or number == len(order)
            with fabric.no_backward_sync(wrapped, enabled=not stepping):
                loss = objective(wrapped, batch, run.steps)
                fabric.backward(loss / settings.accumulate)
            total += loss.detach()
            if not stepping:
                continue
            if settings.clip_norm is not None:
                fabric.clip_gradients(wrapped, wrapped_optimiser, max_norm=settings.clip_norm)
            wrapped_optimiser.step()
            wrapped_optimiser.zero_grad()
            schedule.step()
            objective.after_step()
            run.steps += 1
        _share_statistics(network, fabric)
        srocc, validation_loss = None, None
        if validation is not None:
            srocc, validation_loss = _validate(network, validation, settings, hardware, fabric)
        mean: Any = fabric.all_reduce(total / len(order), reduce_op="mean")
        run.close_epoch(
            Epoch(
                number=run.epoch + 1,
                loss=float(mean),
                learning_rate=float(schedule.get_last_lr()[0]),
                srocc=srocc,
                validation_loss=validation_loss,
            )
        )
    run.finish(settings.keep)
    return tuple(run.history)


@torch.no_grad()
def estimates(
    network: Network,
    pictures: Pictures,
    batch_size: int = 16,
    hardware: Hardware | None = None,
    fabric: Fabric | None = None,
) -> Float:
    """Scores `[n]` of pictures as the paper evaluates, the mean over the views of each.

    Several processes share the pictures, and each returns all scores.
    """
    rank, world = (fabric.global_rank, fabric.world_size) if fabric else (0, 1)
    training = network.training
    network.eval()
    share = -(-len(pictures) // world)
    # The last shares are filled up, for all processes must gather as many.
    mine = [min(place * world + rank, len(pictures) - 1) for place in range(share)]
    device = next(network.parameters()).device
    found = []
    for views, _ in measured_batches(pictures, mine, batch_size, hardware or Hardware()):
        B, crops = views.shape[:2]
        flat = views.flatten(0, 1).to(device, memory_format=torch.channels_last)
        found.append(network.estimate(network(flat)).reshape(B, crops).mean(dim=1))
    scores = torch.cat(found)
    if fabric is not None and world > 1:
        scores = fabric.all_gather(scores).T.flatten()  # type: ignore[union-attr]
    network.train(training)
    return np.asarray(scores[: len(pictures)].float().cpu().numpy(), np.float32)


class _Run:
    """What a checkpoint carries, and how far it has come."""

    def __init__(
        self,
        step: Step,
        network: Network,
        objective: Supervised,
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        fabric: Fabric,
    ) -> None:
        self.step, self.network, self.objective = step, network, objective
        self.optimiser, self.schedule, self.fabric = optimiser, schedule, fabric
        self.history: list[Epoch] = []
        self.steps = 0
        self.tracking: Tracking | None = None

    @property
    def epoch(self) -> int:
        return len(self.history)

    @property
    def best(self) -> int:
        """The number of the best epoch by validation, 0 without one."""
        watched = [epoch for epoch in self.history if epoch.srocc is not None]
        return max(watched, key=lambda epoch: (epoch.srocc, epoch.number)).number if watched else 0

    def exhausted(self, patience: int) -> bool:
        return patience > 0 and self.epoch - self.best >= patience

    def resume(self) -> None:
        """Take up the checkpoint of the step's folder, if there is one."""
        path = self.step.run / CHECKPOINT_NAME
        if path.exists():
            state = torch.load(path, map_location="cpu", weights_only=True)
            if state["recipe"] != self.step.recipe:
                raise ValueError(f"{path} was made from another recipe; choose a new --run folder")
            self.network.load_state_dict(state["network"])
            self.objective.load_state_dict(state["objective"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.schedule.load_state_dict(state["schedule"])
            self.fabric.strategy.precision.load_state_dict(state["precision"])
            self.steps = int(state["steps"])
            self.history = [Epoch(**epoch) for epoch in state["history"]]
        if self.fabric.is_global_zero:
            self.step.run.mkdir(parents=True, exist_ok=True)
            self.tracking = Tracking(self.step.run, self.history)

    def close_epoch(self, epoch: Epoch) -> None:
        """Keep an epoch: weights first, its line in the history last."""
        self.history.append(epoch)
        if self.tracking is not None:
            if self.best == epoch.number:
                _write(self.step.run / BEST_NAME, {"network": self.network.state_dict()})
            state = {
                "recipe": self.step.recipe,
                "network": self.network.state_dict(),
                "objective": self.objective.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "schedule": self.schedule.state_dict(),
                # The scale of FP16 gradients; empty for other precisions.
                "precision": self.fabric.strategy.precision.state_dict(),
                "steps": self.steps,
                "history": [asdict(one) for one in self.history],
            }
            _write(self.step.run / CHECKPOINT_NAME, state)
            self.tracking.add(epoch)
            self.step.report(epoch)
        self.fabric.barrier()

    def finish(self, keep: str) -> None:
        """Leave the network with the weights to hand on, on the device it was trained on."""
        if self.tracking is not None:
            self.tracking.close()
        if keep == "best" and self.best:
            best = torch.load(self.step.run / BEST_NAME, map_location="cpu", weights_only=True)
            self.network.load_state_dict(best["network"])
        self.network.eval()


def _schedule(
    optimiser: torch.optim.Optimizer, settings: Training, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    if settings.schedule == "one-cycle":
        return torch.optim.lr_scheduler.OneCycleLR(
            optimiser,
            max_lr=[group["lr"] for group in optimiser.param_groups],
            total_steps=steps,
            pct_start=0.1,
            cycle_momentum=False,
        )
    if settings.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps)
    return torch.optim.lr_scheduler.LambdaLR(optimiser, lambda _: 1.0)


def _seed(seed: int, epoch: int, rank: int) -> None:
    """Seed torch for one epoch of one process: dropout and stochastic depth draw from it."""
    torch.manual_seed(int(np.random.SeedSequence((seed, epoch, rank)).generate_state(1)[0]))


def _share_statistics(network: Network, fabric: Fabric) -> None:
    """Give all processes the first one's batch statistics, so that all measure alike."""
    if fabric.world_size > 1:
        for buffer in network.buffers():
            buffer.copy_(fabric.broadcast(buffer))


def _on(fabric: Fabric, views: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    return (
        fabric.to_device(views).to(memory_format=torch.channels_last),
        fabric.to_device(scores),
    )


def _validate(
    network: Network, validation: Pictures, settings: Training, hardware: Hardware, fabric: Fabric
) -> tuple[float | None, float]:
    """SROCC, None where scores or estimates do not vary, and the mean squared error."""
    scores = estimates(network, validation, settings.batch_size, hardware, fabric)
    targets = validation.scores.numpy()
    squared = float(np.mean((scores - targets) ** 2))
    if len(targets) < 3 or np.ptp(targets) == 0 or np.ptp(scores) == 0:
        return None, squared
    # With its sign, unlike the published figure: scores that run backwards are the worst.
    return float(stats.spearmanr(scores, targets).statistic), squared


def _write(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    partial = path.with_suffix(".tmp")
    torch.save(state, partial)
    partial.replace(path)
