"""Robustness figures, of a bundle whose score is 4 less the mean of the picture."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.synthetic import write_bundle
from trainer import robustness
from trainer.datasets import CleanSlice, DatasetError, Entry, SimulatedSet
from trainer.recipe import Recipe
from trainer.robustness import Series
from trainer.simulation.ct import CtSubject

WHITE_HU, AIR_HU = 240.0, -1000.0


@pytest.fixture
def bundle(tmp_path: Path, recipe: Recipe) -> Path:
    return write_bundle(tmp_path / "ct", "CT", recipe.render.as_table())


def patient(share: float, number: int) -> CtSubject:
    """A slice whose left `share` is white and whose rest is black in the soft-tissue window."""
    hu = np.full((64, 64), AIR_HU, np.float32)
    hu[:, : round(64 * share)] = WHITE_HU
    return CtSubject(CleanSlice(hu, 4.0, float(number), "series", f"{number}"), 5e5)


def series(*shares: float, each_alone: bool = False) -> Series:
    slices = tuple(patient(share, number) for number, share in enumerate(shares))
    return Series("series", slices, each_alone)


def test_clean_slices_and_what_moves_their_scores(bundle: Path, recipe: Recipe) -> None:
    result = robustness.measure(bundle, recipe, [series(0.25, 0.5, 0.5)], limit=3.6, per_day=40)
    clean = result["clean"]["series"]
    assert (clean["n"], clean["reading"], clean["below_limit"]) == (3, "soft", 2)
    assert clean["median"] == pytest.approx(3.5, abs=0.01)
    assert clean["lowest"] == pytest.approx(3.5, abs=0.01)
    change = {what: one["series"] for what, one in result["changes"].items()}
    for what in ("mirrored", "upside down", "turned by 90°", "turned by 180°"):
        assert change[what]["largest"] == pytest.approx(0, abs=1e-5)
    # black comes in from the left and leaves at the right; white leaves at the bottom
    assert change["shifted across"]["largest"] == pytest.approx(0, abs=1e-5)
    assert change["shifted down"]["mean"] == pytest.approx(13 / 256 * 1.25 / 3, abs=0.01)
    # as much air about the patient again: less white
    assert change["field of view × 1.45"]["mean"] > 0.1
    assert change["matrix 256²"]["largest"] < 0.01
    # what is white in the soft-tissue window is grey in the lung window, and air is not black
    assert change["lung window"]["mean"] < 0
    assert change["lung window"]["n"] == 3


def test_a_series_alarms_once_and_digital_chests_are_one_each(bundle: Path, recipe: Recipe) -> None:
    real = series(0.1, 0.5, 0.5)
    digital = replace(series(0.1, 0.5, 0.1, 0.1), name="digital", each_alone=True)
    result = robustness.measure(bundle, recipe, [real, digital], limit=3.6, per_day=40)
    alarms = result["false_alarms"]
    assert (alarms["alarms"], alarms["acquisitions"]) == (2, 5)
    assert alarms["expected_a_day"] == pytest.approx(16)
    low, high = alarms["interval"]
    assert low < 0.4 < high
    assert alarms["expected_a_day_interval"] == pytest.approx([40 * low, 40 * high])


def test_no_alarm_bounds_the_rate_only(bundle: Path, recipe: Recipe) -> None:
    digital = series(*[0.1] * 20, each_alone=True)
    alarms = robustness.measure(bundle, recipe, [digital], limit=3, per_day=40)["false_alarms"]
    assert alarms["share"] == 0
    assert alarms["interval"][1] == pytest.approx(1 - 0.05 ** (1 / 20), abs=1e-3)


def test_detection_by_kind_and_severity(bundle: Path, recipe: Recipe) -> None:
    pictures = np.zeros((5, 1, 256, 256), np.float16)
    pictures[1], pictures[2], pictures[3], pictures[4] = 0.1, 0.2, 0.6, 0.9
    entries = tuple(
        Entry("a", f"{number}", kind, severity, {}, {}, {}, 0.0)
        for number, (kind, severity) in enumerate(
            [("clean", 0.0), ("rings", 0.5), ("rings", 0.5), ("rings", 1.0), ("rings", 1.0)]
        )
    )
    grid = SimulatedSet(pictures, entries, recipe.render.as_table())
    result = robustness.measure(
        bundle, recipe, [series(0.1)], limit=3.85, per_day=1, grid=grid, threads=1
    )
    assert list(result["detection"]) == ["rings"]
    half, full = result["detection"]["rings"]
    assert (half["severity"], half["n"], half["detected"]) == (0.5, 2, 1)
    assert (full["detected"], full["median"]) == (2, pytest.approx(3.25, abs=0.01))
    assert half["interval"] == pytest.approx([0.0945, 0.9055], abs=1e-3)
    assert [table.title for table in robustness.tables(result)] == [
        "Clean slices, limit 3.85",
        "Change of score",
        "False alarms",
        "Detected below 3.85",
    ]


def test_a_bundle_that_draws_otherwise_is_refused(tmp_path: Path, recipe: Recipe) -> None:
    other = write_bundle(
        tmp_path / "ct", "CT", recipe.render.as_table() | {"window_width_hu": 350.0}
    )
    with pytest.raises(DatasetError, match="renders otherwise"):
        robustness.measure(other, recipe, [series(0.1)], limit=2.5, per_day=40)
