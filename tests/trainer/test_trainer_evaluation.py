"""Evaluation of a bundle on folders and sets, against a bundle whose score is known."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from models.card import CARD_NAME, GOLDEN_NAME, MODEL_NAME, file_sha256, load_bundle
from models.render import CtWindow
from tests.trainer import layouts
from trainer import evaluation, plots
from trainer.__main__ import main
from trainer.datasets import DatasetError, Entry, ScoredImages, load, write_set
from trainer.evaluation import bundle_scores, figures, fit_input, read_data

SPEC = CtWindow(32, 32, 40.0, 400.0)
CARD = """
name = "mean"
version = "1"
architecture = "mean"
preset = "test"
modality = "CT"
input_shape = [1, 32, 32]
outputs = ["score"]
limitations = []
training = []
[render]
kind = "ct-window"
rows = 32
columns = 32
window_center_hu = 40.0
window_width_hu = 400.0
[scale]
worst = 0.0
best = 4.0
meaning = "four times the mean grey"
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle that scores a picture by four times its mean grey."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["input", "axes"], ["mean"], keepdims=0),
            helper.make_node("Mul", ["mean", "four"], ["score"]),
        ],
        "mean",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, 32, 32])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch"])],
        [
            helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
            helper.make_tensor("four", TensorProto.FLOAT, [], [4.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, folder / MODEL_NAME)
    np.savez(folder / GOLDEN_NAME, input=np.zeros((1, 1, 32, 32)))
    sums = [f'"{name}" = "{file_sha256(folder / name)}"' for name in (MODEL_NAME, GOLDEN_NAME)]
    (folder / CARD_NAME).write_text(CARD + "\n".join(["[sha256]", *sums]))
    return folder


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """Twelve grey pictures of three patients, as bright as their score says, about."""
    folder = tmp_path / "scored"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = ["file,patient,score"]
    for number in range(12):
        score = number / 3
        grey = np.clip(round((score + rng.normal(0, 0.2)) * 255 / 4), 0, 255)
        name = f"{number}.png"
        Image.fromarray(np.full((40, 40, 3), grey, np.uint8)).save(folder / "images" / name)
        rows.append(f"{name},p{number % 3},{score}")
    (folder / "scores.csv").write_text("\n".join(rows))
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict:
    assert main(["evaluate", "--json", *map(str, arguments)]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return json.loads(out)


def test_command_on_a_scored_folder(
    bundle: Path, scored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(capsys, "--bundle", bundle, "--data", scored)
    assert set(result) == {
        "n", "groups", "plcc", "srocc", "krocc", "overall", "rmse", "intervals"
    }  # fmt: skip
    assert result["n"] == result["groups"] == 12
    assert result["srocc"] > 0.95
    assert result["rmse"] < 0.4
    for name, (low, high) in result["intervals"].items():
        assert low <= result[name] <= high


def test_command_by_group(bundle: Path, scored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, "--bundle", bundle, "--data", scored, "--group", "patient")
    assert result["groups"] == 3
    assert set(result["by_group"]) == {"p0", "p1", "p2"}
    assert result["by_group"]["p1"]["n"] == 4
    assert result["by_group"]["p1"]["srocc"] > 0.9


def test_command_with_the_logistic(
    bundle: Path, scored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = run(capsys, "--bundle", bundle, "--data", scored)
    fitted = run(capsys, "--bundle", bundle, "--data", scored, "--logistic")
    assert "logistic" not in plain
    assert fitted["logistic"] is True
    assert fitted["rmse"] <= plain["rmse"]


def test_command_names_what_is_wrong(
    bundle: Path, scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def error(*arguments: str | Path) -> str:
        assert main(["evaluate", *map(str, arguments)]) == 2
        return capsys.readouterr().err

    assert "neither manifest.json nor scores.csv" in error("--bundle", bundle, "--data", tmp_path)
    assert "column 'ward' is missing" in error(
        "--bundle", bundle, "--data", scored, "--group", "ward"
    )
    assert "simulated set" in error("--run", tmp_path, "--data", scored)
    (scored / "images/3.png").unlink()
    assert "3.png is missing" in error("--bundle", bundle, "--data", scored)


@pytest.fixture
def simulated(tmp_path: Path) -> Path:
    """A grid of three slices at three severities, drawn as the bundle asks."""
    pictures, entries = [], []
    for source in range(3):
        for severity in (0.0, 0.5, 1.0):
            grey = 0.8 - 0.6 * severity + 0.05 * source
            pictures.append(np.full((1, 32, 32), grey, np.float16))
            entries.append(
                Entry(f"s{source}", "1", "noise", severity, {"noise": severity}, {}, {}, 4 * grey)
            )
    write_set(tmp_path / "set", pictures, entries, SPEC)
    return tmp_path / "set"


def test_simulated_set(
    bundle: Path, simulated: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    drawn = tmp_path / "plots"
    result = run(capsys, "--bundle", bundle, "--data", simulated, "--plots", drawn)
    assert (result["n"], result["groups"]) == (9, 3)
    assert result["severities"] == [0.0, 0.5, 1.0]
    assert result["mean_score"] == pytest.approx(result["mean_target"], abs=0.01)
    assert result["mean_score"][0] > result["mean_score"][2]
    assert {path.name for path in drawn.iterdir()} == {
        "examples.png", "scatter.png", "residuals.png", "score-by-severity.png"
    }  # fmt: skip
    kind = result["by_kind"]["noise"]
    assert kind["n"] == [3, 3, 3]
    assert kind["mean_score"] == pytest.approx(result["mean_score"])
    assert kind["falls"]
    # a row of one kind, a column per severity
    with Image.open(drawn / "examples.png") as page:
        assert page.size == (3 * 130 - 2, 128 + 2 * 16)
        grey = page.convert("L")
        assert [grey.getpixel((x, 80)) for x in (194, 324)] == pytest.approx([140, 64], abs=9)


def test_simulated_set_is_a_dataset_too(simulated: Path) -> None:
    data = load("simulated", simulated)
    assert data.images[0].load().shape == (1, 32, 32)
    assert set(data.groups) == {"s0/1", "s1/1", "s2/1"}
    with pytest.raises(DatasetError, match="leave out --group"):
        read_data(simulated, "patient")


def test_set_drawn_otherwise(bundle: Path, simulated: Path) -> None:
    manifest = simulated / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"rows": 32', '"rows": 64'))
    with pytest.raises(DatasetError, match="drawn with"):
        evaluation.evaluate(bundle, read_data(simulated))
    assert asdict(load_bundle(bundle).card.render)["rows"] == 32


def test_unlabelled_images_are_left_out(bundle: Path, tmp_path: Path) -> None:
    layouts.write_folder(tmp_path / "data")
    table = tmp_path / "data/scores.csv"
    table.write_text(table.read_text().replace("p0_0.png,p0,4.0", "p0_0.png,p0,"))
    data = read_data(tmp_path / "data", "patient")
    assert isinstance(data, ScoredImages)
    assert len(data) == 11
    assert bundle_scores(load_bundle(bundle), data).shape == (11,)


class TestFitInput:
    def test_grey_and_colour(self) -> None:
        colour = np.stack([np.full((8, 8), value, np.float32) for value in (1.0, 0.5, 0.0)])
        assert fit_input(colour, (1, 8, 8)) == pytest.approx(np.full((1, 8, 8), 0.299 + 0.2935))
        assert fit_input(colour[:1], (3, 8, 8)).tolist() == np.ones((3, 8, 8)).tolist()
        assert fit_input(colour, (3, 8, 8)) is colour

    def test_aspect_is_kept_on_black(self) -> None:
        wide = np.ones((1, 16, 32), np.float32)
        fitted = fit_input(wide, (1, 64, 64))
        assert fitted[0, 16:48].min() == pytest.approx(1)
        assert fitted[0, :16].max() == fitted[0, 48:].max() == 0

    def test_other_channels(self) -> None:
        with pytest.raises(DatasetError, match=r"a\.tif: 2 channels for a network that reads 3"):
            fit_input(np.zeros((2, 8, 8), np.float32), (3, 8, 8), "a.tif")


def test_figures_need_a_score_each(scored: Path) -> None:
    with pytest.raises(ValueError, match="2 scores for 12 images"):
        figures(np.zeros(2), read_data(scored))


def test_scores_that_run_backwards_are_told(scored: Path) -> None:
    data = read_data(scored)
    assert "reversed" not in figures(data.scores, data)
    backwards = figures(-data.scores, data)
    assert backwards["reversed"] is True
    assert backwards["srocc"] == pytest.approx(1)
    damage = replace(data, higher_is_better=False)
    assert "reversed" not in figures(-data.scores, damage)
    assert figures(data.scores, damage)["reversed"] is True


def test_small_groups_give_their_number_alone(scored: Path) -> None:
    data = read_data(scored)
    result = figures(np.arange(12.0), data, by_group=True)
    assert result["by_group"]["0.png"] == {"n": 1}


class TestPlots:
    def test_scatter_shows_every_group(self) -> None:
        x, groups = np.arange(9.0), np.repeat(["a", "b", "c"], 3)
        axes = plots.scatter(x, x + 1, groups, logistic=False).axes[0]
        assert [len(points.get_offsets()) for points in axes.collections] == [3, 3, 3]
        assert axes.lines[0].get_xdata()[1] == 9

    def test_scatter_with_the_curve(self) -> None:
        x = np.linspace(0, 4, 30)
        axes = plots.scatter(x, x**2, logistic=True).axes[0]
        assert len(axes.lines[0].get_xdata()) == 100

    def test_residuals_band(self) -> None:
        targets = np.zeros(100)
        axes = plots.residuals(np.linspace(-1, 1, 100), targets).axes[0]
        band = axes.patches[0]
        assert band.get_y() == pytest.approx(-0.95)
        assert band.get_height() == pytest.approx(1.9)

    def test_score_by_severity(self) -> None:
        severities = np.array([0.0, 0.0, 1.0, 1.0, 1.0])
        kinds = ["noise", "noise", "noise", "noise", "views"]
        axes = plots.score_by_severity(np.array([4.0, 3, 1, 0, 2]), severities, kinds).axes[0]
        assert [line.get_label() for line in axes.lines] == ["noise", "views"]
        assert axes.lines[0].get_ydata().tolist() == [3.5, 0.5]
