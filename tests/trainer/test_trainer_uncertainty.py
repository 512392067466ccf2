"""How far scores may be off: found on a set, written into the card, stated with every score."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from models.card import CardError, Uncertainty, load_bundle, parse_card
from models.render import RenderSpec
from service.config import Score
from service.score.drawing import FrameSource
from service.score.scorer import Scorer
from tests.factories import chest, ct_slice, write
from tests.synthetic import CT_RENDER, write_bundle
from trainer import uncertainty
from trainer.__main__ import main
from trainer.card_page import page
from trainer.datasets import DatasetError
from trainer.datasets.simulated import Entry, SimulatedSet, write_set


@pytest.fixture
def bundle(tmp_path):
    """Its score is 4 less the mean of the picture."""
    return write_bundle(tmp_path / "bundle", "CT", CT_RENDER)


def of_errors(errors):
    """Grey pictures whose targets lie `errors` above the bundle's scores, and their entries."""
    levels = np.linspace(0.1, 0.9, len(errors))
    pictures = [np.full((1, 128, 128), level, np.float16) for level in levels]
    entries = [
        Entry("unseen", str(number), "clean", 0.0, {}, {}, {}, float(4 - picture.mean() + error))
        for number, (picture, error) in enumerate(zip(pictures, errors, strict=True))
    ]
    return pictures, entries


def test_a_network_without_spread_gets_the_error_that_holds_95_percent(bundle, tmp_path, capsys):
    errors = np.linspace(-1.0, 1.0, 81)
    pictures, entries = of_errors(errors)
    write_set(tmp_path / "set", pictures, entries, RenderSpec.from_table(CT_RENDER))
    asked = ["--bundle", str(bundle), "--data", str(tmp_path / "set"), "--found-on", "one patient"]
    assert main(["uncertainty", *asked]) == 0
    stated = load_bundle(bundle).card.uncertainty
    assert stated is not None
    assert stated == Uncertainty("one patient", 81, error=stated.error)
    assert stated.error == pytest.approx(0.95 / 1.96, abs=0.02)
    assert "0.48" in capsys.readouterr().out
    assert "0.48" in page(load_bundle(bundle))
    (result,) = Scorer(bundle.parent, Score()).score(
        [FrameSource(write(tmp_path / "one", ct_slice(pixels=chest()))[0], 1)]
    )
    assert result.spread == stated.error


def test_a_spread_is_multiplied_by_what_makes_it_a_standard_deviation(bundle, monkeypatch):
    errors = np.linspace(-1.0, 1.0, 81)
    pictures, entries = of_errors(errors)
    data = SimulatedSet(np.stack(pictures), tuple(entries), {})
    scores = data.targets - errors.astype(np.float32)
    stated = {"score": scores, "spread": np.full(81, 2.0, np.float32)}
    monkeypatch.setattr(uncertainty, "bundle_outputs", lambda *_: stated)
    found = uncertainty.find(bundle, data, "one patient")
    assert found.factor == pytest.approx(0.95 / 1.96 / 2, abs=0.01)
    assert found.spread(2.0) == pytest.approx(0.95 / 1.96, abs=0.02)
    assert found.spread(None) is None


def test_too_few_pictures_tell_nothing(bundle):
    pictures, entries = of_errors(np.zeros(39))
    with pytest.raises(DatasetError, match="39 pictures"):
        uncertainty.find(bundle, SimulatedSet(np.stack(pictures), tuple(entries), {}), "few")


def test_it_is_replaced_in_the_card_and_the_rest_kept(bundle, tmp_path):
    kept = shutil.copytree(bundle, tmp_path / "kept")
    uncertainty.write(kept, Uncertainty("a", 50, error=0.5))
    uncertainty.write(kept, Uncertainty("b", 60, factor=0.4))
    written = load_bundle(kept).card
    assert written.uncertainty == Uncertainty("b", 60, factor=0.4)
    assert replace(written, uncertainty=None) == load_bundle(bundle).card


@pytest.mark.parametrize("given", ["factor = 1.0\nerror = 1.0", "", "error = 0.0"])
def test_a_card_that_states_it_wrongly_is_refused(bundle, given):
    text = (bundle / "card.toml").read_text("utf-8")
    table = f'[uncertainty]\nfound_on = "x"\npictures = 50\n{given}\n'
    with pytest.raises(CardError, match="uncertainty"):
        parse_card(text.replace("[sha256]", f"{table}\n[sha256]"))
