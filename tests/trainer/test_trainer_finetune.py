"""Fine-tuning: a bundle's weights back in PyTorch, groups apart, before and after, a new bundle."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.card import load_bundle
from service.score.engines.onnxruntime import OnnxRuntimeEngine
from trainer import finetune, from_bundle
from trainer.__main__ import main
from trainer.datasets import load

BUNDLE = Path(__file__).parents[2] / "models/bundles/ct-md-iqa-compact"


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """Noisy discs of six patients, scored harshly: half of what the bundle would say."""
    (tmp_path / "site/images").mkdir(parents=True)
    y, x = np.mgrid[:96, :96] - 48
    with (tmp_path / "site/scores.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "score", "patient"])
        for patient in range(6):
            disc = np.hypot(x, y) < 30 + 2 * patient
            for level in range(3):
                rng = np.random.default_rng((patient, level))
                grey = np.where(disc, 0.5, 0) + rng.normal(0, 0.02 + 0.1 * level, disc.shape)
                name = f"{patient}-{level}.png"
                Image.fromarray(np.uint8(np.clip(grey, 0, 1) * 255)).save(
                    tmp_path / "site/images" / name
                )
                table.writerow([name, 2 - 0.8 * level, f"patient {patient}"])
    return tmp_path / "site"


@pytest.fixture
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "FEWEST_IMAGES", 12)
    monkeypatch.setattr(finetune, "FEWEST_GROUPS", 6)


def test_a_bundles_network_computes_what_the_bundle_computes() -> None:
    network, bundle, pictures = from_bundle.load(BUNDLE)
    with torch.no_grad():
        scores = network.served()(torch.from_numpy(pictures))[0].numpy()
    expected = OnnxRuntimeEngine(bundle).infer(pictures)["score"]
    assert np.abs(scores - expected).max() < 1e-4


@pytest.mark.usefixtures("few_are_enough")
@pytest.mark.training
def test_a_site_has_its_bundle_its_figures_and_its_gain(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    status = main([
        "finetune", "--bundle", str(BUNDLE), "--data", str(scored), "--group", "patient",
        "--out", str(out), "--epochs", "6", "--learning-rate", "3e-5", "--threads", "1",
    ])  # fmt: skip
    assert status == 0
    said = capsys.readouterr().out
    assert "trained on 12 images of 4 groups; held out: 6 of 2 groups" in said
    bundle = load_bundle(out / "ct-md-iqa-compact-site")
    assert bundle.card.name == "ct-md-iqa-compact-site"
    assert bundle.card.training[-1].name == "site"
    assert bundle.card.training[-1].images == 12
    assert "Fine-tuned on 12 images of 4 groups" in bundle.card.limitations[-1]
    assert OnnxRuntimeEngine(bundle).golden_difference < 1e-3
    assert bundle.digest != load_bundle(BUNDLE).digest
    measured = json.loads((out / "measured.json").read_text())
    before, after = measured["site, before"], measured["site, fine-tuned"]
    assert after["rmse"] < before["rmse"], "it learned how harshly this site scores"
    assert measured["gain"]["rmse"]["value"] == pytest.approx(after["rmse"] - before["rmse"])
    low, high = measured["gain"]["rmse"]["interval"]
    assert low <= measured["gain"]["rmse"]["value"] <= high
    with np.load(bundle.golden_path) as golden, np.load(BUNDLE / "golden.npz") as old:
        assert np.array_equal(golden["input"], old["input"]), "no picture of the site in it"


def test_too_few_images_are_refused(scored: Path, tmp_path: Path) -> None:
    start = finetune.start_from_bundle(BUNDLE)
    images = load("folder", scored, group="patient").labelled
    with pytest.raises(ValueError, match="18 scored images of 6 groups are too few"):
        finetune.finetune(start, images, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_gain_that_is_none_is_told() -> None:
    one = {"n": 6, "groups": 2, "srocc": 0.9, "rmse": 0.5, "intervals": {"srocc": [0.8, 1.0]}}
    text = "\n".join(
        finetune.lines(
            {
                "site, before": one,
                "site, fine-tuned": one,
                "gain": {
                    name: {"value": 0.0, "interval": [-0.1, 0.1]} for name in ("srocc", "rmse")
                },
                "trained_on": {"images": 12, "groups": 4},
            }
        )
    )
    assert "nothing shows that it became better" in text
