"""Agreement figures by hand, and their bootstrap."""

import numpy as np
import pytest

from trainer import metrics


def test_perfect_and_reversed_agreement() -> None:
    x = np.array([1.0, 2, 3, 4, 5])
    for y in (2 * x + 1, -x):
        assert metrics.plcc(x, y) == pytest.approx(1)
        assert metrics.srocc(x, y) == pytest.approx(1)
        assert metrics.krocc(x, y) == pytest.approx(1)


def test_figures_by_hand() -> None:
    x, y = np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])
    # One pair of six is discordant; squared rank differences sum to 2 (equations 8 and 9).
    assert metrics.srocc(x, y) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert metrics.krocc(x, y) == pytest.approx((5 - 1) / 6)


def test_interval_holds_the_figure_and_draws_whole_groups() -> None:
    rng = np.random.default_rng(0)
    targets = np.repeat(np.linspace(0, 4, 5), 12)
    scores = targets + rng.normal(0, 0.5, targets.size)
    groups = np.tile([f"slice {i}" for i in range(12)], 5)
    result = metrics.agreement(scores, targets, groups, np.random.default_rng(1), 200)
    low, high = result.srocc_interval
    assert low < result.srocc < high
    assert result.n == 60
    assert result.overall == pytest.approx(result.plcc + result.srocc + result.krocc)
    assert result.rmse == pytest.approx(np.sqrt(np.mean((scores - targets) ** 2)))
    again = metrics.agreement(scores, targets, groups, np.random.default_rng(1), 200)
    assert again == result


def test_too_few_pictures() -> None:
    with pytest.raises(ValueError, match="at least 3"):
        metrics.agreement(np.ones(2), np.ones(2), np.array(["a", "b"]), np.random.default_rng(0))
