"""simulate → fit → export → evaluate on a few slices of the digital chest."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from models.card import load_bundle
from trainer import simulation
from trainer.__main__ import main
from trainer.datasets import DatasetError, SimulatedSet, read_ct_slices, read_set
from trainer.fit import evened, fit, load_network
from trainer.recipe import Recipe


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("end_to_end")


@pytest.fixture
def data(folder: Path, small_recipe: Recipe) -> SimulatedSet:
    """The simulated set of four phantom slices, made once."""
    if not (folder / "set").exists():
        count = simulation.simulate(
            small_recipe,
            None,
            [small_recipe.source("iqgate-chest")],
            folder / "set",
            grid=False,
            every=None,
            processes=2,
            report=lambda _source, _done: None,
        )
        assert count == 20
    return read_set(folder / "set")


@pytest.fixture
def run(folder: Path, data: SimulatedSet, small_recipe: Recipe) -> Path:
    """A finished run, trained once."""
    if not (folder / "run").exists():
        fit(small_recipe, data, None, folder / "run")
    return folder / "run"


def test_set_holds_clean_and_degraded(data: SimulatedSet, small_recipe: Recipe) -> None:
    assert data.pictures.shape == (20, 1, 256, 256)
    kinds = [entry.kind for entry in data.entries]
    assert kinds.count("clean") == 4
    known = {one.name for one in small_recipe.degradations}
    assert {name for entry in data.entries for name in entry.parts} <= known
    assert all(len(entry.parts) <= 2 for entry in data.entries)
    drawn = small_recipe.simulation.drawn
    assert all(entry.options["reading"] in drawn["reading"] for entry in data.entries)
    clean = [entry.target for entry in data.entries if entry.kind == "clean"]
    assert clean == pytest.approx([4.0] * 4, abs=1e-4)
    assert max(e.target for e in data.entries if e.kind != "clean") < 4


def test_simulation_repeats(data: SimulatedSet, small_recipe: Recipe) -> None:
    source = small_recipe.source("iqgate-chest")
    subject = next(simulation.subjects(source, small_recipe, None))
    cases = simulation.random_cases(
        small_recipe, np.random.default_rng((small_recipe.simulation.seed, 0))
    )
    again = simulation.simulate_subject(subject, cases, small_recipe)
    for (picture, entry), kept, known in zip(again, data.pictures, data.entries, strict=False):
        assert picture.tobytes() == kept.tobytes()
        assert (entry.kind, entry.parts, entry.options) == (
            known.kind,
            known.parts,
            known.options,
        )


def test_loss_falls_and_the_run_tells_what_it_is(run: Path, small_recipe: Recipe) -> None:
    losses = [json.loads(line)["loss"] for line in (run / "history.jsonl").read_text().splitlines()]
    assert len(losses) == 4
    assert losses[-1] < losses[0]
    assert (run / "recipe.toml").read_text("utf-8") == small_recipe.text
    assert json.loads((run / "configuration.json").read_text())["pictures"] == {"iqgate-chest": 20}


def test_rarely_met_scores_come_more_often() -> None:
    scores = np.array([4.0] * 12 + [3.9] + [1.0] * 6 + [0.0], np.float32)
    order = evened(scores, 4.0, 3)
    came = np.bincount(order, minlength=20)
    assert came.tolist() == [1] * 13 + [2] * 6 + [3]
    assert evened(scores, 4.0, 1).tolist() == list(range(20))


def test_a_run_goes_on_from_another_s_weights(
    run: Path, data: SimulatedSet, small_recipe: Recipe, tmp_path: Path
) -> None:
    still = replace(small_recipe, fit=small_recipe.fit.model_copy(update={"learning_rate": 1e-12}))
    network = fit(still, data, None, tmp_path / "run", start=run, stop_after=1)
    earlier, _, _ = load_network(run)
    for one, other in zip(network.parameters(), earlier.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    told = json.loads((tmp_path / "run" / "configuration.json").read_text())
    assert told["started_from"]["pictures"] == {"iqgate-chest": 20}


def test_resumed_run_equals_an_uninterrupted_one(
    run: Path, data: SimulatedSet, small_recipe: Recipe, tmp_path: Path
) -> None:
    fit(small_recipe, data, None, tmp_path / "run", stop_after=2)
    torch.rand(3)  # what else the process draws must not matter
    resumed = fit(small_recipe, data, None, tmp_path / "run")
    whole, _, _ = load_network(run)
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.fixture
def bundle(run: Path, folder: Path) -> Path:
    """The run's bundle, exported once."""
    out = folder / "bundle"
    if not out.exists():
        assert main(["export", *export_arguments(run, folder), "--out", str(out)]) == 0
    return out


