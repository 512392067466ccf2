"""`python -m trainer commission`: the gate's own verdicts on folders, made into proposed limits."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from models.proposal import Budget
from tests.factories import chest, ct_slice, write
from trainer import commissioning
from trainer.__main__ import main

SHARE = Budget(share=0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two reconstructions of one acquisition, another patient's series, and a localizer."""
    for name, changes in {
        "soft": {},
        "thin": {"SeriesInstanceUID": "1.2.826.0.1.3680043.10.1.1.2"},
        "other": {
            "StudyInstanceUID": "1.2.826.0.1.3680043.10.1.2",
            "SeriesInstanceUID": "1.2.826.0.1.3680043.10.1.2.1",
            "FrameOfReferenceUID": "1.2.826.0.1.3680043.10.1.2.9",
        },
        "scout": {
            "SeriesInstanceUID": "1.2.826.0.1.3680043.10.1.1.7",
            "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"],
        },
    }.items():
        slices = [
            ct_slice(number, pixels=chest(256, seed=number), **changes) for number in range(1, 5)
        ]
        write(tmp_path / "series" / name, *slices)
    return tmp_path / "series"


def test_series_are_judged_as_the_gate_judges_and_count_once_an_acquisition(folder: Path) -> None:
    assessed = commissioning.assess([folder], commissioning.packaged_policy())
    assert len(assessed.values) == 3
    assert {one.rule for one in assessed.values} == {"ct"}
    assert {one.scanner for one in assessed.values} == {"Maker Model 12345"}
    assert [reason for _, reason in assessed.refused] == ["No slice was scored: a localizer."]
    text = commissioning.page(assessed, SHARE, commissioning.packaged_policy())
    assert "2 of 2 studies on 1 day, 2.0 a day" in text
    assert "PROVISIONAL" in text
    assert "Not assessed:\n  1.2.826.0.1.3680043.10.1.1.7: No slice was scored" in text
    rules = text.partition("they come from:\n\n")[2].partition("\n\nNot assessed")[0]
    (rule,) = tomllib.loads(rules)["rule"]
    assert rule["scanner"] == "Maker Model 12345"
    assert rule["meets"] <= min(one.value for one in assessed.values)


def test_the_command_reads_what_assess_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {
        "series_instance_uid": "1.1", "verdict": "meets", "reason": "",
        "commissioning": [
            {
                "series": "1.1", "study": "1", "acquisition": "1.9", "scanner": "A B 1",
                "modality": "CT", "protocol": "Chest", "day": "20260101", "rule": "ct",
                "statistic": "median of slice scores", "more_is_worse": False, "meets": 2.5,
                "value": 3.456, "bundle": "ct-test", "bundle_version": "1", "bundle_digest": "b",
            }
        ],
    }  # fmt: skip
    path = tmp_path / "assessed.json"
    path.write_text(json.dumps([entry]))
    assert main(["commission", "--assessed", str(path)]) == 0
    assert "proposed       3.45 for 2 % of acquisitions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"series_instance_uid": "1", "verdict": "meets", "reason": ""}]', "--commissioning"),
        ("not json", "Expecting value"),
    ],
)
def test_other_files_are_named(
    tmp_path: Path, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "assessed.json"
    path.write_text(text)
    assert main(["commission", "--assessed", str(path)]) == 2
    assert words in capsys.readouterr().err


def test_the_gates_own_words_are_passed_on(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file or folder"):
        commissioning.assess([tmp_path / "none"], commissioning.packaged_policy())
