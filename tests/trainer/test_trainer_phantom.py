"""The digital chest: proper CT series that a gate takes for a patient's."""

import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import CTImageStorage

from models.physical import to_hu
from trainer.degradations import soft_tissue
from trainer.phantom import HEIGHT_MM, Chest
from trainer.phantom_series import write_demo

TYPE_1 = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "ImageType",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleIntercept",
    "RescaleSlope",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "FrameOfReferenceUID",
    "PixelData",
]
TYPE_2 = [
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "SeriesNumber",
    "PositionReferenceIndicator",
    "Manufacturer",
    "AcquisitionNumber",
    "InstanceNumber",
    "KVP",
    "SliceThickness",
    "PatientPosition",
]
TAKEN_FOR_A_TEST = re.compile(r"phantom|\bqa\b|\bqc\b|acr|water|catphan|test|daily", re.IGNORECASE)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[pydicom.Dataset]]:
    """Four slices of each series, with UIDs of a seed."""
    folder = tmp_path_factory.mktemp("demo")
    assert [count for _, count in write_demo(folder, 4, "one")] == [4, 4]
    return {
        name: [pydicom.dcmread(path) for path in sorted((folder / name).iterdir())]
        for name in ("good", "underdosed")
    }


def test_every_object_is_a_ct_image(demo: dict[str, list[pydicom.Dataset]]) -> None:
    for ds in chain(*demo.values()):
        assert ds.SOPClassUID == CTImageStorage
        assert [keyword for keyword in TYPE_1 if ds.get(keyword) in (None, "")] == []
        assert [keyword for keyword in TYPE_2 if keyword not in ds] == []
        assert ds.pixel_array.shape == (512, 512)


def test_one_study_two_acquisitions(demo: dict[str, list[pydicom.Dataset]]) -> None:
    objects = list(chain(*demo.values()))
    assert len({ds.StudyInstanceUID for ds in objects}) == 1
    assert len({ds.FrameOfReferenceUID for ds in objects}) == 1
    assert len({ds.SOPInstanceUID for ds in objects}) == len(objects)
    events = [{ds.IrradiationEventUID for ds in series} for series in demo.values()]
    assert [len(event) for event in events] == [1, 1]
    assert events[0] != events[1]
    assert len({ds.SeriesInstanceUID for ds in objects}) == 2


def test_nothing_says_that_it_is_a_test_object(demo: dict[str, list[pydicom.Dataset]]) -> None:
    ds = demo["good"][0]
    assert "QualityControlSubject" not in ds
    assert "QualityControlImage" not in ds
    text = [str(element.value) for element in ds if element.VR in ("LO", "PN", "SH", "LT", "CS")]
    assert [value for value in text if TAKEN_FOR_A_TEST.search(value)] == []


def test_underdosed_is_much_noisier(demo: dict[str, list[pydicom.Dataset]]) -> None:
    good, under = (
        [to_hu(ds.pixel_array, ds) for ds in demo[name]] for name in ("good", "underdosed")
    )
    truth = [Chest.ordinary().slice((i + 0.5) * HEIGHT_MM / 4) for i in range(4)]
    noise = [
        np.median(
            [(hu - clean)[soft_tissue(clean)].std() for hu, clean in zip(s, truth, strict=True)]
        )
        for s in (good, under)
    ]
    assert 8 < noise[0] < 20
    assert noise[1] > 5 * noise[0]


def test_pixels_repeat_and_uids_do_not(tmp_path: Path) -> None:
    runs = []
    for name in ("a", "b"):
        list(write_demo(tmp_path / name, 1, None))
        runs.append(pydicom.dcmread(tmp_path / name / "good/CT_0001.dcm"))
    assert runs[0].PixelData == runs[1].PixelData
    assert runs[0].StudyInstanceUID != runs[1].StudyInstanceUID


def test_seeded_uids_repeat(tmp_path: Path, demo: dict[str, list[pydicom.Dataset]]) -> None:
    list(write_demo(tmp_path, 4, "one"))
    again = pydicom.dcmread(tmp_path / "underdosed/CT_0004.dcm", stop_before_pixels=True)
    assert again.SOPInstanceUID == demo["underdosed"][3].SOPInstanceUID


def test_chests_differ() -> None:
    chests = [Chest.random(np.random.default_rng(seed)).slice(100.0) for seed in (1, 2)]
    assert np.abs(chests[0] - chests[1]).mean() > 20


def test_command_needs_no_torch(tmp_path: Path) -> None:
    """The demo runs where only NumPy, pydicom and OpenCV are installed."""
    program = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'timm', 'piq', 'onnx', 'onnxruntime', 'scipy'):\n"
        "    sys.modules[name] = None\n"
        "from trainer.__main__ import main\n"
        f"sys.exit(main(['phantom', {str(tmp_path)!r}, '--slices', '1']))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{tmp_path}/good: 1 slices",
        f"{tmp_path}/underdosed: 1 slices",
    ]


def test_no_slices_is_bad_usage(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        list(write_demo(tmp_path, 0, None))
