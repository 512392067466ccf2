"""Statistics and their intervals, against numpy and published values."""

import numpy as np
import pytest

from service.judge.policy import Statistic
from service.judge.statistic import evaluate, quantile, quantile_interval, wilson_interval


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_quantile_is_numpys(share):
    values = np.random.default_rng(5).normal(size=17).tolist()
    assert quantile(values, share) == pytest.approx(np.quantile(values, share))


def test_median_interval_for_ten_values_is_the_second_to_ninth():
    """Conover, Practical Nonparametric Statistics, table A3: n = 10, ranks 2 and 9."""
    assert quantile_interval(list(range(1, 11)), 0.5) == (2, 9)


def test_too_few_values_have_no_interval():
    assert quantile_interval([1, 2, 3, 4, 5], 0.5) is None
    assert quantile_interval([1, 2, 3, 4, 5, 6], 0.5) == (1, 6)


def test_the_interval_covers_the_median_in_95_of_100():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(400):
        low, high = quantile_interval(rng.normal(size=25).tolist(), 0.5) or (0, 0)
        hits += low <= 0 <= high
    assert hits >= 375


def test_wilson_interval_of_none_in_149_is_bounded_at_two_and_a_half_percent():
    low, high = wilson_interval(0, 149)
    assert low == pytest.approx(0)
    assert high == pytest.approx(0.0251, abs=1e-4)


def test_share_below_counts_strictly():
    value, _ = evaluate(Statistic(name="share-below", score=2.0), [1.9, 2.0, 2.1, 1.0])
    assert value == 0.5
