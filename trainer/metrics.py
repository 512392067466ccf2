"""How well scores follow targets: |PLCC|, |SROCC|, |KROCC|, their sum, RMSE.

Source: the LDCTIQAC2023 challenge's metrics (MD-IQA paper, equations 7–9). KROCC is tau-b, which
equals equation 9 without ties. No logistic is fitted before PLCC.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Values = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Agreement:
    """The figures of one evaluation; intervals are 95 % bootstrap percentiles."""

    n: int
    plcc: float
    srocc: float
    krocc: float
    rmse: float
    srocc_interval: tuple[float, float]
    plcc_interval: tuple[float, float]

    @property
    def overall(self) -> float:
        return self.plcc + self.srocc + self.krocc


def plcc(x: Values, y: Values) -> float:
    return abs(float(stats.pearsonr(x, y).statistic))


def srocc(x: Values, y: Values) -> float:
    return abs(float(stats.spearmanr(x, y).statistic))


def krocc(x: Values, y: Values) -> float:
    return abs(float(stats.kendalltau(x, y).statistic))


def agreement(
    scores: Values,
    targets: Values,
    groups: npt.NDArray[np.str_],
    rng: np.random.Generator,
    resamples: int = 1000,
) -> Agreement:
    """Figures of scores `[n]` against targets `[n]`.

    groups `[n]` names the slice each picture was made from: whole slices are drawn again in the
    bootstrap, for pictures of one slice are not independent. Raises ValueError below three
    pictures.
    """
    if len(scores) < 3:
        raise ValueError(f"{len(scores)} pictures are too few to correlate; at least 3 are needed")
    names, number = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(number == group) for group in range(len(names))]
    drawn = []
    for _ in range(resamples):
        chosen = np.concatenate([members[i] for i in rng.integers(0, len(names), len(names))])
        if np.ptp(scores[chosen]) > 0 and np.ptp(targets[chosen]) > 0:
            drawn.append(
                (srocc(scores[chosen], targets[chosen]), plcc(scores[chosen], targets[chosen]))
            )
    low, high = np.percentile(np.array(drawn), [2.5, 97.5], axis=0)
    return Agreement(
        n=len(scores),
        plcc=plcc(scores, targets),
        srocc=srocc(scores, targets),
        krocc=krocc(scores, targets),
        rmse=float(np.sqrt(np.mean((scores - targets) ** 2))),
        srocc_interval=(float(low[0]), float(high[0])),
        plcc_interval=(float(low[1]), float(high[1])),
    )
