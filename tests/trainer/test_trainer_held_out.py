"""A patient the network never saw: scores follow what the simulator took away.

The bundle beside this test was trained by the shipped recipe without LIDC-IDRI-0314.
"""

from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from models.card import load_bundle
from trainer import metrics
from trainer.datasets import CleanSlice
from trainer.evaluation import bundle_scores
from trainer.recipe import Recipe
from trainer.simulation import Case, clean_slices, simulate_slice

BUNDLE = Path(__file__).parents[1] / "bundles/ct-md-iqa-compact-without-lidc0314"
PATIENT = "lidc-idri-0314"


@pytest.fixture
def held_out(clinical_data: Path, recipe: Recipe) -> list[CleanSlice]:
    """Nine slices of the patient from below the diaphragm to the apex."""
    return list(islice(clean_slices(recipe.source(PATIENT), recipe, clinical_data), 4, None, 11))


def test_the_bundle_never_saw_the_patient() -> None:
    card = load_bundle(BUNDLE).card
    assert PATIENT not in [source.name for source in card.training]
    assert sum(source.images for source in card.training) > 1000


@pytest.mark.slow
def test_scores_fall_with_severity_and_follow_the_target(
    held_out: list[CleanSlice], recipe: Recipe
) -> None:
    severities = recipe.simulation.grid_severities
    cases = [Case("clean", 0.0, 0.0, "standard")]
    for severity in severities[1:]:
        cases.append(Case("noise", severity, 0.0, "standard"))
        cases.append(Case("views", 0.0, severity, "standard"))
    photons = recipe.source(PATIENT).incident_photons
    made = [pair for clean in held_out for pair in simulate_slice(clean, photons, cases, recipe)]
    entries = [entry for _, entry in made]
    scores = bundle_scores(load_bundle(BUNDLE), np.stack([picture for picture, _ in made]))

    at = np.array([entry.severity for entry in entries])
    means = [float(scores[at == severity].mean()) for severity in severities]
    assert all(worse < better for better, worse in pairwise(means)), means
    assert means[0] >= 3
    assert metrics.srocc(scores, np.array([entry.target for entry in entries])) >= 0.90
