"""Cross-validation by group: a training for every fold, its held-out images measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from models.networks.network import Network
from trainer.datasets import ScoredImages
from trainer.procedures.experiment import Experiment, agreement
from trainer.reference import Measured
from trainer.settings import Table, Training, Views


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
    *,
    follows: Sequence[str] = (),
    logistic: bool = False,
) -> tuple[Measured, ...]:
    """Every fold's figures, their mean, and those of all held-out estimates pooled.

    begin: makes the network that each fold starts from, which the trainings `follows` made. The
    folds train in `fold-1` … of the run. logistic: PLCC is reported after the five-parameter
    logistic too, which is fitted to each fold, and to all of them for the pooled figure.
    """
    measured, tested = [], []
    pairs = images.folds(folds.folds, folds.seed)
    for number, (train, held) in enumerate(pairs, start=1):
        name, network = f"fold-{number}", begin()
        pictures = experiment.pictures(network, train, views)
        experiment.train(name, network, settings, pictures, follows=follows)
        tested.append(experiment.test(name, network, held, views))
        groups = ", ".join(sorted(set(held.groups.tolist())))
        title = f"{method}, fold {number} ({groups})"
        measured.append(agreement(title, *tested[-1], training=name, logistic=logistic))
    estimates, scores = (np.concatenate(parts) for parts in zip(*tested, strict=True))
    return (
        *measured,
        Measured(
            f"{method}, mean over folds",
            len(scores),
            plcc=_mean(one.plcc for one in measured),
            srocc=_mean(one.srocc for one in measured),
            krocc=_mean(one.krocc for one in measured),
            rmse=_mean(one.rmse for one in measured),
            plcc_logistic=_mean(one.plcc_logistic for one in measured) if logistic else None,
        ),
        agreement(f"{method}, all folds pooled", estimates, scores, logistic=logistic),
    )


def _mean(figures: Iterable[float | None]) -> float:
    return float(np.mean([np.nan if figure is None else figure for figure in figures]))
