"""Targets: four for the clean slice, falling with severity."""

import itertools

import numpy as np
import pytest

from trainer import targets
from trainer.datasets import CleanSlice
from trainer.degradations import Scan
from trainer.phantom import SPACING_MM, Chest
from trainer.recipe import Recipe, RecipeError, TargetMetric, parse_recipe
from trainer.simulation.case import Case
from trainer.simulation.ct import CtSubject

KINDS = (
    "quantum_noise",
    "sparse_views",
    "over_smoothing",
    "edge_preserving_smoothing",
    "ring_artefacts",
    "beam_hardening",
)
"""Those without a random course of events: how much a motion blurs hangs on its direction."""


@pytest.fixture(scope="module")
def subject() -> CtSubject:
    rng = np.random.default_rng(1)
    hu = Scan.of(Chest.ordinary().slice(120.0), SPACING_MM, 3e5).acquired(rng)
    return CtSubject(CleanSlice(hu, SPACING_MM, 120.0, "a chest", "120", 3e5), 3e5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reading", ["soft", "lung"])
def test_target_falls_with_severity(
    subject: CtSubject, recipe: Recipe, kind: str, reading: str
) -> None:
    names = [target.name for target in recipe.targets]
    clean = subject.draw(Case((), {"reading": reading}), recipe, np.random.default_rng(2))
    scores = []
    for severity in targets.KNOT_SEVERITIES:
        # the same generator: the same rings and rays, more of them
        case = Case(((kind, severity),) if severity else (), {"reading": reading})
        picture = subject.draw(case, recipe, np.random.default_rng(2))
        scores.append(targets.score(targets.measure(picture, clean, names), recipe.targets))
    assert scores[0] == pytest.approx(4, abs=1e-4)
    assert all(lower < higher - 0.01 for higher, lower in itertools.pairwise(scores))
    assert scores[-1] < 3.8


def test_noise_at_its_worst_is_scored_low_in_its_own_window(
    subject: CtSubject, recipe: Recipe
) -> None:
    names = [target.name for target in recipe.targets]
    rng = np.random.default_rng(2)
    worst = {}
    for reading in ("soft", "lung", "bone"):
        options = {"reading": reading}
        clean = subject.draw(Case((), options), recipe, rng)
        noisy = subject.draw(Case((("quantum_noise", 1.0),), options), recipe, rng)
        worst[reading] = targets.score(targets.measure(noisy, clean, names), recipe.targets)
    assert worst["soft"] < 2
    # a wider window shows less of the same noise
    assert worst["soft"] < worst["lung"] < worst["bone"] < 3.5


def test_lines_between_knots_rising_and_falling() -> None:
    rising = TargetMetric("gmsd", (0.0, 0.1, 0.2, 0.3, 0.4))
    falling = TargetMetric("vsi", (1.0, 0.9, 0.8, 0.7, 0.6))
    assert targets.score({"gmsd": 0.15, "vsi": 0.85}, [rising, falling]) == pytest.approx(2.5)
    assert targets.score({"gmsd": 0.9}, [rising]) == 0
    assert targets.score({"vsi": 1.0}, [falling]) == 4


def test_unknown_metric_is_named() -> None:
    picture = np.zeros((1, 64, 64), np.float32)
    with pytest.raises(ValueError, match=r"\['psnr'\]; known: .*gmsd"):
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
