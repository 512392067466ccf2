"""Statistics and their intervals, against numpy and published values."""

import math

import numpy as np
import pytest

from models.limits import (
    effective_number,
    normal_quantile_interval,
    quantile,
    quantile_interval,
    wilson_interval,
)
from service.judge.policy import Statistic
from service.judge.statistic import evaluate


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


def chain(rng, n, correlation):
    """A first-order autoregression of variance 1, settled."""
    values = [float(rng.normal())]
    for step in rng.normal(0, math.sqrt(1 - correlation**2), n - 1):
        values.append(correlation * values[-1] + float(step))
    return values


def test_independent_slices_are_worth_nearly_all_of_them():
    rng = np.random.default_rng(3)
    worth = [effective_number(rng.normal(size=100).tolist()) for _ in range(50)]
    assert np.median(worth) > 80
    assert max(worth) <= 100


def test_neighbours_that_resemble_each_other_are_worth_fewer():
    """Theory: n (1 − ρ) / (1 + ρ) of a long chain, 22 of 200 at ρ = 0.8."""
    rng = np.random.default_rng(4)
    worth = [effective_number(chain(rng, 200, 0.8)) for _ in range(50)]
    assert 15 < np.median(worth) < 35


def test_constant_slices_are_worth_themselves():
    assert effective_number([3.0] * 7) == 7.0


@pytest.mark.parametrize(("correlation", "least"), [(0.0, 0.93), (0.5, 0.93), (0.8, 0.93)])
def test_the_interval_holds_for_resembling_slices(correlation, least):
    """Plain order statistics hold 84 % and 58 % of the time at ρ = 0.5 and 0.8."""
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(300):
        _, interval = evaluate(Statistic(), chain(rng, 135, correlation))
        assert interval is not None
        hits += interval[0] <= 0 <= interval[1]
    assert hits / 300 >= least


def test_few_slices_get_the_interval_of_normal_theory():
    """Three degrees of freedom, t = 3.182; the median's error is √(π/2) of the mean's."""
    values = [2.0, 2.4, 2.1, 2.3]
    low, high = normal_quantile_interval(values, 0.5, 4.0)
    half = 3.182 * np.std(values, ddof=1) * math.sqrt(math.pi / 2) / 2
    assert (low, high) == pytest.approx((2.2 - half, 2.2 + half), abs=1e-6)


def test_one_slice_has_no_interval():
    assert evaluate(Statistic(), [3.0]) == (3.0, None)


def test_the_networks_error_does_not_average_out():
    """All slices off by the same: 1.96 standard deviations a side, whatever their number."""
    for count in (10, 400):
        _, interval = evaluate(Statistic(), [3.0] * count, [0.2] * count)
        assert interval == pytest.approx((3.0 - 1.96 * 0.2, 3.0 + 1.96 * 0.2), abs=1e-3)


def test_both_parts_add_in_quadrature_and_stay_on_the_scale():
    values = [3.2, 3.9, 3.4, 3.7, 3.5, 3.6, 3.3, 3.8, 3.1, 4.0]
    value, between = evaluate(Statistic(), values)
    _, both = evaluate(Statistic(), values, [0.15] * 10)
    for one, whole in zip(between, both, strict=True):
        assert abs(whole - value) == pytest.approx(math.hypot(one - value, 1.96 * 0.15), abs=1e-3)
    assert evaluate(Statistic(), values, [0.15] * 10, (0.0, 4.0))[1][1] == 4.0


def test_a_share_widens_by_the_slices_that_the_error_may_move():
    statistic = Statistic(name="share-below", score=2.0)
    scores = [1.9, 2.1] * 10
    _, sure = evaluate(statistic, scores, [0.01] * 20)
    _, unsure = evaluate(statistic, scores, [0.2] * 20)
    assert sure[0] > unsure[0] >= 0
    assert sure[1] < unsure[1] <= 1
