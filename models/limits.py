"""How sure a quantile, a share or an alarm rate is, from how many independent values there are.

Pure Python, shared by the gate (intervals on a verdict, `iqgate commission`) and the trainer
(`python -m trainer commission`, the bundles' evaluation). No distribution is assumed but where it
is said.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import NormalDist, fmean, stdev

Interval = tuple[float, float]

Z_95 = 1.959964
INDEPENDENT_NEEDED = 149
"""No alarm in so many independent acquisitions bounds the alarm rate at 2 % with 95 % confidence
(0.98¹⁴⁹ = 0.05). Fewer leave limits provisional."""

_NORMAL = NormalDist()
_STUDENT_95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045,
)  # fmt: skip
"""Student's t, two-sided 95 %, for 1 to 29 degrees of freedom."""


def quantile(values: Sequence[float], share: float) -> float:
    """Linear interpolation between order statistics (type 7 of Hyndman and Fan, 1996)."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def effective_number(values: Sequence[float]) -> float:
    """How many independent values these neighbours are worth, in their order: 1 … n.

    n / (1 + 2 Σ (1 − k/n) ρ_k) with the autocorrelations ρ_k of the values, summed in pairs while
    a pair is positive (Geyer, Statist. Sci. 7, 1992); each estimate is raised by 1/n, its bias in
    white noise, so that short stacks are not taken for independent. For jointly normal values no
    function of two of them, such as lying below a quantile, is more correlated than they are
    (Lancaster 1957), so what holds for the values holds for quantiles and shares. Constant values
    tell nothing of how they vary: they are worth n.
    """
    n = len(values)
    mean = fmean(values)
    deviations = [value - mean for value in values]
    variance = math.fsum(one * one for one in deviations)
    if n < 3 or variance <= 1e-18 * n * max(1.0, mean * mean):
        return float(n)

    def correlation(lag: int) -> float:
        if lag >= n:
            return 0.0
        products = (a * b for a, b in zip(deviations, deviations[lag:], strict=False))
        return (1 - lag / n) * (math.fsum(products) / variance + 1 / n)

    inflation = 1.0
    for lag in range(1, n, 2):
        pair = correlation(lag) + correlation(lag + 1)
        if pair <= 0:
            break
        inflation += 2 * pair
    return max(1.0, n / inflation)


def quantile_bounds(
    values: Sequence[float], share: float, effective_n: float | None = None
) -> tuple[float | None, float | None]:
    """The order statistics that hold the population's quantile with at least 95 %.

    Of n independent values the number below the quantile is Binomial(n, share). Where they are
    worth fewer, the ranks are those of so many, laid over the values there are (Woodruff, J. Am.
    Stat. Assoc. 47, 1952). None for an end that even the extreme value does not bound.
    """
    ordered = sorted(values)
    n = len(ordered)
    worth = math.floor(n if effective_n is None else min(effective_n, n))
    lower, upper = binomial_ranks(worth, share)
    low = max(math.floor(lower * (n + 1) / (worth + 1)), 1)
    high = min(math.ceil(upper * (n + 1) / (worth + 1)), n)
    return (
        ordered[low - 1] if lower >= 1 else None,
        ordered[high - 1] if upper <= worth else None,
    )


def quantile_interval(
    values: Sequence[float], share: float, effective_n: float | None = None
) -> Interval | None:
    """`quantile_bounds` where both ends are bounded (from six independent values for a median)."""
    low, high = quantile_bounds(values, share, effective_n)
    return None if low is None or high is None else (low, high)


def binomial_ranks(n: int, share: float) -> tuple[int, int]:
    """Ranks, from 1, of the order statistics of n that enclose a quantile with 95 %; 0 and n + 1
    stand for values beyond all there are."""
    below = list(accumulate(_binomial(n, k, share) for k in range(n + 1)))
    lower = next((k for k in range(n + 1) if below[k] > 0.025), 0)
    upper = next((k for k in range(n + 1) if below[k] >= 0.975 - 1e-12), n)
    return lower, upper + 1


def normal_quantile_interval(
    values: Sequence[float], share: float, effective_n: float
) -> Interval | None:
    """The interval of a quantile for values taken to be normal: for stacks worth too few slices
    for order statistics. None below two independent values.

    value ± t · s · √(p(1 − p)) / (φ(z_p) √m), with Student's t on m − 1 degrees of freedom, m
    rounded up.
    """
    freedom = math.ceil(effective_n) - 1
    if freedom < 1 or len(values) < 2:
        return None
    student = _STUDENT_95[freedom - 1] if freedom <= len(_STUDENT_95) else _STUDENT_95[-1]
    density = _NORMAL.pdf(_NORMAL.inv_cdf(share))
    error = stdev(values) * math.sqrt(share * (1 - share)) / (density * math.sqrt(effective_n))
    value = quantile(values, share)
    return value - student * error, value + student * error


def wilson_interval(share: float, n: float) -> Interval:
    """Wilson's score interval for a share seen in n independent values (1927)."""
    z2 = Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class AlarmRate:
    """Alarms seen in so many acquisitions, and what the rate may be.

    interval: 95 %, Clopper and Pearson (1934); where there was no alarm, or nothing but alarms,
    the one bound that is left has the whole 95 % (none in 149: at most 2.0 %).
    """

    alarms: int
    acquisitions: int
    interval: Interval

    @property
    def share(self) -> float:
        return self.alarms / self.acquisitions

    def per_day(self, acquisitions_per_day: float) -> tuple[float, Interval]:
        """Expected alarms per scanner and day, and their 95 % interval."""
        low, high = self.interval
        return (
            self.share * acquisitions_per_day,
            (low * acquisitions_per_day, high * acquisitions_per_day),
        )


def alarm_rate(alarms: int, acquisitions: int, independent: int | None = None) -> AlarmRate:
    """The rate of alarms among acquisitions, of which only so many may be independent.

    Raises ValueError without acquisitions, or for more alarms than those.
    """
    if not 0 <= alarms <= acquisitions or acquisitions < 1:
        raise ValueError(f"{alarms} alarms in {acquisitions} acquisitions")
    n = max(1, min(acquisitions, acquisitions if independent is None else independent))
    # rounded outwards: what is not a whole alarm of the independent ones widens the interval
    exact = alarms * n / acquisitions
    return AlarmRate(
        alarms,
        acquisitions,
        (_exact_bound(math.floor(exact), n, upper=False), _exact_bound(math.ceil(exact), n)),
    )


def _exact_bound(alarms: int, n: int, *, upper: bool = True) -> float:
    """One bound of Clopper and Pearson's interval."""
    if upper:
        if alarms == n:
            return 1.0
        tail = 0.05 if alarms == 0 else 0.025
        return _bisect(lambda rate: _at_most(alarms, n, rate) > tail)
    if alarms == 0:
        return 0.0
    tail = 0.05 if alarms == n else 0.025
    return _bisect(lambda rate: 1 - _at_most(alarms - 1, n, rate) < tail)


def _at_most(k: int, n: int, rate: float) -> float:
    return math.fsum(_binomial(n, j, rate) for j in range(k + 1))


def _binomial(n: int, k: int, rate: float) -> float:
    """P(k of n). In logarithms: counts go into the thousands."""
    if not 0 < rate < 1:
        return float(k == (n if rate >= 1 else 0))
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(rate) + (n - k) * math.log1p(-rate))


def _bisect(holds_below: Callable[[float], bool]) -> float:
    """Where a condition that holds from 0 up ceases to hold, to 10⁻¹²."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if holds_below(middle) else (low, middle)
    return (low + high) / 2
