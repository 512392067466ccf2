"""Scores learned together with severities: what the loss asks, what learns, and what is left."""

import numpy as np
import pytest
import torch

from models.networks import miqanet
from models.networks.miqanet import MIQANet
from trainer.by_kind import ByKind, labels
from trainer.datasets import Entry, SimulatedSet
from trainer.losses import Batch, Supervised

KINDS = ("noise", "ghosting", "wrap")


def entry(target: float, parts: dict[str, float]) -> Entry:
    worst = max(parts.values(), default=0.0)
    return Entry("s", "a", "+".join(parts) or "clean", worst, parts, {}, {}, target)


@pytest.fixture
def network() -> MIQANet:
    torch.manual_seed(0)
    return miqanet.build("compact").train()


def batch() -> Batch:
    torch.manual_seed(1)
    scores = torch.tensor([[4.0, 0, 0, 0], [1.0, 0, 0.75, 0], [2.0, 0.5, 0, 0.25]])
    return Batch(torch.rand(3, 1, 224, 224), scores)


def test_labels_are_the_score_and_every_kinds_severity() -> None:
    entries = (entry(4.0, {}), entry(1.5, {"wrap": 0.25, "noise": 1.0}))
    data = SimulatedSet(np.zeros((2, 1, 4, 4), np.float16), entries, {})
    assert labels(data, KINDS).tolist() == [[4.0, 0, 0, 0], [1.5, 1.0, 0, 0.25]]


def test_the_loss_is_the_networks_and_what_severities_and_order_add(network: MIQANet) -> None:
    network.eval()
    one = batch()
    with torch.no_grad():
        plain = Supervised(network)(network, Batch(one.pictures, one.scores[:, 0]), 0)
    objective = ByKind(network, len(KINDS), severities=0.5, order=0.25)
    with torch.no_grad():
        loss = objective(network, one, 0)
        raw = network(one.pictures).numpy()
        told = objective.answer().numpy()
    squared = ((told - one.scores[:, 1:].numpy()) ** 2).sum(axis=1).mean()
    r = np.corrcoef(raw, one.scores[:, 0].numpy())[0, 1]
    assert float(loss) == pytest.approx(float(plain) + 0.5 * squared + 0.25 * (1 - r), abs=1e-5)


def test_severities_teach_both_branches_and_their_own_layers(network: MIQANet) -> None:
    objective = ByKind(network, len(KINDS), severities=1.0, order=0.0)
    one = batch()
    network(one.pictures)
    objective.answer().sum().backward()
    taught = [network.cnn.conv_stem.weight, network.swin.patch_embed.proj.weight]
    for parameter in [*taught, objective.answer.last.weight]:
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0


def test_the_cnn_learns_at_a_rate_of_its_own_and_everything_once(network: MIQANet) -> None:
    objective = ByKind(network, len(KINDS), severities=1.0, order=0.0, backbone_rate=1e-4)
    others, cnn = objective.groups()
    assert cnn["lr"] == 1e-4
    assert "lr" not in others
    assert {id(one) for one in cnn["params"]} == {id(one) for one in network.cnn.parameters()}
    both = [id(one) for group in (others, cnn) for one in group["params"]]
    wanted = [*network.parameters(), *objective.answer.parameters()]
    assert sorted(both) == sorted(id(one) for one in wanted)


def test_the_answering_layers_are_kept_beside_the_network_not_in_it(network: MIQANet) -> None:
    before = set(network.state_dict())
    objective = ByKind(network, len(KINDS), severities=1.0, order=0.0)
    assert set(network.state_dict()) == before
    with torch.no_grad():
        objective.answer.last.bias.fill_(0.5)
    other = ByKind(miqanet.build("compact"), len(KINDS), severities=1.0, order=0.0)
    other.load_state_dict(objective.state_dict())
    assert other.answer.last.bias.tolist() == [0.5, 0.5, 0.5]


def test_a_network_without_both_branches_is_refused() -> None:
    half = miqanet.build("compact", ablations=["cnn-only"])
    with pytest.raises(ValueError, match="both of its branches"):
        ByKind(half, len(KINDS), severities=1.0, order=0.0)
