"""TFKT: that what lies before the connector learns, its shapes, sizes and ablation."""

from __future__ import annotations

import pytest
import timm
import torch

from models.networks import tfkt

SCORES = torch.tensor([0.4, 3.6])
DEAD = 1e-5
"""A part whose gradients are all this far below the greatest learns nothing."""
PARTS = ("first", "connector", "second")


@pytest.fixture
def network() -> tfkt.TFKT:
    torch.manual_seed(0)
    return tfkt.build("compact")


def pictures(count: int = 2, side: int = 256) -> torch.Tensor:
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(5))


def by_part(gradients: dict[str, float]) -> dict[str, float]:
    return {
        part: max(g for name, g in gradients.items() if name.split(".")[0] == part)
        for part in PARTS
    }


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_every_parameter_receives_gradient(network, gradients):
    received = gradients(network, SCORES)
    assert [name for name, gradient in received.items() if gradient == 0] == []
    parts = by_part(received)
    assert min(parts.values()) > DEAD * max(parts.values())


def test_the_published_path_leaves_half_of_it_dead(gradients):
    """The picture, not the connector's map, before S, as published: the test above must see it."""

    class Published(tfkt.TFKT):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            self.connect(pictures)
            side = self.preset.connected
            picture = torch.nn.functional.adaptive_avg_pool2d(pictures, side)
            return self.second(picture).squeeze(1)

    torch.manual_seed(0)
    parts = by_part(gradients(Published(tfkt.PRESETS["compact"]), SCORES))
    assert parts["first"] == parts["connector"] == 0
    assert parts["second"] > 0


def test_the_second_sees_the_map_alone(network):
    network.eval()
    seen = []
    network.second.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        assert network(pictures()).shape == (2,)
        connected = network.connect(pictures())
    assert connected.shape == (2, 1, 32, 32)
    assert torch.equal(seen[0], connected)


def test_each_picture_is_stretched_by_its_own_range():
    dim, flat = torch.linspace(0.2, 0.4, 16).reshape(1, 4, 4), torch.full((1, 4, 4), 0.7)
    stretched = tfkt.stretched(torch.stack([dim, flat]))
    assert torch.allclose(stretched[0], torch.linspace(0, 1, 16).reshape(1, 4, 4), atol=1e-6)
    assert (stretched[1] == 0).all()


def test_scale_and_offset_of_a_picture_change_nothing(network):
    network.eval()
    with torch.no_grad():
        brighter = network(0.25 + pictures() / 2)
        assert torch.allclose(network(pictures()), brighter, atol=1e-4)


def test_scores_are_regressed_as_they_are(network):
    assert torch.equal(network.targets(SCORES), SCORES)
    assert torch.equal(network.estimate(SCORES), SCORES)
    assert float(network.loss(SCORES, SCORES + 2)) == pytest.approx(4.0)


def test_served_scores_stay_on_the_scale(network):
    network.eval()
    with torch.no_grad():
        network.second.head.fc.bias += 100
        assert network.served()(pictures())[0].tolist() == [4.0, 4.0]
    assert network.served_outputs == ("score",)


def test_evaluation_repeats_itself(network):
    network.eval()
    with torch.no_grad():
        assert torch.equal(network(pictures()), network(pictures()))


def test_frozen_first_stays_as_it_was(gradients):
    torch.manual_seed(0)
    network = tfkt.build("compact", ablations=["frozen-first"])
    before = {name: value.clone() for name, value in network.first.state_dict().items()}
    received = gradients(network, SCORES)
    for name, gradient in received.items():
        assert (gradient == 0) == name.startswith("first."), name
    for name, value in network.first.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("ablations", [[], ["frozen-first"]])
def test_phase_1_trains_the_first_that_phase_2_uses(ablations, gradients):
    torch.manual_seed(0)
    network = tfkt.build("compact", ablations=ablations)
    before = network.first.conv_stem.weight.detach().clone()
    phase_1 = network.phase_1()
    assert phase_1.preset.highest == 5.0
    assert min(gradients(phase_1, torch.tensor([1.0, 5.0])).values()) > 0
    assert not torch.equal(network.first.conv_stem.weight, before)
    frozen = not next(network.train().first.parameters()).requires_grad
    assert frozen == bool(ablations)


def test_compact_is_the_sum_of_its_parts(network):
    first = timm.create_model("tf_efficientnet_lite0", in_chans=1, num_classes=0)
    assert parameters(network.first) == parameters(first)
    assert parameters(network.connector) == 1280 * 1024 + 1024
    assert parameters(network) == sum(parameters(part) for part in network.children())
    assert parameters(network) < 6e6


def test_the_first_starts_from_local_weights(tmp_path):
    source = timm.create_model("tf_efficientnet_lite0")
    torch.save(source.state_dict(), tmp_path / "tf_efficientnet_lite0.pth")
    network = tfkt.build("compact", weights=tmp_path)
    assert torch.equal(network.first.conv_head.weight, source.conv_head.weight)


def test_unknown_names_are_told_the_known():
    with pytest.raises(KeyError, match="paper, compact"):
        tfkt.build("huge")
    with pytest.raises(KeyError, match="frozen-first"):
        tfkt.build("compact", ablations=["frozen-second"])


@pytest.mark.paper
def test_paper_preset_is_the_sum_of_its_parts_and_runs():
    torch.manual_seed(0)
    network = tfkt.build("paper")
    with torch.device("meta"):
        first = timm.create_model("tf_efficientnetv2_l", in_chans=1, num_classes=0)
    second = timm.create_model("swinv2_base_window8_256", img_size=64, in_chans=1, num_classes=1)
    parts = [parameters(first), 1280 * 4096 + 4096, parameters(second)]
    assert [parameters(part) for part in network.children()] == parts
    assert parameters(network) == sum(parts) == 209_371_417
    # Batch statistics of the picture itself: none are learned yet, and 80 blocks deep it matters.
    with torch.no_grad():
        network.train()
        picture = pictures(1, 512)
        assert network.connect(picture).shape == (1, 1, 64, 64)
        assert network(picture).shape == (1,)
