"""Cross-validation by group: a training for every fold, its held-out images measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import numpy as np
from pydantic import Field

from models.networks.network import Network
from trainer.datasets import ScoredImages
from trainer.procedures.experiment import Experiment, agreement
from trainer.reference import Measured
from trainer.settings import Table, Training, Views

FIGURES = ("plcc", "srocc", "krocc", "rmse")


class Folds(Table):
    """So many folds, every group whole in one; the seed deals the groups out."""

    folds: Annotated[int, Field(ge=2)]
    seed: int


def by_folds(
    experiment: Experiment,
    method: str,
    begin: Callable[[], Network],
    settings: Training,
    images: ScoredImages,
    views: Views,
    folds: Folds,
) -> tuple[Measured, ...]:
    """Every fold's figures, their mean, and those of all held-out estimates pooled.

    begin: makes the network that each fold starts from. The folds train in `fold-1` … of the run.
    """
    measured, tested = [], []
    pairs = images.folds(folds.folds, folds.seed)
    for number, (train, held) in enumerate(pairs, start=1):
        name, network = f"fold-{number}", begin()
        experiment.train(name, network, settings, experiment.pictures(network, train, views))
        tested.append(experiment.test(name, network, held, views))
        groups = ", ".join(sorted(set(held.groups.tolist())))
        measured.append(agreement(f"{method}, fold {number} ({groups})", *tested[-1]))
    estimates, scores = (np.concatenate(parts) for parts in zip(*tested, strict=True))
    mean = {name: float(np.mean([getattr(one, name) for one in measured])) for name in FIGURES}
    return (
        *measured,
        Measured(method=f"{method}, mean over folds", n=len(scores), **mean),
        agreement(f"{method}, all folds pooled", estimates, scores),
    )
