"""Each paper's procedure, end to end on a tiny dataset in the published layout, and its table."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from models import networks
from tests.trainer import layouts
from trainer import procedures
from trainer.__main__ import main
from trainer.datasets import ScoredImage, ScoredImages
from trainer.procedures.experiment import agreement, on_scale, stratified
from trainer.recipe import RecipeError, read_text
from trainer.reference import FIGURES, Measured, comparison, paper_tables
from trainer.tracking import read_history

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "conf/recipes"
TINY = (
    "preset=compact",
    "hardware.accelerator=cpu",
    "hardware.precision=32-true",
    "hardware.workers=0",
    "hardware.threads=1",
    "hardware.keep_in_memory=true",
)


def write_ms_iqa(folder: Path) -> tuple[str, ...]:
    layouts.write_pet_ct_iqa_ds(folder, 3)
    return (
        "data.folds=2",
        "supervised.epochs=4",
        "supervised.batch_size=4",
        "supervised.learning_rate=1e-3",
    )


def write_md_iqa(folder: Path) -> tuple[str, ...]:
    layouts.write_ldctiqac2023(folder, 4)
    layouts.write_ldctiqac2023(folder, 1, part="test")
    layouts.write_folder(folder / "unlabelled", 1)
    table = folder / "unlabelled/scores.csv"
    # A plain folder without scores, as the recipe says.
    rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
    table.write_text("file,score\n" + "".join(f"{row['file']},\n" for row in rows), "utf-8")
    return (
        "data.fractions=[0.5,0.25,0.25]",
        "members=[{seed=1, learning_rate=1e-3}, {seed=2, learning_rate=5e-4}]",
        "supervised.epochs=3",
        "supervised.batch_size=4",
        "joint.epochs=3",
        "joint.batch_size=4",
        "joint.learning_rate=1e-3",
        "semi_supervision.crosses_after=4",
    )


def write_miqanet(folder: Path) -> tuple[str, ...]:
    layouts.write_live(folder, 2)
    layouts.write_rad_iqmri(folder / "rad-iqmri", 3)
    return (
        "data.folds=2",
        "natural.epochs=4",
        "natural.learning_rate=1e-3",
        "finetune.epochs=4",
        "finetune.learning_rate=1e-3",
    )


def write_tfkt(folder: Path) -> tuple[str, ...]:
    layouts.write_kadid10k(folder, 4)
    layouts.write_ldctiqac2023(folder, 4)
    return (
        "data.test=",
        "data.validation=0.25",
        "phase_1.epochs=3",
        "phase_1.learning_rate=1e-3",
        "phase_2.epochs=3",
        "phase_2.learning_rate=1e-3",
    )


CASES: dict[str, tuple[Callable[[Path], tuple[str, ...]], tuple[str, ...], int]] = {
    "ms-iqa": (write_ms_iqa, ("fold-1", "fold-2"), 4),
    "md-iqa": (write_md_iqa, ("member-1", "member-2", "joint"), 2),
    "miqanet": (write_miqanet, ("natural", "fold-1", "fold-2"), 5),
    "tfkt": (write_tfkt, ("phase-1", "phase-2"), 1),
}
"""By procedure: who writes its data and shortens its recipe; its trainings; how many rows."""


@pytest.mark.training
@pytest.mark.parametrize("name", CASES)
def test_procedure_runs_end_to_end_and_its_loss_falls(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write, steps, rows = CASES[name]
    data, run = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    arguments = ["reproduce", name, "--data", str(data), "--run", str(run)]
    for override in (*TINY, *write(data)):
        arguments += ["--set", override]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "Published." in printed
    assert "Measured by this run" in printed
    for step in steps:
        losses = [epoch.loss for epoch in read_history(run / step)]
        assert losses[-1] < losses[0], (step, losses)
    measured = json.loads((run / "measured.json").read_text("utf-8"))
    assert len(measured) == rows
    assert all(np.isfinite(row["rmse"]) and row["n"] > 0 for row in measured)
    for row in measured:
        # MIQANet's protocol alone bends the estimates first.
        assert (row["plcc_logistic"] is None) == (name != "miqanet")
        if row["training"]:  # means over folds are of several
            assert (run / row["training"] / "training.json").exists()
    assert ("after" in printed) == (name == "miqanet")
    configuration = json.loads((run / "configuration.json").read_text("utf-8"))
    assert configuration["weights"] == []
    assert sum(configuration["images"].values()) > 0
    if name == "md-iqa":
        pseudo = csv.DictReader((run / "pseudo_labels.csv").read_text("utf-8").splitlines())
        labels = {row["file"]: float(row["score"]) for row in pseudo}
        assert set(labels) == {f"p0_{level}.png" for level in range(4)}
        assert all(0 <= label <= 4 for label in labels.values())
    # The run's own recipe makes it again: nothing of it stands on the command line alone.
    assert tomllib.loads((run / "recipe.toml").read_text("utf-8"))["preset"] == "compact"


@pytest.mark.training
def test_a_killed_procedure_goes_on_to_the_same_figures(tmp_path: Path) -> None:
    shortened = write_ms_iqa(tmp_path / "data")
    overrides = [word for o in (*TINY, *shortened) for word in ("--set", o)]

    def command(run: str) -> list[str]:
        return ["reproduce", "ms-iqa", "--data", str(tmp_path / "data"), "--run",
                str(tmp_path / run), *overrides]  # fmt: skip

    assert main(command("whole")) == 0
    killed = subprocess.Popen(
        [sys.executable, "-m", "trainer", *command("killed")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert killed.stdout is not None
    told = []
    for line in killed.stdout:
        told.append(line)
        if line.startswith("fold-1, epoch 2"):
            killed.send_signal(signal.SIGKILL)
            break
    killed.stdout.close()
    assert killed.wait(30) == -signal.SIGKILL, "".join(told)
    assert not (tmp_path / "killed/measured.json").exists()
    assert 2 <= len(read_history(tmp_path / "killed/fold-1")) <= 3
    assert main(command("killed")) == 0
    for name in ("measured.json", "fold-1.csv", "fold-2.csv", "fold-1/history.jsonl"):
        assert (tmp_path / "killed" / name).read_text() == (tmp_path / "whole" / name).read_text()


@pytest.mark.parametrize("name", CASES)
def test_recipe_stands_at_the_papers_preset(name: str) -> None:
    text = (RECIPES / f"{name}.toml").read_text("utf-8")
    recipe = procedures.parse(text, name)
    assert recipe.preset == "paper"
    assert recipe.preset in networks.presets(recipe.architecture)
    assert not recipe.weights.hub


@pytest.mark.parametrize("name", CASES)
def test_published_figures_add_up(name: str) -> None:
    for table in paper_tables(name):
        for row in table.rows:
            assert set(row) - {"method"} <= set(FIGURES)
            parts = [row.get(figure) for figure in ("plcc", "srocc", "krocc")]
            if "overall" in row and None not in parts:
                assert row["overall"] == pytest.approx(sum(parts), abs=2e-4), row["method"]


def test_md_iqa_table_is_the_papers() -> None:
    first, ablations, _ = paper_tables("md-iqa")
    assert first.rows[-1] == ablations.rows[-1] | {"method": "MD-IQA"}
    assert Measured("a", 3, 0.9771, 0.9793, 0.9106, 0.1).overall == pytest.approx(2.8670)


def test_what_a_recipe_gets_wrong_is_named(tmp_path: Path) -> None:
    path = RECIPES / "ms-iqa.toml"
    for override, said in {
        "supervised.epochs=0": "supervised.epochs",
        "supervised.speed=3": "supervised.speed",
        "hardware.precision=8": "hardware.precision",
        "data.scored.dataset=": "data.scored.dataset",
        "procedure=other": "known: md-iqa",
    }.items():
        with pytest.raises(RecipeError, match=said):
            procedures.run(read_text(path, [override]), tmp_path, tmp_path / "run")
    with pytest.raises(RecipeError, match=r"section\.key=value"):
        read_text(path, ["epochs"])
    with pytest.raises(RecipeError, match="no section"):
        read_text(path, ["preset.deeper=1"])
    text = read_text(path, [*TINY, "data.scored.dataset=nowhere"])
    with pytest.raises(ValueError, match="no dataset 'nowhere'"):
        procedures.run(text, tmp_path, tmp_path / "run")
    with pytest.raises(ValueError, match="another recipe"):
        procedures.run(read_text(path, TINY), tmp_path, tmp_path / "run")


def scored(scores: list[float], groups: list[str], better: bool = True) -> ScoredImages:
    images = tuple(
        ScoredImage(str(i), group, score, lambda: np.zeros((1, 2, 2), np.float32))
        for i, (score, group) in enumerate(zip(scores, groups, strict=True))
    )
    return ScoredImages(images, 0, 100, better)


def test_scores_come_to_the_networks_scale() -> None:
    assert on_scale(scored([0, 25, 100], list("abc")), 4).tolist() == [0, 1, 4]
    assert on_scale(scored([0, 25, 100], list("abc"), better=False), 4).tolist() == [4, 3, 0]


def test_plcc_is_told_plain_and_after_the_logistic() -> None:
    estimates = np.linspace(0, 4, 40, dtype=np.float32)
    scores = (4 / (1 + np.exp(-4 * (estimates - 2)))).astype(np.float32)
    told = agreement("a", estimates, scores, training="fold-1", logistic=True)
    assert told.plcc_logistic is not None
    assert told.plcc < 0.97 < 0.99 < told.plcc_logistic <= 1
    assert (told.srocc, told.training) == (pytest.approx(1), "fold-1")
    assert told.overall == pytest.approx(told.plcc + told.srocc + told.krocc)
    assert agreement("a", estimates, scores).plcc_logistic is None
    few = agreement("a", estimates[:5], scores[:5], logistic=True)
    assert few.plcc_logistic is not None
    assert np.isnan(few.plcc_logistic)  # five parameters would pass through five points
    console = Console(width=120, record=True)
    console.print(comparison("miqanet", [told, few])[-1])
    assert "|PLCC| after logistic" in console.export_text()
    console.print(comparison("ms-iqa", [agreement("a", estimates, scores)])[-1])
    assert "logistic" not in console.export_text().split("a ")[-1]


def test_stratified_parts_have_like_scores_and_whole_groups() -> None:
    rng = np.random.default_rng(5)
    groups = [f"g{i // 2}" for i in range(200)]
    images = scored(list(rng.uniform(0, 100, 200)), groups)
    train, validation = stratified(images, 0.1, 48)
    assert (len(train), len(validation)) == (180, 20)
    assert not set(train.groups) & set(validation.groups)
    assert abs(train.scores.mean() - validation.scores.mean()) < 8
    assert stratified(images, 0.1, 48)[1].names == validation.names
    with pytest.raises(ValueError, match="too few"):
        stratified(scored([1, 2], ["a", "b"]), 0.1, 1)
