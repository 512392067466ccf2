"""DICOM series without scores: drawn, measured and refused as the gate does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.domain import describe_ct
from models.physical import to_hu
from tests.factories import chest, ct_slice, write
from tests.synthetic import CT_RENDER, write_bundle
from trainer.__main__ import main

SHARP = {"ConvolutionKernel": "YA", "WindowCenter": "500", "WindowWidth": "2500"}


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Two slices of a torso, and a third that is nothing but dense bone."""
    block = np.full((128, 128), 0, np.int16)
    block[16:112, 16:112] = 2424
    write(tmp_path / "series", ct_slice(1), ct_slice(2), ct_slice(3, pixels=block))
    return tmp_path / "series"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle for what is no denser than a torso."""
    ds = ct_slice(1)
    bone = describe_ct(to_hu(chest(), ds), 0.8)["dense_bone"]
    domain = {"dense_bone": (0.0, bone + 0.05)}
    render = CT_RENDER | {"bone": {"center_hu": 500.0, "width_hu": 2500.0}}
    return write_bundle(tmp_path / "ct", "CT", render, domain=domain)


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main(["evaluate", "--json", *map(str, arguments)]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_what_the_gate_refuses_has_no_score(
    bundle: Path, series: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(capsys, "--bundle", bundle, "--data", series)
    assert (found["n"], found["scored"]) == (3, 2)
    refused = [row for row in found["slices"] if row["outside"]]
    assert [row["score"] for row in refused] == [None]
    assert refused[0]["outside"].startswith("out of domain: dense bone")
    assert found["noise_hu"] == pytest.approx(10, rel=0.15)


def test_ignoring_the_domain_scores_all_and_still_says_why(
    bundle: Path, series: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(capsys, "--bundle", bundle, "--data", series, "--ignore-domain")
    assert (found["n"], found["scored"]) == (3, 3)
    assert all(0 <= row["score"] <= 4 for row in found["slices"])
    assert sum(row["outside"] is not None for row in found["slices"]) == 1


def test_a_sharp_kernel_is_read_in_its_window(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noisy = chest(noise_hu=60.0)
    write(tmp_path / "soft", ct_slice(1, pixels=noisy))
    write(tmp_path / "sharp", ct_slice(1, pixels=noisy, **SHARP))
    found = {
        name: evaluated(capsys, "--bundle", bundle, "--data", tmp_path / name)
        for name in ("soft", "sharp")
    }
    assert (found["soft"]["read_as"], found["sharp"]["read_as"]) == (["soft"], ["bone"])
    assert found["soft"]["median"] != pytest.approx(found["sharp"]["median"], abs=0.05)


def test_pictures_have_no_domain_to_ignore(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scores.csv").write_text("file,score\n")
    assert main(["evaluate", "--bundle", str(bundle), "--data", str(tmp_path), "--ignore-domain"])
    assert "have no domain" in capsys.readouterr().err
