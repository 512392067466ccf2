"""MIQANet: its branches and their balance, its size, its ablations, and that all of it learns."""

import pytest
import torch

from models import networks
from models.networks import miqanet
from models.networks.miqanet import MIQANet
from models.networks.small_cnn import LeNet, SimpleCNN


@pytest.fixture(scope="module")
def network() -> MIQANet:
    torch.manual_seed(0)
    return miqanet.build("compact")


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def still(network: MIQANet) -> list[str]:
    """The parameters without gradient after two training steps.

    Two: timm starts the last norm of each residual block at zero, and the offsets start at zero
    too, so what lies before them moves from the second step on.
    """
    torch.manual_seed(1)
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
    pictures = torch.rand(2, 1, 224, 224)
    targets = network.targets(torch.tensor([0.5, 3.5]))
    network.train()
    for _ in range(2):
        optimiser.zero_grad()
        network.loss(network(pictures), targets).backward()
        optimiser.step()
    return [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or parameter.grad.abs().max() == 0
    ]


def test_every_parameter_receives_gradient() -> None:
    torch.manual_seed(2)
    assert still(miqanet.build("compact")) == []


@pytest.mark.parametrize("ablation", ["cnn-only", "without-adaptive"])
def test_every_parameter_of_an_ablation_receives_gradient(ablation: str) -> None:
    torch.manual_seed(3)
    assert still(miqanet.build("compact", ablations=[ablation])) == []


def test_the_cnns_score_teaches_the_swin_through_the_offsets() -> None:
    torch.manual_seed(4)
    one = miqanet.build("compact").eval()
    with torch.no_grad():
        one.offsets.weight.normal_(0, 0.01)
    (score, weight), _ = one.branches(torch.rand(1, 1, 224, 224))
    (score * weight).sum().backward()
    for name, parameter in one.swin.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_alpha_starts_at_the_papers_value_and_weighs_the_swin(network: MIQANet) -> None:
    assert float(network.balance.detach().sigmoid()) == pytest.approx(0.8)
    pictures = torch.rand(2, 1, 224, 224)
    network.eval()
    with torch.no_grad():
        (s_cnn, w_cnn), (s_swin, w_swin) = network.branches(pictures)
        by_cnn, by_swin = (s_cnn * w_cnn).mean((1, 2)), (s_swin * w_swin).mean((1, 2))
        assert torch.allclose(network(pictures), 0.2 * by_cnn + 0.8 * by_swin, atol=1e-5)


def test_without_the_adaptive_parameter_branches_count_alike() -> None:
    torch.manual_seed(5)
    fixed = miqanet.build("compact", ablations=["without-adaptive"])
    assert fixed.alpha == 0.5
    assert "balance" not in dict(fixed.named_parameters())


def test_equation_6_normalises_the_weights(network: MIQANet) -> None:
    network.eval()
    with torch.no_grad():
        score, weight = network.patches(torch.rand(2, 1, 224, 224))
    assert score.shape == weight.shape == (2, 14, 14)
    assert (weight > 0).all()
    assert torch.allclose(weight.mean((1, 2)), torch.ones(2))


def test_patches_without_any_weight_still_have_a_score() -> None:
    torch.manual_seed(10)
    one = miqanet.build("compact").eval()
    with torch.no_grad():
        for decoder in (one.cnn_decoder, one.swin_decoder):
            decoder.attention.weight.normal_(0, 1e4)
            decoder.attention.bias.fill_(-1e6)
        score, score_map, weight = one.served()(torch.rand(1, 1, 224, 224))
    assert (weight == 0).any()
    assert score.isfinite().all()
    assert score_map.isfinite().all()


def test_served_map_and_weight_explain_the_score(network: MIQANet) -> None:
    pictures = torch.rand(3, 1, 224, 224)
    network.eval()
    with torch.no_grad():
        score, score_map, weight = network.served()(pictures)
        estimate = network.estimate(network(pictures))
    assert score.shape == (3,)
    assert torch.allclose(score, estimate, atol=1e-5)
    assert torch.allclose((score_map * weight).mean((1, 2)), score, atol=1e-5)
    assert torch.allclose(weight.mean((1, 2)), torch.ones(3), atol=1e-5)


def test_served_score_keeps_to_its_scale() -> None:
    torch.manual_seed(6)
    wild = miqanet.build("compact").eval()
    with torch.no_grad():
        for decoder in (wild.cnn_decoder, wild.swin_decoder):
            decoder.score.bias.fill_(9.0)
        score, score_map, _ = wild.served()(torch.rand(1, 1, 224, 224))
    assert float(score) == float(score_map.max()) == 4.0


