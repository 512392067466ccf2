"""The registry: names to networks, one at a time; local weight files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch

from models import networks
from models.networks.backbone import backbone, weight_file
from models.networks.network import Network

ROOT = Path(__file__).parents[2]
BUILT = [
    name
    for name, module in networks.ARCHITECTURES.items()
    if (ROOT / f"{module.replace('.', '/')}.py").exists()
]


@pytest.mark.parametrize("architecture", BUILT)
def test_both_presets_are_there(architecture):
    assert {"paper", "compact"} <= set(networks.presets(architecture))


@pytest.mark.parametrize("architecture", BUILT)
def test_compact_answers_to_what_the_trainer_asks(architecture):
    torch.manual_seed(0)
    network = networks.build(architecture, "compact").eval()
    assert isinstance(network, Network)
    preset = network.preset
    pictures = torch.rand(2, preset.channels, preset.side, preset.side)
    scores = torch.tensor([1.0, 3.0])
    with torch.no_grad():
        raw = network(pictures)
        loss = network.loss(raw, network.targets(scores))
        estimate = network.estimate(raw)
        outputs = dict(zip(network.served_outputs, network.served()(pictures), strict=True))
    assert loss.shape == ()
    assert torch.isfinite(loss)
    assert estimate.shape == outputs["score"].shape == (2,)
    assert network.served_outputs[0] == "score"
    assert set(outputs) <= {"score", "map", "weight", "spread"}
    assert all(output.shape[0] == 2 for output in outputs.values())


def test_unknown_architecture_is_told_the_known():
    with pytest.raises(KeyError, match="md-iqa, miqanet, ms-iqa, tfkt"):
        networks.build("vgg", "paper")


def test_an_architecture_does_not_pull_in_the_others():
    code = (
        "import sys; from models import networks\n"
        "assert 'torch' not in sys.modules\n"
        "networks.presets('tfkt')\n"
        "others = {'models.networks.' + name for name in ('ms_iqa', 'md_iqa', 'miqanet')}\n"
        "assert not others & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_weights_come_from_a_local_file(tmp_path):
    torch.manual_seed(0)
    source = timm.create_model("resnet10t")
    torch.save(source.state_dict(), tmp_path / "resnet10t.pth")
    for weights in (tmp_path, tmp_path / "resnet10t.pth"):
        torch.manual_seed(1)
        grey = backbone("resnet10t", weights, features_only=True, in_chans=1)
        assert torch.equal(grey.layer1[0].conv1.weight, source.layer1[0].conv1.weight)
        # timm sums the colours' kernels for a picture of one channel.
        stem = source.conv1[0].weight.sum(dim=1, keepdim=True)
        assert torch.allclose(grey.state_dict()["conv1.0.weight"], stem)


def test_a_missing_weight_file_is_named(tmp_path):
    (tmp_path / "resnet18.pth").touch()
    with pytest.raises(FileNotFoundError, match=r"resnet50\.safetensors"):
        networks.build("ms-iqa", "paper", weights=tmp_path)
    with pytest.raises(FileNotFoundError, match="resnet50"):
        weight_file("resnet50", tmp_path / "resnet18.pth")
    assert weight_file("resnet18", tmp_path) == tmp_path / "resnet18.pth"
