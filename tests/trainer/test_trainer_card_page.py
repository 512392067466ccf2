"""A bundle's page says what its card says, and the pages that are kept are the cards' own."""

from dataclasses import replace
from pathlib import Path

import pytest

from models.card import Bundle, load_bundle
from trainer.__main__ import main
from trainer.card_page import page, write_page

ROOT = Path(__file__).parents[2]
BUNDLES = sorted(path.parent for path in (ROOT / "models/bundles").glob("*/card.toml"))

MEASURED = {
    "held out": {
        "n": 26,
        "groups": 4,
        "srocc": 0.951,
        "plcc": 0.94,
        "krocc": 0.8,
        "overall": 2.691,
        "rmse": 0.3,
        "intervals": {"srocc": [0.9, 0.97]},
        "severities": [0.0, 1.0],
        "by_kind": {
            "over_smoothing": {"mean_score": [3.9, 2.1], "mean_target": [4.0, 2.0], "falls": True},
            "wrap": {"mean_score": [3.9, 3.9], "mean_target": [4.0, 3.0], "falls": False},
        },
    },
    "robustness": {
        "limit": 2.5,
        "false_alarms": {
            "alarms": 1,
            "acquisitions": 20,
            "share": 0.05,
            "interval": [0.001, 0.25],
            "acquisitions_per_day": 30.0,
            "expected_a_day": 1.5,
            "expected_a_day_interval": [0.0, 7.5],
        },
    },
}


@pytest.fixture
def bundle() -> Bundle:
    """A shipped bundle with figures that are known."""
    shipped = load_bundle(BUNDLES[0])
    return replace(shipped, card=replace(shipped.card, measured=MEASURED))


def test_figures_come_with_their_intervals(bundle: Bundle) -> None:
    text = page(bundle)
    assert "| held out | 26 | 4 | 0.951 [0.900, 0.970] | 0.940 | 0.800 | 2.691 | 0.300 |" in text
    assert "| over smoothing | 3.90 (4.00) | 2.10 (2.00) | yes |" in text
    assert "| wrap | 3.90 (4.00) | 3.90 (3.00) | **no** |" in text
    assert "1 in 20 clean acquisitions, share 0.050 [0.001, 0.250]" in text
    assert "1.50 [0.000, 7.500] alarms a day" in text
    assert "these are fewer" in text


def test_every_limitation_and_licence_is_named(bundle: Bundle) -> None:
    text = page(bundle)
    for line in bundle.card.limitations:
        assert line in text
    for source in bundle.card.training:
        assert source.name in text
        assert source.licence in text


def test_pictures_beside_the_page_are_shown(bundle: Bundle, tmp_path: Path) -> None:
    name = f"{bundle.card.name}-noise-at-severity-1.png"
    (tmp_path / name).write_bytes(b"")
    text = write_page(bundle, tmp_path).read_text("utf-8")
    assert f"![noise at severity 1]({name})" in text


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda folder: str(folder.name))
def test_kept_pages_are_the_cards_own(folder: Path, tmp_path: Path) -> None:
    kept = ROOT / "docs/bundles"
    for picture in kept.glob("*.png"):
        (tmp_path / picture.name).write_bytes(b"")
    assert main(["page", "--bundle", str(folder), "--out", str(tmp_path)]) == 0
    fresh = (tmp_path / f"{folder.name}.md").read_text("utf-8")
    assert (kept / f"{folder.name}.md").read_text("utf-8") == fresh, (
        f"docs/bundles/{folder.name}.md is older than its card: "
        f"python -m trainer page --bundle models/bundles/{folder.name}"
    )