def export_arguments(run: Path, folder: Path) -> list[str]:
    figures = folder / "figures.json"
    figures.write_text('{"n": 20, "srocc": 0.5}')
    data = str(folder / "set")
    return ["--run", str(run), "--data", data, "--measured", f"training set={figures}"]


def test_bundle_says_what_it_is(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    assert [(source.name, source.images) for source in loaded.card.training] == [
        ("iqgate-chest", 20)
    ]
    assert loaded.card.measured["training set"]["srocc"] == 0.5
    assert loaded.model_path.stat().st_size < 4e6


def test_golden_outputs_are_reproduced(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    golden = np.load(loaded.golden_path)
    session = onnxruntime.InferenceSession(loaded.model_path, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        outputs = session.run(list(loaded.card.outputs), {"input": golden["input"][:batch]})
        for name, values in zip(loaded.card.outputs, outputs, strict=True):
            assert np.abs(values - golden[name][:batch]).max() <= golden["tolerance"], name


def test_bundle_and_run_measure_alike(
    bundle: Path, run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(folder / "set")
    assert main(["evaluate", "--bundle", str(bundle), "--data", data, "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["n"] == 20
    low, high = measured["intervals"]["srocc"]
    assert low <= measured["srocc"] <= high
    assert main(["evaluate", "--run", str(run), "--data", data, "--json"]) == 0
    by_network = json.loads(capsys.readouterr().out)
    # FP16 weights lie between the two.
    assert by_network["served"]["rmse"] == pytest.approx(measured["rmse"], abs=0.02)
    assert by_network["published"]["n"] == 20


def test_export_repeats_byte_for_byte(
    bundle: Path, run: Path, folder: Path, tmp_path: Path
) -> None:
    assert main(["export", *export_arguments(run, folder), "--out", str(tmp_path)]) == 0
    assert load_bundle(tmp_path).digest == load_bundle(bundle).digest


def test_another_recipe_does_not_resume(
    run: Path, data: SimulatedSet, small_recipe: Recipe
) -> None:
    changed = replace(small_recipe, text=small_recipe.text + "# changed\n")
    with pytest.raises(ValueError, match="another recipe"):
        fit(changed, data, None, run)


def test_too_few_pictures_are_explained(
    data: SimulatedSet, small_recipe: Recipe, tmp_path: Path
) -> None:
    few = data.select(np.arange(20) < 4)
    with pytest.raises(ValueError, match="lower batch_size"):
        fit(small_recipe, few, None, tmp_path / "run")


def test_a_set_drawn_for_another_network_is_refused(
    data: SimulatedSet, small_recipe: Recipe, tmp_path: Path
) -> None:
    other = replace(small_recipe, architecture="ms-iqa")
    with pytest.raises(ValueError, match=r"\(3, 224, 224\)"):
        fit(other, data, None, tmp_path / "run")


def test_command_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--data", str(tmp_path), "--run", str(tmp_path / "run")]) == 2
    assert "not a simulated set" in capsys.readouterr().err
    assert main(["evaluate", "--run", str(tmp_path), "--data", str(tmp_path)]) == 2
    assert main(["simulate", "--out", str(tmp_path), "--source", "nowhere"]) == 2
    assert "no source 'nowhere'" in capsys.readouterr().err


def test_folder_without_ct_is_explained(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(DatasetError, match="no axial CT slices"):
        list(read_ct_slices(tmp_path, "a source"))
