"""PET and CT of a folder through `assess`: fused, named, reported; or refused with the reason."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import dcmread

from service.assess import as_json, assess, gather, write_report
from service.config import Score, Settings
from service.fusion import Fusion
from service.judge.policy import parse_policy
from service.report.subject import Gate
from service.score.pair import fusing_of
from service.score.scorer import Scorer
from tests.factories import ct_slice, pt_slice, write
from tests.synthetic import FUSED, write_bundle

POLICY = parse_policy('[[rule]]\nname = "pt"\nmodality = "PT"\nmeets = 2\n')
CT_WINDOW = {
    "kind": "ct-window",
    "rows": 64,
    "columns": 64,
    "window_center_hu": 40.0,
    "window_width_hu": 400.0,
}


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    write_bundle(folder / "pet-test", "PT", FUSED)
    return Scorer(folder, Score())


@pytest.fixture
def assessed(scorer, tmp_path):
    settings = Settings(mode="report", data_dir=tmp_path)

    def run(folder):
        found, unreadable = gather([folder], 10**8)
        assert unreadable == []
        fusion = Fusion(fusing_of(scorer.bundles, settings.complete))
        results = {}
        for series in sorted(found, key=lambda one: one.facts.modality == "PT"):
            one = assess(series, scorer, POLICY, settings, fusion)
            fusion.keep(one.facts, one.slices, one.files)
            results[one.facts.modality] = one
        return results

    return run


def study(folder, **of_pet):
    cts = [ct_slice(number) for number in range(1, 7)]
    pets = [pt_slice(number, **of_pet) for number in range(2, 6)]
    write(folder, *cts, *pets)
    return cts, pets


def test_a_folder_s_pet_is_fused_with_its_ct(assessed, tmp_path):
    """No bundle here scores the CT; it is fused all the same."""
    cts, pets = study(tmp_path / "study")
    found = assessed(tmp_path / "study")
    ct, pet = as_json(found["CT"]), as_json(found["PT"])
    assert ct["verdict"] == "not-assessed"
    assert ct["companion_series"] is None
    assert pet["verdict"] == "meets"
    assert pet["companion_series"] == cts[0].SeriesInstanceUID
    assert [one["score"] is not None for one in pet["slices"]] == [True] * 4
    path = write_report(
        found["PT"], tmp_path / "sr", Gate("1.2.3", "GATE", "0"), datetime(2026, 1, 1, tzinfo=UTC)
    )
    (listed,) = dcmread(path).CurrentRequestedProcedureEvidenceSequence
    images = {
        series.SeriesInstanceUID: len(series.ReferencedSOPSequence)
        for series in listed.ReferencedSeriesSequence
    }
    assert images == {pets[0].SeriesInstanceUID: 4, cts[0].SeriesInstanceUID: 4}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"FrameOfReferenceUID": "1.2.3"}, "no CT of its study and Frame of Reference was found"),
        ({"StudyInstanceUID": "1.2.3"}, "no CT of its study and Frame of Reference was found"),
        ({"PatientWeight": None}, "Patient's Weight (0010,1030) is not stated"),
        ({"Units": "PROPCNTS"}, "without attenuation correction"),
    ],
)
def test_what_cannot_be_fused_says_why(assessed, tmp_path, changes, reason):
    study(tmp_path / "study", **changes)
    pet = assessed(tmp_path / "study")["PT"]
    assert pet.assessment.verdict == "not-assessed"
    assert reason in pet.assessment.reason
    assert as_json(pet)["companion_series"] is None


def test_the_report_s_uid_follows_from_the_ct_too(assessed, tmp_path):
    gate, now = Gate("1.2.3", "GATE", "0"), datetime(2026, 1, 1, tzinfo=UTC)
    names = []
    for folder, last in (("one", 7), ("two", 8)):
        cts = [ct_slice(number) for number in range(1, last)]
        write(tmp_path / folder, *cts, *(pt_slice(number) for number in range(2, 6)))
        pet = assessed(tmp_path / folder)["PT"]
        names.append(Path(write_report(pet, tmp_path / "sr", gate, now)).name)
    assert names[0] != names[1]


def test_a_fused_slice_is_shown_in_colour(assessed, tmp_path):
    study(tmp_path / "study")
    (picture, *_) = assessed(tmp_path / "study")["PT"].thumbnails.values()
    assert picture.shape == (160, 160, 3)
    assert picture.std(axis=2).max() > 0


def test_where_nothing_is_fused_no_pet_has_a_companion(tmp_path):
    folder = tmp_path / "bundles"
    write_bundle(folder / "ct-test", "CT", CT_WINDOW)
    ct_only = Scorer(folder, Score())
    assert fusing_of(ct_only.bundles, Settings(mode="shadow", data_dir=tmp_path).complete) is None
    study(tmp_path / "study")
    found, _ = gather([tmp_path / "study"], 10**8)
    pet = next(one for one in found if one.facts.modality == "PT")
    settings = Settings(mode="report", data_dir=tmp_path)
    one = assess(pet, ct_only, POLICY, settings, Fusion(None))
    assert one.pair is None
    assert "no bundle for PT is installed" in one.assessment.reason
