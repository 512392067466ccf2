"""MD-IQA: its vectors, its scores, and that all of it learns."""

import math

import pytest
import torch

from models.networks import gaussian, md_iqa
from models.networks.patchwise import normalised_weights


@pytest.fixture(scope="module")
def network() -> md_iqa.MDIQA:
    torch.manual_seed(0)
    return md_iqa.build("compact")


def test_every_parameter_receives_gradient(network: md_iqa.MDIQA) -> None:
    torch.manual_seed(1)
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
    pictures = torch.rand(2, 1, 256, 256)
    network.train()
    # Two steps: timm starts the last norm of each residual block at zero, and the offsets start
    # at zero too, so what lies before them moves from the second step on.
    for _ in range(2):
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(network(pictures), torch.randn(2, 3, 81)).backward()
        optimiser.step()
    still = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or parameter.grad.abs().max() == 0
    ]
    assert still == []


def test_small_enough_to_ship(network: md_iqa.MDIQA) -> None:
    assert sum(parameter.numel() for parameter in network.parameters()) < 3e6


def test_served_outputs(network: md_iqa.MDIQA) -> None:
    served = md_iqa.Served(network.eval())
    with torch.no_grad():
        score, score_map, spread = served(torch.rand(3, 1, 256, 256))
    assert score.shape == spread.shape == (3,)
    assert score_map.shape == (3, 16, 16)
    assert ((score >= 0) & (score <= 4)).all()
    assert ((score_map >= 0) & (score_map <= 4)).all()


def test_weights_are_normalised(network: md_iqa.MDIQA) -> None:
    """Equation 2: a constant patchwise vector comes out as itself, whatever the weights."""
    pictures = torch.rand(1, 1, 256, 256)
    network.eval()
    with torch.no_grad():
        patches, weights = network.patches(pictures)
        expected = (weights * patches).sum((-2, -1)) / weights.sum((-2, -1))
        assert torch.allclose(network(pictures).flatten(1), expected)
        assert ((weights > 0) & (weights < 1)).all()


def test_target_vector_follows_equation_1() -> None:
    taus = torch.tensor([0.02, 0.08])
    vectors = gaussian.target_vectors(torch.tensor([1.0, 4.0]), taus, 81, 4.0)
    assert vectors.shape == (2, 2, 81)
    assert vectors[0, 0].argmax() == 20
    assert vectors[1, 1].argmax() == 80
    assert vectors.amax(-1) == pytest.approx(torch.ones(2, 2))
    sigma = 81 * 0.08
    assert float(vectors[0, 1, 25]) == pytest.approx(math.exp(-(5**2) / (2 * sigma**2)), rel=1e-5)


@pytest.mark.parametrize("score", [0.6, 2.0, 3.35])
def test_scores_of_true_vectors(score: float) -> None:
    taus = torch.tensor([0.02, 0.04, 0.08])
    vectors = gaussian.target_vectors(torch.tensor([score]), taus, 81, 4.0)
    logits = vectors.log()
    scores = gaussian.points(81, 4.0)
    assert float(gaussian.peak_score(logits, 4.0)) == pytest.approx(score, abs=1e-4)
    assert float(gaussian.expected_score(logits, scores)) == pytest.approx(score, abs=0.02)
    widths = 4 * taus * 81 / 80
    assert float(gaussian.spread(logits, scores)) == pytest.approx(
        float(widths.square().mean().sqrt()), abs=0.03
    )


def test_expectation_moves_smoothly_where_argmax_jumps() -> None:
    scores = gaussian.points(81, 4.0)
    low, high = (
        gaussian.target_vectors(torch.tensor([s]), torch.tensor([0.04]), 81, 4.0).log()
        for s in (2.02, 2.03)
    )
    jump = float(gaussian.peak_score(high, 4.0) - gaussian.peak_score(low, 4.0))
    step = float(gaussian.expected_score(high, scores) - gaussian.expected_score(low, scores))
    assert jump == pytest.approx(0.05, abs=1e-4)
    assert step == pytest.approx(0.01, abs=1e-3)


def test_unknown_preset_names_the_known() -> None:
    with pytest.raises(KeyError, match="paper, compact"):
        md_iqa.build("huge")


@pytest.mark.slow
def test_paper_preset_builds_and_runs() -> None:
    network = md_iqa.build("paper").eval()
    with torch.no_grad():
        assert network(torch.rand(1, 3, 224, 224)).shape == (1, 3, 81)
    assert sum(parameter.numel() for parameter in network.parameters()) > 150e6


def test_weights_that_all_vanish_still_weigh_the_patches_against_each_other():
    attention = torch.full((1, 2, 4, 4), -200.0)
    attention[0, 1, 2, 3] = -190.0
    weights = normalised_weights(attention)
    assert torch.allclose(weights[0, 0], torch.full((4, 4), 1 / 16))
    assert weights[0, 1, 2, 3] > 0.999
    moderate = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    sigmoid = torch.sigmoid(moderate)
    expected = sigmoid / sigmoid.sum(dim=(-2, -1), keepdim=True)
    assert torch.allclose(normalised_weights(moderate), expected, atol=1e-6)
