"""MD-IQA: its vectors, its scores, its ablations, and that all of it learns."""

import hashlib
import math
from pathlib import Path

import pytest
import timm
import torch

from models.networks import gaussian, md_iqa
from models.networks.patchwise import normalised_weights


@pytest.fixture(scope="module")
def network() -> md_iqa.MDIQA:
    torch.manual_seed(0)
    return md_iqa.build("compact")


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def still(network: md_iqa.MDIQA) -> list[str]:
    """The parameters without gradient after two training steps on the network's own loss."""
    torch.manual_seed(1)
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
    side = network.preset.side
    pictures = torch.rand(2, 1, side, side)
    targets = network.targets(torch.tensor([0.5, 3.5]))
    network.train()
    # Two steps: timm starts the last norm of each residual block at zero, and the offsets start
    # at zero too, so what lies before them moves from the second step on.
    for _ in range(2):
        optimiser.zero_grad()
        network.loss(network(pictures), targets).backward()
        optimiser.step()
    return [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or parameter.grad.abs().max() == 0
    ]


@pytest.mark.parametrize("ablations", [[], ["direct-regression"], ["one-scale"]], ids=str)
def test_every_parameter_receives_gradient(ablations: list[str]) -> None:
    torch.manual_seed(2)
    assert still(md_iqa.build("compact", ablations=ablations)) == []


def test_small_enough_to_ship(network: md_iqa.MDIQA) -> None:
    assert parameters(network) < 3e6


def test_names_and_shapes_are_those_of_the_shipped_weights(network: md_iqa.MDIQA) -> None:
    """A run of an older iqgate must still load: rename nothing."""
    names = [f"{name} {tuple(one.shape)}" for name, one in network.state_dict().items()]
    assert len(names) == 290
    assert hashlib.sha256("\n".join(names).encode()).hexdigest()[:16] == "2e721eb4f5761be5"


def test_one_scale_is_the_middle_one() -> None:
    torch.manual_seed(3)
    network = md_iqa.build("compact", ablations=["one-scale"])
    assert network.taus.tolist() == pytest.approx([0.04])
    assert network.targets(torch.tensor([1.0])).shape == (1, 1, 81)
    assert network.served_outputs == ("score", "map", "spread")


def test_direct_regression_has_numbers_for_vectors() -> None:
    torch.manual_seed(4)
    network = md_iqa.build("compact", ablations=["direct-regression"]).eval()
    scores = torch.tensor([1.0, 4.0])
    assert network.targets(scores).tolist() == [0.25, 1.0]
    assert torch.allclose(network.estimate(network.targets(scores)), scores)
    with torch.no_grad():
        network.score.bias.fill_(0.5)
        pictures = torch.rand(2, 1, 256, 256)
        raw = network(pictures)
        score, score_map = network.served()(pictures)
    assert raw.shape == (2,)
    assert network.served_outputs == ("score", "map")
    assert torch.allclose(score, network.estimate(raw).clamp(0, 4), atol=1e-6)
    assert score_map.shape == (2, 16, 16)


def parabolas(network: md_iqa.MDIQA, scores: torch.Tensor) -> torch.Tensor:
    """The logarithm of equation 1's vectors."""
    j = torch.arange(81.0)
    return -((j - scores[:, None, None] * 20) ** 2) / (2 * (network.taus[:, None] * 81) ** 2)


def test_loss_is_equation_4(network: md_iqa.MDIQA) -> None:
    """At the target L2 and KL are nothing; away from it both count, KL by β."""
    targets = network.targets(torch.tensor([2.0]))
    # The logarithm of a Gaussian is a parabola; far out the Gaussian itself is zero.
    here, elsewhere = (parabolas(network, torch.tensor([score])) for score in (2.0, 3.0))
    assert float(network.loss(here, targets)) == pytest.approx(0, abs=1e-6)
    l2 = gaussian.distribution_loss(elsewhere, targets, 0.0)
    kl = gaussian.distribution_loss(elsewhere, targets, 1.0) - l2
    assert network.kl_weight == 0.1
    assert float(network.loss(elsewhere, targets)) == pytest.approx(float(l2 + 0.1 * kl), rel=1e-5)


def test_estimate_is_the_argmax(network: md_iqa.MDIQA) -> None:
    logits = parabolas(network, torch.tensor([1.0, 3.05]))
    assert network.estimate(logits).tolist() == pytest.approx([1.0, 3.05], abs=1e-4)


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
    with pytest.raises(KeyError, match="one-scale"):
        md_iqa.build("compact", ablations=["no-such"])


def test_compact_starts_from_the_cnn_s_weights_alone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="tf_efficientnet_lite0"):
        md_iqa.build("compact", weights=tmp_path)
    published = timm.create_model("tf_efficientnet_lite0").state_dict()
    torch.save(published, tmp_path / "tf_efficientnet_lite0.pth")
    network = md_iqa.build("compact", weights=tmp_path)
    name = "blocks.2.0.conv_dw.weight"
    assert torch.equal(network.cnn.state_dict()[name], published[name])


@pytest.mark.paper
def test_paper_is_the_sum_of_its_parts_and_runs() -> None:
    network = md_iqa.build("paper").eval()
    backbones = [
        timm.create_model(name, num_classes=0) for name in ("vit_base_patch16_224", "convnext_base")
    ]
    new = [
        *(network.offsets, network.mix, network.align, network.attend),
        *(network.fuse, network.score, network.weigh),
    ]
    # ConvNeXt's last norm, 2·1024, goes with its classifier.
    total = sum(parameters(part) for part in (*backbones, *new)) - 2 * 1024
    assert parameters(network) == total
    grey = torch.rand(1, 1, 224, 224)
    with torch.no_grad():
        raw = network(grey)
        assert raw.shape == (1, 3, 81)
        assert torch.allclose(network(grey.repeat(1, 3, 1, 1)), raw, atol=1e-5)


@pytest.mark.paper
def test_every_parameter_of_the_paper_preset_receives_gradient() -> None:
    torch.manual_seed(5)
    assert still(md_iqa.build("paper")) == []


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
