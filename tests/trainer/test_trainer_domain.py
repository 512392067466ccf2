"""The trainer learns a bundle's domain from its recipe, and writes it into the card."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import domain as measures
from models.card import load_bundle
from tests.factories import head
from trainer import domain
from trainer.__main__ import main
from trainer.degradations import ARTEFACTS, degrade
from trainer.phantom import Chest
from trainer.recipe import Degraded, load_recipe
from trainer.simulation import subjects

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "models/bundles/ct-md-iqa-compact"


@pytest.fixture
def recipe():
    found = load_recipe(ROOT / "conf/recipes/ct-md-iqa-compact.toml")
    own = tuple(one for one in found.sources if one.is_phantom)
    return replace(found, sources=own, degradations=(Degraded("over_smoothing"),))


def test_what_was_trained_on_lies_within_its_own_limits(recipe):
    limits = domain.learn(recipe, None, 2)
    assert set(limits) == set(measures.CT)
    for name, one in measures.CT.items():
        assert limits[name][0] <= one.reach[0], "never narrower than what patients reach"
        assert limits[name][1] >= one.reach[1]
    first = next(subjects(recipe.sources[0], recipe, None, "train"))
    for one in domain.described(first, recipe):
        assert measures.outside("ct-window", one, limits) is None


def test_training_slices_widen_a_limit_and_shares_end_at_one():
    seen = [{"field_mm": 900.0, "evenness": 0.9}, {"field_mm": 80.0, "evenness": 0.95}]
    limits = domain.limits("ct-window", seen)
    assert limits["field_mm"] == (64.0, 1120.0)
    assert limits["evenness"] == (0.0, 1.0)
    assert limits["bone"] == (0.0, 0.625), "without a value the reach stands, widened"


def test_limits_are_written_into_a_card_and_replaced_there(tmp_path):
    folder = Path(shutil.copytree(BUNDLE, tmp_path / "bundle"))
    before = load_bundle(folder).card
    domain.write(folder, {"bone": (0.0, 0.5)})
    assert load_bundle(folder).card == replace(before, domain={"bone": (0.0, 0.5)})
    domain.write(folder, {"bone": (0.0, 0.4), "evenness": (0.0, 0.86)})
    written = load_bundle(folder).card
    assert written.domain == {"bone": (0.0, 0.4), "evenness": (0.0, 0.86)}
    assert replace(written, domain=before.domain) == before


def test_the_command_names_a_bundle_that_is_not_there(tmp_path, capsys):
    arguments = ["domain", "--recipe", str(ROOT / "conf/recipes/ct-md-iqa-compact.toml")]
    assert main([*arguments, "--bundle", str(tmp_path / "none"), "--slices", "1"]) == 2
    assert "--root" in capsys.readouterr().err


def worst(modality: str) -> list[str]:
    return [name for name, one in ARTEFACTS.items() if one.modality in (modality, "any")]


def at_its_worst(name, image, **known):
    takes = ARTEFACTS[name].geometry
    geometry = {key: value for key, value in known.items() if key in takes}
    return degrade(name, image, 1.0, np.random.default_rng(5), **geometry)


@pytest.mark.parametrize("name", worst("CT"))
def test_a_chest_at_its_worst_is_still_one(name):
    hu = np.ascontiguousarray(Chest.ordinary().slice(62.0)[::2, ::2])
    spoiled = at_its_worst(name, hu, spacing_mm=1.56, incident_photons=3e5, window=(-160.0, 240.0))
    limits = {key: one.reach for key, one in measures.CT.items()}
    described = measures.describe_ct(spoiled, 1.56)
    assert measures.outside("ct-window", described, limits) is None, described


@pytest.mark.parametrize("name", worst("MR"))
def test_a_head_at_its_worst_is_still_one(name):
    signal = head(256, noise=5).astype(np.float32)
    known = {"spacing_mm": 1.0, "phase_axis": 0, "level": 1000.0, "window": (0.0, 1500.0)}
    described = measures.describe_mr(np.abs(at_its_worst(name, signal, **known)))
    limits = {key: one.reach for key, one in measures.MR.items()}
    assert measures.outside("mr-stack", described, limits) is None, described


def test_pet_and_its_ct_are_described_together():
    recipe = load_recipe(ROOT / "conf/recipes/petct-ms-iqa-compact.toml")
    own = next(one for one in recipe.sources if one.is_phantom)
    few = (Degraded("count_reduction"),)
    recipe = replace(recipe, sources=(own,), degradations=few)
    limits = domain.learn(recipe, None, 1)
    assert set(limits) == set(measures.PET_CT)
