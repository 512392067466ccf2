"""MR that the shipped bundle never saw: scores follow what the simulator took away."""

from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from models.card import load_bundle
from trainer import metrics
from trainer.evaluation import bundle_scores
from trainer.recipe import load_recipe
from trainer.simulation import simulate_subject, subjects
from trainer.simulation.case import Case

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "models/bundles/mr-miqanet-compact"
SOURCES = ("prostatex-0207-t2-tra",)
SEVERITIES = (0.25, 0.5, 0.75, 1.0)

FLOOR = 0.85
"""Keeps what was measured from getting lost: 0.1.0 had 0.89, 0.91 and 0.93 under three seeds.
What a bundle should reach is 0.95."""


@pytest.mark.slow
def test_scores_fall_with_severity_and_follow_the_target(clinical_data: Path) -> None:
    recipe = load_recipe(ROOT / "conf/recipes/mr-miqanet-compact.toml")
    slices = [
        one
        for name in SOURCES
        for one in islice(
            subjects(recipe.source(name), recipe, clinical_data, "held-out"), 0, None, 1
        )
    ]
    kinds = ("rician_noise", "ghosting", "over_smoothing")
    cases = [Case(), *(Case(((kind, at),)) for kind in kinds for at in SEVERITIES)]
    made = [pair for one in slices for pair in simulate_subject(one, cases, recipe)]
    entries = [entry for _, entry in made]
    scores = bundle_scores(load_bundle(BUNDLE), np.stack([picture for picture, _ in made]))

    at = np.array([entry.severity for entry in entries])
    means = [float(scores[at == severity].mean()) for severity in (0.0, *SEVERITIES)]
    assert all(worse < better for better, worse in pairwise(means)), means
    assert means[0] >= 3
    assert metrics.srocc(scores, np.array([entry.target for entry in entries])) >= FLOOR
