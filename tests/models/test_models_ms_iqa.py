"""MS-IQA: that every branch of it learns, its shapes, sizes and ablations."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.networks import ms_iqa
from models.networks.channel_attention import GraphChannelAttention

SCORES = torch.tensor([0.4, 3.6])
DEAD = 1e-5
"""A part whose gradients are all this far below the greatest learns nothing: they are 1e-4 and
more of it as built, 1e-7 and less as published."""
BRANCHES = ("cnn", "swin", "halve", "attend", "attend_swin", "weigh", "score")


@pytest.fixture
def network() -> ms_iqa.MSIQA:
    torch.manual_seed(0)
    return ms_iqa.build("compact")


def pictures(count: int = 2, channels: int = 3, side: int = 224) -> torch.Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(5))


def by_branch(gradients: dict[str, float]) -> dict[str, float]:
    return {
        branch: max(g for name, g in gradients.items() if name.split(".")[0] == branch)
        for branch in BRANCHES
    }


def test_every_parameter_receives_gradient(network, gradients):
    received = gradients(network, SCORES)
    assert [name for name, gradient in received.items() if gradient == 0] == []
    branches = by_branch(received)
    assert min(branches.values()) > DEAD * max(branches.values())


def test_the_published_quotient_starves_the_fusion_branch(gradients):
    """Σ(f·w)/Σw over one element, as published: the test above must see it."""

    class Published(ms_iqa.MSIQA):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            score, weight = (branch[:, None] for branch in self.branches(pictures))
            return (score * weight).sum(dim=1) / weight.sum(dim=1)

    torch.manual_seed(0)
    branches = by_branch(gradients(Published(ms_iqa.PRESETS["compact"]), SCORES))
    most = max(branches.values())
    assert max(branches[name] for name in ("halve", "attend", "weigh")) < DEAD * most


def test_the_output_is_the_product_of_both_branches(network):
    network.eval()
    with torch.no_grad():
        score, weight = network.branches(pictures())
        assert torch.equal(network(pictures()), score * weight)
    assert score.shape == weight.shape == (2,)
    assert ((weight > 0) & (weight < 1)).all()


def test_the_score_follows_swin_and_the_weight_both(network):
    """Figure: f is the gated Swin's alone; the CNN's later stages speak through w."""
    network.eval()
    with torch.no_grad():
        score, weight = network.branches(pictures())
        network.cnn.layer4.register_forward_hook(lambda _module, _input, output: output + 3)
        moved_score, moved_weight = network.branches(pictures())
    assert torch.equal(score, moved_score)
    assert not torch.allclose(weight, moved_weight)


def test_pictures_are_scaled_about_grey(network):
    seen = []
    network.cnn.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    network.eval()
    with torch.no_grad():
        network(torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).expand(3, 3, 224, 224))
    assert seen[0][:, 0, 0, 0].tolist() == [-1.0, 0.0, 1.0]


def test_scores_are_scaled_to_one_and_back(network):
    scores = torch.tensor([0.0, 1.0, 4.0])
    targets = network.targets(scores)
    assert targets.tolist() == [0.0, 0.25, 1.0]
    assert torch.equal(network.estimate(targets), scores)
    assert float(network.loss(targets, targets + 0.5)) == pytest.approx(0.25)


def test_served_scores_stay_on_the_scale(network):
    network.eval()
    with torch.no_grad():
        expected = network.estimate(network(pictures())).clamp(0, 4)
        (score,) = network.served()(pictures())
        assert torch.equal(score, expected)
        network.score[-1].bias += 100
        assert network.served()(pictures())[0].tolist() == [4.0, 4.0]
    assert network.served_outputs == ("score",)


def test_evaluation_repeats_itself(network):
    network.eval()
    with torch.no_grad():
        assert torch.equal(network(pictures()), network(pictures()))


def test_small_enough_to_ship(network):
    assert sum(parameter.numel() for parameter in network.parameters()) < 3e6


def test_without_attention_there_are_no_gates():
    plain = ms_iqa.build("compact", ablations=["without-attention"])
    assert not any(isinstance(part, GraphChannelAttention) for part in plain.modules())
    gated = sum(
        isinstance(part, GraphChannelAttention) for part in ms_iqa.build("compact").modules()
    )
    assert gated == 5


def test_without_weight_the_score_stands_alone(gradients):
    torch.manual_seed(0)
    network = ms_iqa.build("compact", ablations=["without-weight"])
    received = gradients(network, SCORES)
    assert min(received.values()) > 0
    assert not any(name.startswith(("halve", "weigh", "cnn.layer2")) for name in received)
    network.eval()
    with torch.no_grad():
        score, weight = network.branches(pictures())
        assert torch.equal(network(pictures()), score)
    assert weight.tolist() == [1.0, 1.0]


def test_unknown_names_are_told_the_known(tmp_path):
    with pytest.raises(KeyError, match="paper, compact"):
        ms_iqa.build("huge")
    with pytest.raises(KeyError, match="without-attention, without-weight"):
        ms_iqa.build("compact", ablations=["without-everything"])
    with pytest.raises(ValueError, match="from scratch"):
        ms_iqa.build("compact", weights=tmp_path)


def test_attention_follows_its_definition():
    """A = I⊙A1 + A2 laid out as the matrix it is."""
    torch.manual_seed(6)
    attention = GraphChannelAttention(12, ratio=4)
    assert attention.adjacency.shape == (3, 3)
    assert attention.adjacency.unique().tolist() == pytest.approx([1e-6])
    with torch.no_grad():
        attention.adjacency.normal_()
        attention.scale.weight.fill_(0.7)
        features = torch.randn(2, 12, 5, 5)
        y = attention.squeeze(features.mean((2, 3), keepdim=True)).flatten(1)
        own = (y * attention.temper.weight.item()).softmax(1)
        rows = []
        for node, row in zip(y, own, strict=True):
            adjacency = torch.eye(3) * row + attention.adjacency
            rows.append((0.7 * (node @ adjacency)).relu())
        gate = attention.widen(torch.stack(rows)[:, :, None, None]).sigmoid()
        assert torch.allclose(attention(features), features * gate, atol=1e-6)


@pytest.fixture(scope="module")
def whole() -> ms_iqa.MSIQA:
    torch.manual_seed(0)
    return ms_iqa.build("compact-512").eval()


def test_whole_pictures_of_512_are_small_enough_to_ship(whole):
    """25 MB a file at two bytes a weight."""
    assert whole.preset.side == 512
    assert sum(parameter.numel() for parameter in whole.parameters()) < 5e6


def test_a_crop_of_256_fits_the_weights_of_512(whole):
    crops = ms_iqa.MSIQA(replace(whole.preset, side=256)).eval()
    crops.load_state_dict(whole.state_dict())
    with torch.no_grad():
        for_score, for_weight = crops.vectors(pictures(side=256))
    assert for_score.shape == (2, whole.score[0].in_features)
    assert for_weight.shape == (2, whole.weigh[0].in_features)


def test_the_score_is_read_from_the_body(whole):
    """Air about a patient weighs a thousandth of what the patient weighs; of air alone, all."""
    features = torch.zeros(1, 1, 8, 8)
    features[..., :4] = 1.0
    body = torch.zeros(1, 3, 512, 512)
    body[..., :256] = 0.5
    assert float(whole._pooled(features, body)) == pytest.approx(1.001 / 1.002)
    assert float(whole._pooled(features, body.flip(3))) == pytest.approx(0.001 / 1.002)
    assert float(whole._pooled(features, torch.zeros_like(body))) == pytest.approx(0.5)


def test_branches_are_read_from_the_vectors(network):
    network.eval()
    with torch.no_grad():
        f, w = network.branches(pictures())
        again = network.read(*network.vectors(pictures()))
    assert torch.equal(f, again[0])
    assert torch.equal(w, again[1])


def test_paper_preset_has_the_published_size():
    network = ms_iqa.build("paper")
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert parameters == pytest.approx(60.75e6, rel=0.02)
    widths = [(halve.in_channels, halve.out_channels) for halve in network.halve]
    assert widths == [(352, 176), (704, 352), (1408, 704), (2816, 1408)]
    assert network.weigh[0].in_features == 2640
    assert network.score[0].in_features == 768
