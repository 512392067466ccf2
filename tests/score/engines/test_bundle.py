"""`iqgate bundle verify` and `bundle build`: what they print, and what they exit with."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from models.card import file_sha256
from service.__main__ import main
from tests.synthetic import CT_RENDER, FUSED, write_bundle


@pytest.fixture
def folder(tmp_path):
    """Two bundles, the second with golden scores that nothing here reproduces."""
    write_bundle(tmp_path / "bundles" / "good", "CT", CT_RENDER)
    bad = write_bundle(tmp_path / "bundles" / "worse", "PT", FUSED)
    with np.load(bad / "golden.npz") as golden:
        arrays = dict(golden)
    old = file_sha256(bad / "golden.npz")
    np.savez_compressed(bad / "golden.npz", **{**arrays, "score": arrays["score"] + 0.5})
    card = (bad / "card.toml").read_text()
    (bad / "card.toml").write_text(card.replace(old, file_sha256(bad / "golden.npz")))
    return tmp_path / "bundles"


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "gate.toml"
    path.write_text('mode = "shadow"\ndata_dir = "data"\n[score]\nbatch_size = 4\n')
    return path


def bundle_command(capsys, *arguments):
    status = main(["bundle", *map(str, arguments)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_verify_tells_engine_golden_figures_speed_and_memory(folder, capsys):
    status, out, _ = bundle_command(capsys, "verify", "good", "--bundles", folder)
    assert status == 0
    lines = out.splitlines()
    assert lines[0].startswith("good 1.0  CT")
    assert "engine   onnxruntime, float32; loaded in" in out
    assert re.search(r"golden   score: largest difference \S+, allowed 0\.001", out)
    speed = r"[\d.]+ ms a slice \([\d.]+–[\d.]+, n = 9\), \d+ slices/s"
    assert [one for one in lines if re.fullmatch(rf"  batch (1  |16 ){speed}", one)] == lines[-3:-1]
    assert re.fullmatch(r"  memory   \d+ MiB resident in this process", lines[-1])


def test_a_bundle_that_is_refused_does_not_hide_the_others(folder, capsys):
    status, out, _ = bundle_command(capsys, "verify", "--bundles", folder)
    assert status == 1
    assert "engine   onnxruntime" in out
    assert re.search(r"refused  bundle worse .*largest difference 0\.5, allowed 0\.001", out)


def test_verify_takes_another_engine(folder, capsys):
    status, out, _ = bundle_command(
        capsys, "verify", "good", "--bundles", folder, "--engine", "openvino"
    )
    assert status == 0
    assert "engine   openvino, float32" in out


@pytest.mark.usefixtures("gpu")
def test_build_makes_the_engine_in_the_gates_own_folder_and_the_gate_reads_it(
    folder, config, capsys
):
    arguments = ("good", "--bundles", folder, "--engine", "tensorrt", "--config", config)
    status, out, _ = bundle_command(capsys, "build", *arguments)
    assert status == 0
    (built,) = (config.parent / "data" / "engines").glob("*.engine")
    assert f"engine   tensorrt, float16; built {built}" in out
    assert "Building, 50 %" in out
    assert "batch" not in out
    status, out, _ = bundle_command(capsys, "verify", *arguments)
    assert status == 0
    assert f"read from {built}" in out
    assert re.search(r"golden   score: largest difference \S+, allowed 0\.02", out)
    assert "  batch 4  " in out


def test_a_fallback_does_not_stand_in_for_the_engine_that_is_asked_for(
    folder, config, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with config.open("a") as file:
        file.write('fallback = "onnxruntime"\n')
    arguments = ("verify", "good", "--bundles", folder, "--config", config)
    status, out, _ = bundle_command(capsys, *arguments, "--engine", "tensorrt")
    assert status == 1
    assert "refused  score.engine = 'tensorrt' cannot be loaded" in out


def test_build_without_a_folder_of_the_gates_own_names_the_setting(folder, capsys, monkeypatch):
    monkeypatch.delenv("IQGATE_DATA_DIR", raising=False)
    status, _, err = bundle_command(
        capsys, "build", "good", "--bundles", folder, "--engine", "tensorrt"
    )
    assert status == 2
    assert "score.engine_cache" in err


def test_a_precision_that_the_engine_has_not_is_named(folder, capsys):
    status, _, err = bundle_command(capsys, "verify", "--bundles", folder, "--precision", "float16")
    assert status == 2
    assert "'onnxruntime' computes in float32, not in float16" in err
