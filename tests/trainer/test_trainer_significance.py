"""The two tests of the difference between two models."""

import numpy as np
import pytest
from scipy import stats

from trainer.significance import compare, residual_test, rmse_test

N = 60


@pytest.fixture
def targets() -> np.ndarray:
    return np.linspace(0, 4, N)


def scored(targets: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    return targets + np.random.default_rng(seed).normal(0, sigma, len(targets))


def test_a_better_model_is_found(targets: np.ndarray) -> None:
    close, far = scored(targets, 0.2, 0), scored(targets, 0.5, 1)
    for test in (rmse_test, residual_test):
        assert test(close, far, targets).better == "a"
        assert test(far, close, targets).better == "b"
        assert test(far, close, targets).significant


def test_equally_good_models_are_not_told_apart(targets: np.ndarray) -> None:
    for test in (rmse_test, residual_test):
        assert test(scored(targets, 0.4, 2), scored(targets, 0.4, 3), targets).better is None
        same = scored(targets, 0.4, 4)
        assert test(same, same, targets).p == pytest.approx(1, abs=0.5)
        assert not test(same, same, targets).significant


def test_rmse_test_by_hand() -> None:
    """ζ against the tabulated F(0.05; 30, 30) = 1.84."""
    targets = np.zeros(30)
    b = np.ones(30)
    for ratio, better in ((1.83, None), (1.85, "b")):
        result = rmse_test(np.full(30, np.sqrt(ratio)), b, targets)
        assert result.statistic == pytest.approx(ratio)
        assert result.better == better
    # five fitted parameters leave 25 degrees of freedom, F = 1.96
    assert rmse_test(np.full(30, np.sqrt(1.94)), b, targets, 5).better is None
    assert rmse_test(np.full(30, np.sqrt(1.97)), b, targets, 5).better == "b"


def test_a_perfect_model(targets: np.ndarray) -> None:
    assert rmse_test(targets, scored(targets, 0.1, 0), targets).better == "a"
    assert rmse_test(targets, targets, targets).better is None


def test_residuals_of_normal_and_other_shape() -> None:
    targets = np.zeros(40)
    normal = 3 + stats.norm.ppf(np.linspace(0.02, 0.98, 40)) * 0.5
    result = residual_test(normal, normal + 0.4, targets)
    assert result.test == "residuals, t test"
    assert result.better == "a"
    assert result.p == pytest.approx(stats.ttest_ind(normal, normal + 0.4).pvalue)
    skewed = np.linspace(0, 1, 40) ** 6
    result = residual_test(skewed + 0.2, skewed, targets)
    assert result.test == "residuals, Mann-Whitney U"
    assert result.better == "b"


def test_compare_is_a_table(targets: np.ndarray) -> None:
    table = compare(scored(targets, 0.2, 0), scored(targets, 0.5, 1), targets)
    assert table["rmse_test"]["better"] == table["residual_test"]["better"] == "a"
    assert table["rmse_test"]["p"] < 0.05


def test_what_cannot_be_compared(targets: np.ndarray) -> None:
    with pytest.raises(ValueError, match="same images"):
        rmse_test(targets[1:], targets, targets)
    with pytest.raises(ValueError, match="too few"):
        residual_test(targets[:3], targets[:3], targets[:3])
    with pytest.raises(ValueError, match="leave nothing"):
        rmse_test(targets[:5], targets[:5], targets[:5], 5)
