"""Severities taught before scores, and the readout fitted on what they taught."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.networks import ms_iqa
from models.render import PetCtFused
from trainer import loop, readout
from trainer.datasets import Entry, SimulatedSet
from trainer.fit import fit, load_network
from trainer.recipe import Recipe, RecipeError, parse_recipe
from trainer.severities import Crops, Told, teach

RECIPE = Path(__file__).parents[2] / "conf/recipes/petct-ms-iqa-compact.toml"
SIDE = 384
"""Of the pictures here: what is taught is of no size."""


@pytest.fixture(scope="module")
def text() -> str:
    text = RECIPE.read_text("utf-8")
    for key, value in {
        "steps": "3",
        "batch_size": "2",
        "epochs": "4",
        "precision": '"32"',
        "accelerator": '"cpu"',
    }.items():
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
    return re.sub(r"^\[weights\]\n(.+\n)*", "", text, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def recipe(text: str) -> Recipe:
    return parse_recipe(text)


def entry(**parts: float) -> Entry:
    target = 4.0 - 4.0 * max(parts.values(), default=0.0)
    return Entry("own", "0", "+".join(parts), max(parts.values(), default=0), parts, {}, {}, target)


def simulated(side: int = SIDE) -> SimulatedSet:
    """A bright disc, clean, with fewer counts, and with noise that its target knows of."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] - side / 2
    disc = np.where(x**2 + y**2 < (0.4 * side) ** 2, 0.5, 0.0)
    noisy = disc + 0.08 * rng.standard_normal((3, side, side))
    pictures = np.stack([np.stack([disc] * 3), np.stack([disc] * 3) * 0.9, noisy.clip(0, 1)])
    entries = (entry(), entry(count_reduction=0.5), entry(gaussian_noise=1.0))
    return SimulatedSet(pictures.astype(np.float16), entries, {})


def small(recipe: Recipe) -> ms_iqa.MSIQA:
    torch.manual_seed(0)
    return ms_iqa.MSIQA(replace(ms_iqa.PRESETS[recipe.preset], side=SIDE))


def test_crops_bring_what_was_done_to_them(recipe) -> None:
    names = [one.name for one in recipe.degradations]
    crops = Crops(simulated(), names, 128)
    pictures, wanted = crops.batch(16, np.random.default_rng(1))
    assert pictures.shape == (16, 3, 128, 128)
    assert wanted.shape == (16, len(names) + 1)
    kept, worse = wanted[::2], wanted[1::2]
    assert {tuple(row.tolist()) for row in kept} <= {tuple(row) for row in crops.wanted.tolist()}
    assert worse[:, -1].isnan().all()
    # Pictures with noise of their own are not made noisier; fewer counts stay what they were.
    counts = worse[:, names.index("count_reduction")]
    assert set(counts.tolist()) <= {0.0, 0.5}
    captured = worse[:, [names.index(name) for name in ("gaussian_noise", "impulse_noise")]]
    assert 0 < (captured > 0).float().mean() < 1
    assert pictures.min() >= 0
    assert pictures.max() <= 1


def test_teaching_goes_on_to_the_same_weights_and_ends_in_the_target(
    recipe, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("trainer.severities.KEPT_EVERY", 2)
    fabric = loop.start(recipe.fit.hardware)
    whole, ended = small(recipe), small(recipe)
    before = {key: tensor.clone() for key, tensor in whole.state_dict().items()}
    heard: list[Told] = []
    teach(whole, recipe, simulated(), fabric, tmp_path / "whole", heard.append)
    assert [one.step for one in heard] == [3]
    assert list(heard[0].errors)[-2:] == ["colour_jpeg", "target"]
    after = whole.state_dict()
    for key in ("cnn.conv_stem.weight", "score.0.weight", "weigh.0.weight"):
        assert not torch.equal(after[key], before[key])
    # Both branches now tell the target, as taught: the last of its numbers.
    told = torch.load(tmp_path / "whole/taught.pt", weights_only=True)["taught"]
    for own, slope, middle in (("score.3", 0.1, 1), ("weigh.6", 4, 0)):
        row, bias = told[f"network.{own}.weight"][-1:], told[f"network.{own}.bias"][-1:]
        assert torch.allclose(after[f"{own}.weight"], slope * row)
        assert torch.allclose(after[f"{own}.bias"], slope * (bias - 0.5) + middle)

    class Ended(Exception):
        pass

    def end(_told: Told) -> None:
        raise Ended

    monkeypatch.setattr("trainer.severities.REPORTED_EVERY", 3)
    with pytest.raises(Ended):
        teach(ended, recipe, simulated(), fabric, tmp_path / "ended", end)
    assert torch.load(tmp_path / "ended/taught.pt", weights_only=True)["step"] == 2
    teach(ended, recipe, simulated(), fabric, tmp_path / "ended")
    assert all(torch.equal(ended.state_dict()[key], after[key]) for key in after)

    other = replace(recipe, text=recipe.text + "\n# another\n")
    with pytest.raises(ValueError, match="another recipe; choose a new --run folder"):
        teach(ended, other, simulated(), fabric, tmp_path / "whole")


def test_pictures_too_small_for_crops_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(384, 384\) are too small for crops of 380"):
        Crops(simulated(), ["gaussian_noise"], 380)


def test_only_what_ends_in_two_branches_is_taught(recipe, tmp_path) -> None:
    fabric = loop.start(recipe.fit.hardware)
    single = ms_iqa.build("compact", ablations=["without-weight"])
    with pytest.raises(ValueError, match="ms-iqa with both of its branches"):
        teach(single, recipe, simulated(), fabric, tmp_path)


def test_a_branch_that_tells_nothing_is_an_error(recipe, tmp_path, monkeypatch) -> None:
    fabric = loop.start(recipe.fit.hardware)
    network = small(recipe)
    monkeypatch.setattr(readout, "LEAST_SPREAD", 0.0)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    spreads = readout.fit_readout(network, recipe.fit, simulated(), fabric, _folder(tmp_path, "a"))
    assert min(spreads) > 0
    changed = [key for key, tensor in network.state_dict().items() if (tensor != before[key]).any()]
    assert changed == ["score.3.weight", "score.3.bias", "weigh.6.weight", "weigh.6.bias"]
    monkeypatch.setattr(readout, "LEAST_SPREAD", 10.0)
    with pytest.raises(readout.CollapsedError, match="score branch f varies by"):
        readout.fit_readout(network, recipe.fit, simulated(), fabric, _folder(tmp_path, "b"))


def test_a_fit_teaches_and_then_reads_out(text, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(readout, "LEAST_SPREAD", 0.0)
    recipe = parse_recipe(text.replace("steps = 3", "steps = 1"))
    data = replace(simulated(512), render=PetCtFused.as_table(recipe.render))
    epochs = []
    network = fit(recipe, data, None, tmp_path, report=epochs.append)
    assert [one.number for one in epochs] == [1, 2, 3, 4]
    loaded, kept, configuration = load_network(tmp_path)
    assert kept == recipe
    assert configuration["pictures"] == {"own": 3}
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 4
    assert json.loads((tmp_path / "configuration.json").read_text())["weights"] == []
    ours = network.state_dict()
    assert all(torch.equal(tensor, ours[key]) for key, tensor in loaded.state_dict().items())


def test_a_key_of_teach_that_is_wrong_is_named(text) -> None:
    assert parse_recipe(re.sub(r"\[teach\]\n(.+\n)*", "", text)).teach is None
    with pytest.raises(RecipeError, match=r"teach\.steps"):
        parse_recipe(text.replace("steps = 3", "steps = 0"))


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder
