"""A patient the network never saw: scores follow what the simulator took away.

The shipped bundles were trained without LIDC-IDRI-0314.
"""

from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from models.card import load_bundle
from trainer import metrics
from trainer.evaluation import bundle_scores
from trainer.recipe import Recipe
from trainer.simulation import simulate_subject, subjects
from trainer.simulation.case import Case
from trainer.simulation.ct import CtSubject

BUNDLE = Path(__file__).parents[2] / "models/bundles/ct-md-iqa-compact"
PATIENT = "lidc-idri-0314"
KINDS = ("quantum_noise", "sparse_views", "over_smoothing")


@pytest.fixture
def held_out(clinical_data: Path, recipe: Recipe) -> list[CtSubject]:
    """Nine slices of the patient from below the diaphragm to the apex."""
    found = subjects(recipe.source(PATIENT), recipe, clinical_data)
    return [one for one in islice(found, 4, None, 11) if isinstance(one, CtSubject)]


def test_the_bundle_never_saw_the_patient() -> None:
    card = load_bundle(BUNDLE).card
    assert PATIENT not in [source.name for source in card.training]
    assert sum(source.images for source in card.training) > 1000


def test_the_patient_is_read_in_the_lung_window(held_out: list[CtSubject]) -> None:
    assert len(held_out) == 9
    assert {one.clean.reading for one in held_out} == {"lung"}


@pytest.mark.training
def test_scores_fall_with_severity_and_follow_the_target(
    held_out: list[CtSubject], recipe: Recipe
) -> None:
    severities = recipe.simulation.grid_severities
    options = recipe.simulation.plain_options
    cases = [Case((), options)]
    cases += [Case(((kind, one),), options) for kind in KINDS for one in severities[1:]]
    made = [pair for subject in held_out for pair in simulate_subject(subject, cases, recipe)]
    entries = [entry for _, entry in made]
    scores = bundle_scores(load_bundle(BUNDLE), np.stack([picture for picture, _ in made]))

    at = np.array([entry.severity for entry in entries])
    kinds = np.array([entry.kind for entry in entries])
    for kind in KINDS:
        of_kind = (kinds == kind) | (kinds == "clean")
        means = [float(scores[of_kind & (at == severity)].mean()) for severity in severities]
        assert all(worse < better for better, worse in pairwise(means)), (kind, means)
    assert scores[kinds == "clean"].mean() >= 3
    assert metrics.srocc(scores, np.array([entry.target for entry in entries])) >= 0.90
