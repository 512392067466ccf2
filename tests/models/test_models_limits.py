"""Alarm rates and quantile bounds against SciPy and published values."""

import numpy as np
import pytest
from scipy import stats

from models.limits import (
    INDEPENDENT_NEEDED,
    alarm_rate,
    normal_quantile_interval,
    quantile_bounds,
    quantile_interval,
)


def test_no_alarm_in_149_bounds_the_rate_at_two_percent():
    rate = alarm_rate(0, INDEPENDENT_NEEDED)
    assert rate.interval == (0.0, pytest.approx(0.0199, abs=1e-4))
    assert alarm_rate(0, INDEPENDENT_NEEDED - 1).interval[1] > 0.02


@pytest.mark.parametrize(("alarms", "n"), [(1, 20), (7, 149), (3, 1000), (19, 20), (250, 3000)])
def test_the_interval_is_clopper_and_pearsons(alarms, n):
    expected = stats.binomtest(alarms, n).proportion_ci(0.95, method="exact")
    assert alarm_rate(alarms, n).interval == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_acquisitions_that_are_not_independent_widen_it():
    assert alarm_rate(4, 100, 50).interval == alarm_rate(2, 50).interval
    low, high = alarm_rate(5, 100, 50).interval
    assert low == alarm_rate(2, 50).interval[0]
    assert high == alarm_rate(3, 50).interval[1]


def test_alarms_a_day_scale_with_the_acquisitions_of_a_day():
    mean, (low, high) = alarm_rate(2, 100).per_day(30)
    assert mean == pytest.approx(0.6)
    assert (low, high) == pytest.approx((0.0728, 2.112), abs=1e-3)


@pytest.mark.parametrize(("alarms", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(alarms, n):
    with pytest.raises(ValueError, match="acquisitions"):
        alarm_rate(alarms, n)


def test_ends_that_few_values_do_not_bound_are_open():
    values = list(range(100))
    low, high = quantile_bounds(values, 0.02)
    assert (low, high) == (None, 5)
    assert quantile_interval(values, 0.02) is None
    assert quantile_bounds(values, 0.5, 4) == (None, None)


def test_fewer_independent_values_widen_the_ranks_and_never_leave_the_values():
    values = list(range(1, 61))
    full, half = quantile_interval(values, 0.5), quantile_interval(values, 0.5, 30)
    assert half[0] < full[0] < full[1] < half[1]
    assert half[0] >= 1
    assert half[1] <= 60


@pytest.mark.parametrize("n", [4, 12, 30])
def test_normal_theory_agrees_with_student(n):
    values = np.random.default_rng(n).normal(size=n).tolist()
    low, high = normal_quantile_interval(values, 0.5, n)
    error = np.std(values, ddof=1) * np.sqrt(np.pi / 2 / n)
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.975, n - 1) * error, rel=1e-3)
