"""A stack's statistic and its 95 % interval, from order statistics alone: no distribution is
assumed. Neighbouring slices resemble each other, so the interval is, if anything, too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from service.judge.policy import Statistic

Interval = tuple[float, float]
Z_95 = 1.959964


def evaluate(statistic: Statistic, scores: Sequence[float]) -> tuple[float, Interval | None]:
    """The statistic of `scores` (at least one) and its interval where n allows one."""
    match statistic.name:
        case "median":
            return quantile(scores, 0.5), quantile_interval(scores, 0.5)
        case "percentile":
            share = (statistic.percent or 0.0) / 100
            return quantile(scores, share), quantile_interval(scores, share)
        case "share-below":
            below = sum(score < (statistic.score or 0.0) for score in scores)
            return below / len(scores), wilson_interval(below, len(scores))


def quantile(values: Sequence[float], share: float) -> float:
    """Linear interpolation between order statistics (type 7 of Hyndman and Fan, 1996)."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def quantile_interval(values: Sequence[float], share: float) -> Interval | None:
    """The order statistics that hold the population's quantile with at least 95 %.

    The number of values below the quantile is Binomial(n, share); None where even the extremes
    do not reach 95 % (fewer than six values for a median).
    """
    ordered = sorted(values)
    n = len(ordered)
    cumulative, total = [], 0.0
    for k in range(n + 1):
        total += math.comb(n, k) * share**k * (1 - share) ** (n - k)
        cumulative.append(total)
    lower = next((k for k in range(n + 1) if cumulative[k] > 0.025), 0)
    upper = next((k for k in range(n + 1) if cumulative[k] >= 0.975), n)
    if lower < 1 or upper > n - 1:
        return None
    return ordered[lower - 1], ordered[upper]


def wilson_interval(successes: int, n: int) -> Interval:
    """Wilson's score interval for a proportion (1927)."""
    share = successes / n
    z2 = Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)
