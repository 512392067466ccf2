"""Targets: four for the clean slice, falling with severity."""

import itertools

import numpy as np
import pytest

from trainer import targets
from trainer.degradations import Scan, at_severity
from trainer.phantom import SPACING_MM, Chest
from trainer.recipe import Recipe, RecipeError, TargetMetric, parse_recipe


@pytest.mark.parametrize("kind", ["noise", "views"])
def test_target_falls_with_severity(recipe: Recipe, kind: str) -> None:
    rng = np.random.default_rng(1)
    hu = Scan.of(Chest.ordinary().slice(120.0), SPACING_MM, 3e5).acquired(rng)
    scan = Scan.of(hu, SPACING_MM, 3e5)
    clean = recipe.render.draw(hu)
    names = [target.name for target in recipe.targets]
    scores = []
    for severity in targets.KNOT_SEVERITIES:
        degradation = at_severity(severity, 0) if kind == "noise" else at_severity(0, severity)
        picture = recipe.render.draw(scan.degraded(degradation, rng))
        scores.append(targets.score(targets.measure(picture, clean, names), recipe.targets))
    assert scores[0] == pytest.approx(4, abs=1e-4)
    assert all(lower < higher - 0.05 for higher, lower in itertools.pairwise(scores))
    assert scores[-1] < 2


def test_lines_between_knots_rising_and_falling() -> None:
    rising = TargetMetric("gmsd", (0.0, 0.1, 0.2, 0.3, 0.4))
    falling = TargetMetric("vsi", (1.0, 0.9, 0.8, 0.7, 0.6))
    assert targets.score({"gmsd": 0.15, "vsi": 0.85}, [rising, falling]) == pytest.approx(2.5)
    assert targets.score({"gmsd": 0.9}, [rising]) == 0
    assert targets.score({"vsi": 1.0}, [falling]) == 4


def test_unknown_metric_is_named() -> None:
    picture = np.zeros((1, 64, 64), np.float32)
    with pytest.raises(ValueError, match=r"\['psnr'\]; known: gmsd"):
        targets.measure(picture, picture, ["psnr"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('precision = "bf16-mixed"', 'precision = "16"', r"fit\.precision"),
        ('preset = "compact"\n', "", "key 'preset' is missing"),
        ("[render]", "[render", "not TOML"),
        ('kind = "ct-window"', 'kind = "mr"', r"render\.kind"),
        ("epochs = ", "epoch = ", "epoch"),
        ("knots = [0.0, ", "knots = [", "five knots"),
    ],
)
def test_broken_recipes_are_explained(recipe: Recipe, old: str, new: str, message: str) -> None:
    assert old in recipe.text
    with pytest.raises(RecipeError, match=message):
        parse_recipe(recipe.text.replace(old, new), "a recipe")


def test_unknown_source_names_the_known(recipe: Recipe) -> None:
    with pytest.raises(RecipeError, match="lidc-idri-0314"):
        recipe.source("nowhere")
