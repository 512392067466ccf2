"""A procedure's run as a bundle: what its card says, that its graph answers, what is refused."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import timm
from safetensors.torch import save_file

from models import networks
from models.card import file_sha256, load_bundle
from models.render import CtWindow, RenderSpec
from service.__main__ import main as gate
from tests.trainer import layouts
from tests.trainer.test_trainer_procedures import ROOT, TINY
from trainer import procedures
from trainer.__main__ import main
from trainer.evaluation import session
from trainer.procedures.experiment import sources_of

LITE0 = "tf_efficientnet_lite0"


def reproduce(name: str, folder: Path, *overrides: str, weights: Path | None = None) -> Path:
    """Run a procedure on the data in the folder; the run."""
    run = folder / "run"
    arguments = ["reproduce", name, "--data", str(folder / "data"), "--run", str(run)]
    arguments += ["--weights", str(weights)] if weights else []
    for override in (*TINY, *overrides):
        arguments += ["--set", override]
    assert main(arguments) == 0
    return run


@pytest.fixture(scope="module")
def tfkt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of TFKT's two phases that started from a file of weights."""
    folder = tmp_path_factory.mktemp("tfkt")
    layouts.write_kadid10k(folder / "data", 4)
    layouts.write_ldctiqac2023(folder / "data", 4)
    weights = folder / "weights"
    weights.mkdir()
    save_file(timm.create_model(LITE0).state_dict(), str(weights / f"{LITE0}.safetensors"))
    origin = {LITE0: {"source": "a test", "licence": "Apache-2.0"}}
    (weights / "sources.json").write_text(json.dumps(origin), "utf-8")
    short = [f"phase_{n}.{key}" for n in (1, 2) for key in ("epochs=2", "learning_rate=1e-3")]
    return reproduce("tfkt", folder, "data.test=", "data.validation=0.25", *short, weights=weights)


@pytest.fixture(scope="module")
def md_iqa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("md-iqa")
    layouts.write_ldctiqac2023(folder / "data", 4)
    layouts.write_folder(folder / "data/unlabelled", 1)
    return reproduce(
        "md-iqa",
        folder,
        "data.test=",
        "data.fractions=[0.5,0.25,0.25]",
        "members=[{seed=1, learning_rate=1e-3}]",
        *(
            f"{step}.{key}"
            for step in ("supervised", "joint")
            for key in ("epochs=2", "batch_size=4")
        ),
    )


@pytest.fixture(scope="module")
def ms_iqa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ms-iqa")
    layouts.write_pet_ct_iqa_ds(folder / "data", 3)
    return reproduce(
        "ms-iqa", folder, "data.folds=2", "supervised.epochs=1", "supervised.batch_size=4"
    )


def export(training: Path, out: Path, *words: str) -> int:
    return main(["export", "--run", str(training), "--out", str(out), *words])


def check_graph(folder: Path, side: int, channels: int) -> None:
    """The graph gives the golden outputs, and takes any batch of the card's input."""
    bundle = load_bundle(folder)
    assert bundle.card.input_shape == (channels, side, side)
    golden = np.load(bundle.golden_path)
    running = session(bundle.model_path)
    for batch in (1, len(golden["input"])):
        outputs = running.run(list(bundle.card.outputs), {"input": golden["input"][:batch]})
        for name, values in zip(bundle.card.outputs, outputs, strict=True):
            assert np.abs(values - golden[name][:batch]).max() <= golden["tolerance"], name


