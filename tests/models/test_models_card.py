"""The card: written by the trainer, read back, and what is said about a broken one."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from models.card import (
    CardError,
    StartingWeights,
    file_sha256,
    load_bundle,
    load_bundles,
    parse_card,
)
from trainer.cards import card_text, fitted
from trainer.recipe import load_recipe

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "conf/recipes/ct-md-iqa-compact.toml"
WEIGHTS = StartingWeights("resnet50", "resnet50.pth", "ab" * 32, "timm hub: timm/x", "Apache-2.0")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle folder whose files are no network: a card reads only their digests."""
    folder = tmp_path / "a-bundle"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"graph")
    (folder / "golden.npz").write_bytes(b"golden")
    card = fitted(
        load_recipe(RECIPE),
        {
            "pictures": {"lidc-idri-0314": 12, "iqgate-chest": 3},
            "without": "x",
            "weights": [asdict(WEIGHTS)],
        },
        {"held out": {"n": 3, "srocc": 0.91234567, "intervals": {"srocc": [0.9, 0.95]}}},
    )
    text = card_text(
        replace(
            card,
            input_shape=(1, 256, 256),
            outputs=("score", "map", "spread"),
            sha256={name: file_sha256(folder / name) for name in ("model.onnx", "golden.npz")},
        )
    )
    (folder / "card.toml").write_text(text, "utf-8")
    return folder


def test_round_trip(bundle: Path) -> None:
    card = load_bundle(bundle).card
    recipe = load_recipe(RECIPE)
    assert card.name == "ct-md-iqa-compact-without-x"
    assert card.render == recipe.render
    assert card.scale == recipe.scale
    assert card.scale.higher_is_better
    assert card.input_shape == (1, 256, 256)
    assert card.outputs == ("score", "map", "spread")
    assert card.limitations == recipe.limitations
    assert {source.name: source.images for source in card.training} == {
        "lidc-idri-0314": 12,
        "iqgate-chest": 3,
    }
    assert all(source.licence and source.attribution for source in card.training)
    assert card.measured["held out"] == {
        "n": 3,
        "srocc": 0.9123,
        "intervals": {"srocc": [0.9, 0.95]},
    }
    assert card.weights == (WEIGHTS,)
    assert parse_card(card_text(card)) == card
    assert [found.digest for found in load_bundles(bundle.parent)] == [load_bundle(bundle).digest]


def test_a_card_without_weights_began_from_scratch(bundle: Path) -> None:
    text = (bundle / "card.toml").read_text("utf-8")
    start = text.index("[[weights]]")
    assert parse_card(text[:start] + text[text.index("[measured") :]).weights == ()


@pytest.mark.parametrize("path", sorted(ROOT.glob("*/bundles/*/card.toml")), ids=str)
def test_bundles_here_have_the_evaluations_own_keys(path: Path) -> None:
    allowed = {"n", "groups", "plcc", "srocc", "krocc", "overall", "rmse", "intervals"}
    allowed |= {"severities", "mean_score", "mean_target", "by_kind", "by_group"}
    of_robustness = {"bundle", "limit", "clean", "changes", "false_alarms", "detection"}
    measured = load_bundle(path.parent).card.measured
    assert measured
    for table in measured.values():
        if "clean" in table:
            assert set(table) <= of_robustness
            continue
        assert set(table) <= allowed
        for name, (low, high) in table["intervals"].items():
            assert low <= table[name] <= high


def test_changed_file_is_named(bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes(b"another graph")
    with pytest.raises(CardError, match=r"model\.onnx: differs"):
        load_bundle(bundle)


def test_missing_file_is_named(bundle: Path) -> None:
    (bundle / "golden.npz").unlink()
    with pytest.raises(CardError, match=r"golden\.npz: listed .* missing"):
        load_bundle(bundle)


@pytest.mark.parametrize("key", ["preset", "modality", "outputs"])
def test_missing_key_is_named(bundle: Path, key: str) -> None:
    lines = (bundle / "card.toml").read_text("utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith(key))
    with pytest.raises(CardError, match=f"key '{key}' is missing"):
        parse_card(text)


def test_unlisted_model_is_refused(bundle: Path) -> None:
    lines = (bundle / "card.toml").read_text("utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith('"model.onnx"'))
    (bundle / "card.toml").write_text(text, "utf-8")
    with pytest.raises(CardError, match="must list"):
        load_bundle(bundle)


def test_no_card(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="cannot be read"):
        load_bundle(tmp_path)


def test_not_toml() -> None:
    with pytest.raises(CardError, match="not TOML"):
        parse_card("name = ")
