"""The readout: f and w of MS-IQA fitted to scores, on features that were taught severities.

All but the last layer of either branch stays as `trainer/severities.py` left it, and starts with
the target as taught. Fitting every fully connected layer instead, or for long, came closer to the
targets of the simulated pictures and further from radiologists' scores of real ones, whose patients
it had not seen. What is found in a whole picture is computed once, in an orientation drawn by lot,
and kept.

f times w can be told by one of the two alone, and a branch that nobody needs dies: after the fit
both must still vary.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from scipy import stats
from torch import Tensor, nn

from models.networks.ms_iqa import MSIQA
from models.render import Float
from trainer.datasets import SimulatedSet
from trainer.recipe import Fit
from trainer.severities import turned
from trainer.tracking import Epoch, Tracking

VECTORS_NAME = "vectors.pt"
AT_ONCE = 4
LEAST_SPREAD = 0.02
"""Standard deviation over the training pictures below which f (scaled to 0…1) or w is constant."""

Vectors = tuple[Tensor, Tensor]
"""Of pictures, what enters the fully connected layers of f and of w: `[n, width]` each."""


class CollapsedError(ValueError):
    """A branch tells nothing; the message says which."""


def fit_readout(
    network: MSIQA,
    settings: Fit,
    data: SimulatedSet,
    fabric: Fabric,
    run: Path,
    validation: SimulatedSet | None = None,
    report: Callable[[Epoch], None] = lambda _: None,
) -> tuple[float, float]:
    """Fit the last layer of both branches in place; the spreads of f and of w.

    Raises CollapsedError where a branch ends as a constant.
    """
    seen = vectors(network, data, fabric, settings.seed, run / VECTORS_NAME)
    watched = vectors(network, validation, fabric, settings.seed) if validation else None
    targets = network.targets(torch.from_numpy(data.targets))
    score: Any = network.score
    weigh: Any = network.weigh
    network.cpu().eval()  # no dropout: there is little to fit
    lasts = nn.ModuleList([score[-1], weigh[-2]])
    optimiser = torch.optim.AdamW(
        lasts.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    batches = max(len(targets) // settings.batch_size, 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        settings.learning_rate,
        total_steps=batches * settings.epochs,
        pct_start=0.1,
        cycle_momentum=False,
    )
    history: list[Epoch] = []
    tracking = Tracking(run, history)
    for number in range(1, settings.epochs + 1):
        total, rng = 0.0, np.random.default_rng((settings.seed, number))
        order = torch.from_numpy(rng.permutation(len(targets)))
        for rows in order[: batches * settings.batch_size].chunk(batches):
            f, w = network.read(seen[0][rows], seen[1][rows])
            loss = network.loss(f * w, targets[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) / batches
        found = _estimates(network, watched) if watched is not None else None
        epoch = Epoch(
            number=number,
            loss=total,
            learning_rate=float(schedule.get_last_lr()[0]),
            srocc=None
            if found is None or validation is None
            else float(stats.spearmanr(found, validation.targets).statistic),
        )
        history.append(epoch)
        tracking.add(epoch)
        report(epoch)
    tracking.close()
    with torch.no_grad():
        spreads = tuple(float(branch.std()) for branch in network.read(*seen))
    for name, spread in zip(("score branch f", "weight branch w"), spreads, strict=True):
        if spread < LEAST_SPREAD:
            raise CollapsedError(
                f"the {name} varies by {spread:.2g} over the training pictures, so it tells "
                "nothing: lower fit.learning_rate or teach for longer"
            )
    return spreads[0], spreads[1]


@torch.no_grad()
def vectors(
    network: MSIQA, data: SimulatedSet, fabric: Fabric, seed: int, kept: Path | None = None
) -> Vectors:
    """What the network finds in every whole picture of a set, turned and mirrored by lot.

    kept: a file to go on from; nothing in it is computed again, so it must be of this network.
    """
    if kept is not None and kept.exists():
        found = torch.load(kept, weights_only=True)
        return found[0], found[1]
    device = fabric.device
    network.eval().to(memory_format=torch.channels_last).to(device)
    rng = np.random.default_rng(seed)
    parts: list[Vectors] = []
    for start in range(0, len(data.entries), AT_ONCE):
        pictures = [
            turned(np.asarray(one, np.float32), rng)
            for one in data.pictures[start : start + AT_ONCE]
        ]
        batch = torch.from_numpy(np.stack(pictures)).to(device, memory_format=torch.channels_last)
        with fabric.autocast():
            for_score, for_weight = network.vectors(batch)
        parts.append((for_score.float().cpu(), for_weight.float().cpu()))
    network.cpu()
    found = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
    if kept is not None:
        partial = kept.with_suffix(".tmp")
        torch.save(list(found), partial)
        partial.replace(kept)
    return found


@torch.no_grad()
def _estimates(network: MSIQA, seen: Vectors) -> Float:
    f, w = network.read(*seen)
    return np.asarray(network.estimate(f * w).numpy(), np.float32)