@pytest.mark.training
def test_tfkt_becomes_a_bundle_with_all_it_learned_from(
    tfkt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundles/ct-tfkt"
    # KADID-10k's licence is nobody's to guess.
    assert export(tfkt / "phase-2", out) == 2
    assert "--set data.natural.licence=" in capsys.readouterr().err
    assert not out.exists()

    assert export(tfkt / "phase-2", out, "--set", "data.natural.licence=its own") == 0
    check_graph(out, 256, 1)
    card = load_bundle(out).card
    assert (card.name, card.architecture, card.preset, card.modality) == (
        "ct-tfkt", "tfkt", "compact", "CT",
    )  # fmt: skip
    assert card.render == CtWindow(256, 256, -300.0, 1400.0)
    assert (card.scale.worst, card.scale.best) == (0.0, 4.0)
    trained = json.loads((tfkt / "phase-2/training.json").read_text("utf-8"))["images"]
    assert {one.name: (one.licence, one.images) for one in card.training} == {
        "kadid10k": ("its own", trained["kadid10k"]),
        "ldctiqac2023 train": ("CC BY 4.0", trained["ldctiqac2023 train"]),
    }
    # Neither those that chose the epoch nor those it is measured on were learned from.
    assert trained["ldctiqac2023 train"] < 16
    rows = json.loads((tfkt / "measured.json").read_text("utf-8"))
    assert list(card.measured) == ["TFKT, A"]
    assert card.measured["TFKT, A"]["rmse"] == pytest.approx(rows[0]["rmse"], abs=1e-4)

    assert [(w.backbone, w.source, w.licence) for w in card.weights] == [
        (LITE0, "a test", "Apache-2.0")
    ]
    file = tfkt.parent / "weights" / card.weights[0].file
    assert card.weights[0].sha256 == file_sha256(file)
    capsys.readouterr()
    assert gate(["bundle", "show", "--bundles", str(out.parent)]) == 0
    shown = capsys.readouterr().out
    assert "[[weights]]" in shown
    assert card.weights[0].sha256 in shown
    assert gate(["bundle", "verify", "--bundles", str(out.parent)]) == 0


@pytest.mark.training
def test_a_part_of_the_network_is_no_bundle(
    tfkt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(tfkt / "phase-1", tmp_path, "--set", "data.natural.licence=its own") == 2
    assert "export the last one" in capsys.readouterr().err


@pytest.mark.training
def test_md_iqa_becomes_a_bundle_and_is_evaluated(
    md_iqa: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    licence = ("--set", "data.unlabelled.licence=ours", "--set", "data.unlabelled.attribution=us")
    assert export(md_iqa / "joint", out, *licence) == 0
    check_graph(out, 256, 1)
    card = load_bundle(out).card
    assert card.outputs == ("score", "map", "spread")
    # The ensemble that made the pseudo labels learned from the same eight.
    assert {one.name: one.images for one in card.training} == {
        "folder in unlabelled": 4,
        "ldctiqac2023 train": 8,
    }
    assert list(card.measured) == ["MD, SS, own split"]
    assert card.weights == ()
    layouts.write_folder(tmp_path / "scored")
    capsys.readouterr()
    said = ["evaluate", "--bundle", str(out), "--data", str(tmp_path / "scored"), "--json"]
    assert main(said) == 0
    figures = tmp_path / "figures.json"
    figures.write_text(capsys.readouterr().out, "utf-8")
    # What evaluate says goes onto a card as it is, intervals and all.
    member = tmp_path / "member"
    measured = ("--measured", f"elsewhere={figures}")
    assert export(md_iqa / "member-1", member, *licence, *measured) == 0
    told = load_bundle(member).card.measured
    assert set(told) == {"MD, no SS, own split", "elsewhere"}
    assert set(told["elsewhere"]["intervals"]) == {"plcc", "srocc", "krocc", "overall", "rmse"}


@pytest.mark.training
def test_another_kind_of_drawing_passes_through(
    ms_iqa: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, fold = tmp_path / "bundle", ms_iqa / "fold-2"
    assert export(fold, out) == 2
    said = capsys.readouterr().err
    assert "has no [bundle]" in said
    for key in ("name", "version", "modality", "render", "scale", "limitations"):
        assert key in said
    words = [
        "data.scored.licence=none: stays here",
        "bundle.name=pet-ms-iqa",
        "bundle.version=1.0.0",
        "bundle.modality=PT",
        'bundle.limitations=["made for a test"]',
        "bundle.render.kind=pet-ct-fused",
        "bundle.render.window_center_hu=40",
        "bundle.render.window_width_hu=400",
        "bundle.render.suv_top=10",
        "bundle.scale.worst=0",
        "bundle.scale.best=4",
    ]
    sets = [word for one in words for word in ("--set", one)]
    assert export(fold, out, *sets) == 2
    assert "bundle.scale.meaning: Field required" in capsys.readouterr().err
    sets += ["--set", "bundle.scale.meaning=a radiologist's"]
    assert export(fold, out, *sets) == 2
    assert "--data" in capsys.readouterr().err
    assert export(fold, out, *sets, "--set", "bundle.scale.best=5", "--data", "x") == 2
    assert "to best = 4" in capsys.readouterr().err
    assert export(fold, out, *sets, "--set", "bundle.render.rows=9", "--data", "x") == 2
    assert "(3, 9, 224)" in capsys.readouterr().err
    assert not out.exists()

    assert export(fold, out, *sets, "--data", str(ms_iqa.parent / "data")) == 0
    check_graph(out, 224, 3)
    card = load_bundle(out).card
    assert card.render.kind == "pet-ct-fused"
    assert [method.split(" (")[0] for method in card.measured] == ["MS-IQA, fold 2"]


@pytest.mark.training
def test_a_run_that_did_not_end_is_no_bundle(
    md_iqa: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(md_iqa, run)
    (run / "configuration.json").unlink()
    words = ("--set", "data.unlabelled.licence=ours")
    assert export(run / "joint", tmp_path / "bundle", *words) == 2
    assert "let `reproduce` run to its end" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["md-iqa", "tfkt", "miqanet"])
def test_a_recipes_drawing_fits_its_network(name: str) -> None:
    path = ROOT / f"conf/recipes/{name}.toml"
    recipe = procedures.parse(path.read_text("utf-8"), name)
    assert recipe.bundle is not None
    assert recipe.bundle.limitations
    spec = RenderSpec.from_table({"rows": 8, "columns": 8} | recipe.bundle.render)
    assert spec.channels == networks.build(recipe.architecture, "compact").preset.channels
    assert "data.scored" in dict(sources_of(recipe))
    raw = tomllib.loads(path.read_text("utf-8"))
    assert raw["bundle"]["render"]["kind"] == spec.kind


def test_a_run_of_fit_wants_its_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(tmp_path, tmp_path / "bundle") == 2
    assert "python -m trainer fit" in capsys.readouterr().err
