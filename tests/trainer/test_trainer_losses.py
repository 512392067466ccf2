"""Equations 3, 4 and 6 of the MD-IQA paper."""

import pytest
import torch
from torch import Tensor, nn

from models.networks import gaussian
from models.networks.gaussian import distribution_loss
from models.networks.network import Network
from trainer.losses import Batch, MeanTeacher, SemiSupervision

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


def test_consistency_passes_the_pseudo_weight_where_the_paper_says() -> None:
    weights = SemiSupervision()
    assert weights.consistency(400) == pytest.approx(0.1)
    assert weights.consistency(401) > weights.pseudo > weights.consistency(399)
    assert weights.consistency(0) < 0.01
    # "Approaches 1" within the paper's 30 epochs of 43 batches.
    assert weights.consistency(30 * 43) == 1.0
    values = [weights.consistency(step) for step in range(0, 1400, 20)]
    assert values == sorted(values)


class Line(Network):
    """One weight: pictures `[B, 1, 1, 1]` → w·x `[B]`."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([weight]))

    def forward(self, pictures: Tensor) -> Tensor:
        return self.weight * pictures.flatten()

    def targets(self, scores: Tensor) -> Tensor:
        return scores

    def estimate(self, raw: Tensor) -> Tensor:
        return raw


def test_the_teacher_is_the_mean_of_earlier_weights() -> None:
    network = Line(1.0)
    objective = MeanTeacher(network, SemiSupervision(ema_decay=0.9))
    objective.after_step()
    with torch.no_grad():
        network.weight.fill_(2.0)
    objective.after_step()
    taught = objective.teacher(torch.ones(1, 1, 1, 1)).detach()
    assert float(taught) == pytest.approx(0.9 * 1 + 0.1 * 2)
    again = MeanTeacher(Line(5.0), SemiSupervision(ema_decay=0.9))
    again.load_state_dict(objective.state_dict())
    assert torch.equal(again.teacher(torch.ones(1, 1, 1, 1)), taught)


def test_equation_3_by_hand() -> None:
    network = Line(1.0)
    objective = MeanTeacher(network, SemiSupervision(ema_decay=0.5))
    objective.after_step()  # the teacher's weight is 1
    with torch.no_grad():
        network.weight.fill_(3.0)
    batch = Batch(
        torch.full((2, 1, 1, 1), 2.0),
        torch.full((2,), 5.0),
        torch.full((1, 1, 1, 1), 1.0),
        torch.full((1,), 2.0),
    )
    # Student: 6 against 5, 3 against the pseudo 2 and the teacher's 1.
    loss = objective(network, batch, step=400)
    assert float(loss.detach()) == pytest.approx(1 * 1 + 0.1 * 1 + 0.1 * 4)
    loss.backward()
    assert network.weight.grad is not None
    assert all(p.grad is None for p in objective.teacher.parameters())


def test_semi_supervision_needs_the_others() -> None:
    batch = Batch(torch.ones(1, 1, 1, 1), torch.ones(1))
    with pytest.raises(ValueError, match="pseudo-labelled"):
        MeanTeacher(Line(1.0), SemiSupervision())(Line(1.0), batch, 0)
