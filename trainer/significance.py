"""Whether one model is better than another on the same images, or only looks so.

Two tests, as in the MIQANet paper (section IV.D, Table III): of the two RMSEs (ITU-T P.1401,
01/2020, clause 7.6.4) and of the two sets of absolute residuals. Both take images as independent;
where images share a source they do not see that, and the bootstrap over groups in
`trainer.metrics` is the more careful judge.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from trainer import metrics

Values = npt.NDArray[np.floating]

LEVEL = 0.05
FEWEST = 4
"""Images below which neither test is made."""


@dataclass(frozen=True)
class Comparison:
    """One test. statistic and p as named by `test`; better: `a`, `b`, or None where the difference
    is not significant at LEVEL."""

    test: str
    statistic: float
    p: float
    better: str | None

    @property
    def significant(self) -> bool:
        return self.better is not None


def rmse_test(a: Values, b: Values, targets: Values, parameters: int = 0) -> Comparison:
    """P.1401's test: ζ = rmse²max / rmse²min against F(0.05; N − d, N − d), one-sided.

    a, b, targets: scores of two models and the targets, `[N]`; d, `parameters`: how many were
    fitted in mapping the scores to the scale (0 as they come, 5 after the logistic). Raises
    ValueError for too few images.
    """
    free = _check(a, b, targets) - parameters
    if free < 1:
        raise ValueError(f"{len(a)} images leave nothing after {parameters} fitted parameters")
    squares = [metrics.rmse(scores, targets) ** 2 for scores in (a, b)]
    low, high = min(squares), max(squares)
    statistic = 1.0 if high == low else float(np.inf) if low == 0 else high / low
    p = float(stats.f.sf(statistic, free, free))
    better = ("a" if squares[0] < squares[1] else "b") if p < LEVEL else None
    return Comparison("P.1401 RMSE, F test", statistic, p, better)


def residual_test(a: Values, b: Values, targets: Values) -> Comparison:
    """The residual test: |target − score| of both models, compared as two samples, two-sided.

    Where both samples pass Shapiro and Wilk's test of normality, by the t-test for independent
    samples; else by Mann and Whitney's U. Raises ValueError for too few images.
    """
    _check(a, b, targets)
    first, second = (np.abs(np.asarray(targets, float) - scores) for scores in (a, b))
    if np.array_equal(np.sort(first), np.sort(second)):
        return Comparison("residuals, identical", 0.0, 1.0, None)
    if all(_normal(sample) for sample in (first, second)):
        name, result = "residuals, t test", stats.ttest_ind(first, second)
        closer = first.mean() < second.mean()
    else:
        name, result = "residuals, Mann-Whitney U", stats.mannwhitneyu(first, second)
        # U counts the pairs in which the first residual is the larger one
        closer = float(result.statistic) < len(first) * len(second) / 2
    p = float(result.pvalue)
    better = ("a" if closer else "b") if p < LEVEL else None
    return Comparison(name, float(result.statistic), p, better)


def compare(a: Values, b: Values, targets: Values, parameters: int = 0) -> dict[str, Any]:
    """Both tests as a table: `{rmse_test: {...}, residual_test: {...}}`."""
    return {
        "rmse_test": asdict(rmse_test(a, b, targets, parameters)),
        "residual_test": asdict(residual_test(a, b, targets)),
    }


def _normal(sample: npt.NDArray[np.float64]) -> bool:
    return bool(np.ptp(sample) > 0 and stats.shapiro(sample).pvalue >= LEVEL)


def _check(a: Values, b: Values, targets: Values) -> int:
    if not len(a) == len(b) == len(targets):
        raise ValueError(
            f"{len(a)} and {len(b)} scores for {len(targets)} targets; both models must have "
            "scored the same images, in the same order"
        )
    if len(targets) < FEWEST:
        raise ValueError(f"{len(targets)} images are too few to compare; at least {FEWEST}")
    return len(targets)
