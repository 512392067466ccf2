"""Equation 4 of the MD-IQA paper."""

import pytest
import torch

from models.networks import gaussian
from models.networks.gaussian import distribution_loss

TAUS = torch.tensor([0.02, 0.04, 0.08])


def vectors(*scores: float) -> torch.Tensor:
    return gaussian.target_vectors(torch.tensor(scores, dtype=torch.float64), TAUS, 81, 4.0)


def test_the_true_vectors_cost_nothing() -> None:
    targets = vectors(0.0, 1.7, 4.0)
    # A constant in the logarithm changes neither the curve of peak one nor the density.
    logits = torch.log(targets / targets.amax(-1, keepdim=True)) + 3
    assert float(distribution_loss(logits.clamp(min=-500), targets, 0.1)) < 1e-3


def test_farther_costs_more() -> None:
    targets = vectors(2.0)
    losses = [
        float(distribution_loss(vectors(score).clamp(min=1e-30).log(), targets, 0.1))
        for score in (2.0, 2.2, 2.6, 3.4)
    ]
    assert losses == sorted(losses)


def test_both_terms_by_hand() -> None:
    targets = vectors(1.0, 3.0)
    logits = torch.randn(2, 3, 81, dtype=torch.float64, generator=torch.manual_seed(2))
    curve = torch.exp(logits) / torch.exp(logits).amax(-1, keepdim=True)
    p = targets / targets.sum(-1, keepdim=True)
    q = torch.softmax(logits, -1)
    kl = torch.special.xlogy(p, p / q).sum(-1).mean()
    expected = ((curve - targets) ** 2).mean() + 0.1 * kl
    assert float(distribution_loss(logits, targets, 0.1)) == pytest.approx(float(expected))
