"""How well scores follow targets: |PLCC|, |SROCC|, |KROCC|, their sum, RMSE.

Source: the LDCTIQAC2023 challenge's metrics (MD-IQA paper, equations 7–9). KROCC is tau-b, which
equals equation 9 without ties. Where one side is constant they are 0: a network that says the
same of every picture tells nothing. Nothing is fitted before PLCC and RMSE, unless the
five-parameter logistic of MIQANet's protocol is asked for (`trainer.logistic`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from trainer.logistic import fit_logistic

Values = npt.NDArray[np.floating]
Interval = tuple[float, float]

RESAMPLES = 1000
FEWEST = 3
"""Pictures below which nothing is correlated."""


@dataclass(frozen=True)
class Agreement:
    """The figures of one evaluation; intervals are 95 % bootstrap percentiles, by figure."""

    n: int
    plcc: float
    srocc: float
    krocc: float
    rmse: float
    intervals: Mapping[str, Interval]

    @property
    def overall(self) -> float:
        return self.plcc + self.srocc + self.krocc


def plcc(x: Values, y: Values) -> float:
    return abs(float(stats.pearsonr(x, y).statistic)) if correlates(x, y) else 0.0


def srocc(x: Values, y: Values) -> float:
    return abs(float(stats.spearmanr(x, y).statistic)) if correlates(x, y) else 0.0


def krocc(x: Values, y: Values) -> float:
    return abs(float(stats.kendalltau(x, y).statistic)) if correlates(x, y) else 0.0


def runs_backwards(scores: Values, targets: Values) -> bool:
    """Whether the ranks run against each other, which the absolute figures do not show."""
    return correlates(scores, targets) and float(stats.spearmanr(scores, targets).statistic) < 0


def rmse(x: Values, y: Values) -> float:
    return float(np.sqrt(np.mean((np.asarray(x, float) - np.asarray(y, float)) ** 2)))


def figures(scores: Values, targets: Values, mapped: Values | None = None) -> dict[str, float]:
    """plcc, srocc, krocc, overall and rmse of scores `[n]` against targets `[n]`.

    mapped: the scores after the logistic, which PLCC and RMSE are taken of; the ranks never are.
    """
    mapped = scores if mapped is None else mapped
    found = {
        "plcc": plcc(mapped, targets),
        "srocc": srocc(scores, targets),
        "krocc": krocc(scores, targets),
    }
    return {**found, "overall": sum(found.values()), "rmse": rmse(mapped, targets)}


def correlates(scores: Values, targets: Values) -> bool:
    """Whether there is something to correlate: neither side is constant."""
    return bool(np.ptp(scores) > 0 and np.ptp(targets) > 0)


def agreement(
    scores: Values,
    targets: Values,
    groups: npt.NDArray[np.str_],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    logistic: bool = False,
) -> Agreement:
    """Figures of scores `[n]` against targets `[n]`.

    groups `[n]` names what pictures share (the slice they were made from): whole groups are drawn
    again in the bootstrap, for pictures of one group are not independent. logistic: PLCC and RMSE
    are taken after the five-parameter logistic, fitted once to all pictures. Raises ValueError
    below three pictures, for scores that are no numbers, and where all targets are the same.
    """
    if len(scores) < FEWEST:
        raise ValueError(f"{len(scores)} pictures are too few to correlate; at least 3 are needed")
    for name, values in (("scores", scores), ("targets", targets)):
        if not np.isfinite(values).all():
            raise ValueError(f"the {name} are not all numbers; check the bundle and the table")
    if np.ptp(targets) == 0:
        raise ValueError(f"the targets are all {targets[0]:g}: nothing to follow")
    mapped = fit_logistic(scores, targets)(scores) if logistic else scores
    found = figures(scores, targets, mapped)
    names, number = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(number == group) for group in range(len(names))]
    drawn = []
    for _ in range(resamples):
        chosen = np.concatenate([members[i] for i in rng.integers(0, len(names), len(names))])
        if np.ptp(targets[chosen]) > 0:
            drawn.append(figures(scores[chosen], targets[chosen], mapped[chosen]))
    return Agreement(
        n=len(scores),
        plcc=found["plcc"],
        srocc=found["srocc"],
        krocc=found["krocc"],
        rmse=found["rmse"],
        intervals={name: _interval([draw[name] for draw in drawn]) for name in found},
    )


def _interval(values: list[float]) -> Interval:
    low, high = np.percentile(values, [2.5, 97.5]) if values else (np.nan, np.nan)
    return float(low), float(high)
