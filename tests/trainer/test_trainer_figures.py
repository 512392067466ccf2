"""The figure page: its grid, its phantoms, and slices from DICOM files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer import figures
from trainer.__main__ import main
from trainer.degradations import names
from trainer.figure_subjects import (
    MR_SIDE,
    PET_SIDE,
    Subject,
    body_slice,
    brain_slice,
    digital_subjects,
    real_subjects,
)
from trainer.figures import GAP, SEVERITIES, drawn, page, severities


@pytest.fixture
def small() -> Subject:
    image = brain_slice()[::4, ::4].copy()
    return Subject("MR", image, {"spacing_mm": 4.0, "window": (0.0, 230.0)}, (0.0, 230.0), "small")


def test_page_has_a_row_a_degradation_and_a_column_a_severity(small: Subject) -> None:
    sheet = page(small, 64)
    assert sheet.width == len(SEVERITIES) * (64 + GAP)
    assert sheet.height > len(names("MR")) * 64
    assert sheet.mode == "L"


def test_first_column_is_the_slice_itself(small: Subject) -> None:
    for name in names("MR"):
        assert severities(small, name)[0].tobytes() == small.image.tobytes()


def test_window_and_inversion() -> None:
    image = np.array([[0.0, 5.0], [2.5, 9.0]], np.float32)
    seen = [
        np.asarray(drawn(image, Subject(modality, image, {}, (0.0, 5.0), ""), 2))
        for modality in ("MR", "PET")
    ]
    assert seen[0].tolist() == [[0, 255], [128, 255]]
    assert seen[1].tolist() == [[255, 0], [128, 0]]


def test_phantoms_know_what_their_degradations_need() -> None:
    subjects = digital_subjects()
    assert [subject.modality for subject in subjects] == ["CT", "PET", "MR"]
    for subject in subjects:
        assert np.isfinite(subject.image).all()
    pet = subjects[1]
    assert pet.geometry["ct_hu"].shape[1:] == pet.image.shape == (PET_SIDE, PET_SIDE)
    assert subjects[2].image.shape == (MR_SIDE, MR_SIDE)
    assert subjects[2].image.min() >= 0


def test_liver_replaces_lung_below_the_dome() -> None:
    above, below = body_slice(90.0), body_slice(30.0)
    row, column = PET_SIDE // 2, PET_SIDE // 2 - 19  # 76 mm to the patient's right
    assert above[1][row, column] < -600
    assert below[1][row, column] > 0
    assert below[0][row, column] > 4 * above[0][row, column]


def test_folder_without_series_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figures", str(tmp_path / "out"), "--root", str(tmp_path)]) == 2
    assert f"{tmp_path}: no CT, PET or MR series" in capsys.readouterr().err


def test_real_mr_slice_knows_its_phase_encoding(clinical_data: Path) -> None:
    """The GE series says ROW: phase runs across the columns."""
    (subject,) = real_subjects(clinical_data / "mr/ge_signahdxt_brain_t1_irspgr_defaced")
    assert subject.modality == "MR"
    assert subject.geometry["phase_axis"] == 1


@pytest.mark.slow
def test_real_pet_slice_lies_below_the_dome(clinical_data: Path) -> None:
    """Its CT is on its grid, and the map nearer the head has lung where this one has none."""
    ct, pet = real_subjects(clinical_data / "petct")
    assert (ct.modality, pet.modality) == ("CT", "PET")
    maps, index = pet.geometry["ct_hu"], pet.geometry["index"]
    assert maps.shape[1:] == pet.image.shape
    lung = [((maps[k] > -950) & (maps[k] < -600)).sum() for k in (index - 6, index)]
    assert lung[0] > 1.2 * lung[1]
    # Where there is uptake there is a body.
    assert (maps[index][pet.image > 0.2 * pet.image.max()] > -300).mean() > 0.9
    assert severities(pet, "attenuation_mismatch")[-1].sum() < pet.image.sum()


def test_command_writes_a_page_a_modality(
    small: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "digital_subjects", lambda: [small])
    assert main(["figures", str(tmp_path / "out"), "--cell", "32", "--greys", "16"]) == 0
    with Image.open(tmp_path / "out/mr.png") as sheet:
        assert len(np.unique(np.asarray(sheet.convert("L")))) <= 16
        assert np.asarray(sheet.convert("L")).std() > 20
