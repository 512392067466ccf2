"""Two processes on the CPU (gloo), as Fabric starts them: one training, the same in both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainer.test_trainer_procedures import (
    ROOT,
    TINY,
    write_md_iqa,
    write_tfkt,
)
from trainer.tracking import read_history

TWO = ("hardware.devices=2", "hardware.strategy=ddp")
CASES: dict[str, tuple[Callable[[Path], tuple[str, ...]], tuple[str, ...], tuple[str, ...]]] = {
    "md-iqa": (
        write_md_iqa,
        ("supervised.batch_size=2", "joint.batch_size=2", "members=[{seed=1, learning_rate=1e-3}]"),
        ("member-1", "joint"),
    ),
    "tfkt": (write_tfkt, ("phase_1.batch_size=2", "phase_2.batch_size=2"), ("phase-1", "phase-2")),
}
"""By procedure: who writes its data and shortens its recipe; half the batch each; its trainings."""


@pytest.mark.training
@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_one_network(name: str, tmp_path: Path) -> None:
    write, halved, trainings = CASES[name]
    data, run, told = tmp_path / "data", tmp_path / "run", tmp_path / "told"
    for folder in (data, told):
        folder.mkdir()
    command = [sys.executable, "-m", "tests.trainer.both_processes", str(told), "reproduce", name]
    command += ["--data", str(data), "--run", str(run)]
    for override in (*TINY, *write(data), *halved, *TWO):
        command += ["--set", override]
    alone = {key: value for key, value in os.environ.items() if key != "MASTER_PORT"}
    done = subprocess.run(
        command, cwd=ROOT, env=alone, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "distributed_backend=gloo" in done.stderr

    for training in trainings:
        first, second = (
            json.loads((told / f"{training}-{rank}-of-2.json").read_text("utf-8"))
            for rank in (0, 1)
        )
        assert first == second  # every epoch's figures, and the weights bit for bit
        assert first["epochs"][-1]["loss"] < first["epochs"][0]["loss"]
        # One process writes, and no epoch twice.
        assert [epoch.number for epoch in read_history(run / training)] == list(
            range(1, len(first["epochs"]) + 1)
        )
        assert len(list((run / training / "tensorboard").iterdir())) == 1
    assert len(list(run.rglob("checkpoint.pt"))) == len(trainings)
    assert not list(run.rglob("*.tmp"))
    assert done.stdout.count("Measured by this run") == 1
    assert json.loads((run / "measured.json").read_text("utf-8"))
