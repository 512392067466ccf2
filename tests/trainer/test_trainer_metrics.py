"""Agreement figures by hand, their bootstrap, and the logistic."""

import numpy as np
import pytest

from trainer import metrics
from trainer.logistic import Logistic, fit_logistic


def test_perfect_and_reversed_agreement() -> None:
    x = np.array([1.0, 2, 3, 4, 5])
    for y in (2 * x + 1, -x):
        assert metrics.plcc(x, y) == pytest.approx(1)
        assert metrics.srocc(x, y) == pytest.approx(1)
        assert metrics.krocc(x, y) == pytest.approx(1)


def test_figures_by_hand() -> None:
    x, y = np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])
    # One pair of six is discordant; squared rank differences sum to 2 (equations 8 and 9).
    found = metrics.figures(x, y)
    assert found["srocc"] == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert found["krocc"] == pytest.approx((5 - 1) / 6)
    assert found["plcc"] == pytest.approx(0.8)
    assert found["rmse"] == pytest.approx(np.sqrt(0.5))
    assert found["overall"] == pytest.approx(0.8 + 0.8 + 4 / 6)


@pytest.fixture
def noisy() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, targets and groups of twelve slices at five levels; each slice is off by its own."""
    rng = np.random.default_rng(0)
    targets = np.repeat(np.linspace(0, 4, 5), 12)
    groups = np.tile([f"slice {i:02d}" for i in range(12)], 5)
    offsets = np.tile(rng.normal(0, 0.6, 12), 5)
    return targets + offsets + rng.normal(0, 0.2, targets.size), targets, groups


def test_intervals_hold_the_figures(noisy: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    scores, targets, groups = noisy
    result = metrics.agreement(scores, targets, groups, np.random.default_rng(1), 200)
    assert set(result.intervals) == {"plcc", "srocc", "krocc", "overall", "rmse"}
    for name, (low, high) in result.intervals.items():
        assert low < getattr(result, name) < high
    assert result.n == 60
    assert result.overall == pytest.approx(result.plcc + result.srocc + result.krocc)
    again = metrics.agreement(scores, targets, groups, np.random.default_rng(1), 200)
    assert again == result


def test_whole_groups_are_drawn(noisy: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Where slices differ as wholes, intervals over slices are wider than over pictures."""
    scores, targets, groups = noisy
    pictures = np.arange(60).astype(str)
    widths = []
    for names in (groups, pictures):
        result = metrics.agreement(scores, targets, names, np.random.default_rng(1), 300)
        low, high = result.intervals["rmse"]
        widths.append(high - low)
    assert widths[0] > 1.3 * widths[1]


def test_one_group_has_no_width(noisy: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    scores, targets, _ = noisy
    one = np.full(60, "a")
    result = metrics.agreement(scores, targets, one, np.random.default_rng(1), 20)
    assert result.intervals["srocc"] == pytest.approx((result.srocc, result.srocc))


def test_what_cannot_be_correlated() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="at least 3"):
        metrics.agreement(np.ones(2), np.ones(2), np.array(["a", "b"]), rng)
    names = np.array(["a", "b", "c"])
    with pytest.raises(ValueError, match="targets are all 1"):
        metrics.agreement(np.arange(3.0), np.ones(3), names, rng)
    with pytest.raises(ValueError, match="not all numbers"):
        metrics.agreement(np.array([0, 1, np.nan]), np.arange(3.0), names, rng)


def test_constant_scores_tell_nothing() -> None:
    names = np.array(["a", "b", "c", "d"])
    result = metrics.agreement(np.ones(4), np.arange(4.0), names, np.random.default_rng(0), 20)
    assert result.overall == 0
    assert result.rmse > 0


class TestLogistic:
    def test_finds_the_curve_again(self) -> None:
        scores = np.linspace(0, 10, 80)
        curve = Logistic((4.0, 1.3, 5.0, 0.1, 2.0))
        fitted = fit_logistic(scores, curve(scores))
        assert fitted(scores) == pytest.approx(curve(scores), abs=1e-4)

    def test_falling_scores(self) -> None:
        scores = np.linspace(0, 10, 80)
        targets = 4 / (1 + np.exp(2 * (scores - 4)))
        assert fit_logistic(scores, targets)(scores) == pytest.approx(targets, abs=1e-3)

    def test_is_never_silent(self) -> None:
        scores = np.linspace(-4, 4, 60)
        targets = 4 / (1 + np.exp(-3 * scores)) + np.random.default_rng(0).normal(0, 0.05, 60)
        names = np.arange(60).astype(str)
        plain, fitted = (
            metrics.agreement(scores, targets, names, np.random.default_rng(1), 50, logistic)
            for logistic in (False, True)
        )
        assert plain.plcc == metrics.plcc(scores, targets)
        assert fitted.plcc > plain.plcc + 0.02
        assert fitted.rmse < 0.1 < plain.rmse
        assert fitted.srocc == pytest.approx(plain.srocc, abs=1e-6)

    def test_too_few_pictures(self) -> None:
        with pytest.raises(ValueError, match="five parameters"):
            fit_logistic(np.arange(5.0), np.arange(5.0))