def test_targets_and_estimate_are_inverse(network: MIQANet) -> None:
    scores = torch.tensor([0.0, 1.3, 4.0])
    assert network.targets(scores).max() == 1
    assert torch.allclose(network.estimate(network.targets(scores)), scores)


def test_the_swin_moves_the_cnns_taps() -> None:
    """Offsets start at zero; once they are not, the CNN's own score depends on them."""
    torch.manual_seed(7)
    one = miqanet.build("compact").eval()
    pictures = torch.rand(1, 1, 224, 224)
    with torch.no_grad():
        (before, _), _ = one.branches(pictures)
        one.offsets.weight.normal_(0, 0.1)
        (after, _), _ = one.branches(pictures)
    assert (before - after).abs().max() > 1e-4


def test_compact_is_small(network: MIQANet) -> None:
    assert parameters(network) < 3e6


@pytest.mark.parametrize(("backbone", "cells"), [(SimpleCNN, (14,)), (LeNet, (112, 56, 56))])
def test_small_backbones_tell_their_widths(
    backbone: type[SimpleCNN] | type[LeNet], cells: tuple[int, ...]
) -> None:
    torch.manual_seed(8)
    net = backbone(3)
    maps = net(torch.rand(1, 3, 224, 224))
    assert tuple(one.shape[1] for one in maps) == net.channels
    assert tuple(one.shape[-1] for one in maps) == cells
    assert tuple(224 // side for side in cells) == net.reductions


def test_simple_cnn_pools_largest_and_smallest() -> None:
    net = SimpleCNN(1)
    pictures = torch.rand(1, 1, 32, 32)
    answers = net.conv(pictures)[..., :16, 16:]
    cell = net(pictures)[0][0, :, 0, 1]
    assert torch.allclose(cell[:50], answers.amax((0, 2, 3)))
    assert torch.allclose(cell[50:], answers.amin((0, 2, 3)))


@pytest.mark.parametrize(
    ("ablations", "said"),
    [
        (["vgg19", "lenet"], "exclude one another"),
        (["cnn-only", "swin-only"], "exclude one another"),
        (["vgg19", "swin-only"], "exclude one another"),
    ],
)
def test_ablations_that_contradict_are_refused(ablations: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        networks.build("miqanet", "paper", ablations=ablations)


@pytest.mark.parametrize("ablation", ["vgg19", "swin-only", "swin-l"])
def test_compact_keeps_its_own_branches(ablation: str) -> None:
    with pytest.raises(ValueError, match="take preset paper"):
        networks.build("miqanet", "compact", ablations=[ablation])


def test_unknown_names_are_told_the_known() -> None:
    with pytest.raises(KeyError, match="paper, compact"):
        miqanet.build("huge")
    with pytest.raises(KeyError, match="without-adaptive"):
        miqanet.build("compact", ablations=["no-such"])


@pytest.mark.slow
def test_paper_size_is_the_published_one() -> None:
    network = miqanet.build("paper")
    assert parameters(network) == pytest.approx(137.65e6, rel=0.02)
    assert parameters(network.cnn) == pytest.approx(21.28e6, rel=1e-3)
    assert parameters(network.swin) == pytest.approx(86.74e6, rel=1e-3)


@pytest.mark.paper
@pytest.mark.parametrize(
    "row",
    [*miqanet.TABLE_IV, *miqanet.TABLE_VI, ("lenet",), ("lenet", "cnn-only")],
    ids="+".join,
)
def test_every_row_of_the_papers_tables_builds_and_runs(row: tuple[str, ...]) -> None:
    network = networks.build("miqanet", "paper", ablations=row).eval()
    assert isinstance(network, MIQANet)
    names = {name for name, _ in network.named_children()}
    assert ("cnn_decoder" in names) == ("swin-only" not in row)
    assert ("swin_decoder" in names) == ("cnn-only" not in row)
    single = "cnn-only" in row or "swin-only" in row
    learned = not single and "without-adaptive" not in row
    assert ("balance" in dict(network.named_parameters())) == learned
    with torch.no_grad():
        score, score_map, weight = network.served()(torch.rand(1, 1, 224, 224))
    assert score.shape == (1,)
    assert score_map.shape == weight.shape == (1, 14, 14)


@pytest.mark.paper
def test_paper_takes_grey_and_colour_alike() -> None:
    """A grey picture is the colour picture with three equal channels (LIVE is in colour)."""
    torch.manual_seed(9)
    network = miqanet.build("paper").eval()
    grey = torch.rand(1, 1, 224, 224)
    with torch.no_grad():
        assert torch.allclose(network(grey), network(grey.repeat(1, 3, 1, 1)), atol=1e-6)
