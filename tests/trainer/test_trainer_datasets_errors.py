"""What is wrong with a dataset is named: the file, the row, the way out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.render import CtWindow
from tests.trainer import layouts
from trainer.datasets import DatasetError, load
from trainer.datasets.folder import load_folder

SPEC = CtWindow(32, 32, 40.0, 400.0)


def test_unknown_name_and_options() -> None:
    with pytest.raises(DatasetError, match="known: dicom, folder, kadid10k"):
        load("kadid", Path())
    with pytest.raises(DatasetError, match="no parts"):
        load("live", Path(), part="train")
    with pytest.raises(DatasetError, match="own groups"):
        load("live", Path(), group="patient")
    with pytest.raises(DatasetError, match="render table"):
        load("dicom", Path())
    with pytest.raises(DatasetError, match="only dicom"):
        load("folder", Path(), render=SPEC)
    for name in ("ldctiqac2023", "pet-ct-iqa-ds", "rad-iqmri"):
        with pytest.raises(DatasetError, match="no part 'nowhere'"):
            load(name, Path(), part="nowhere")


@pytest.mark.parametrize("name", layouts.WRITERS)
def test_empty_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=str(tmp_path)):
        load(name, tmp_path)


@pytest.mark.parametrize("name", layouts.WRITERS)
def test_missing_picture(name: str, tmp_path: Path) -> None:
    layouts.WRITERS[name](tmp_path)
    gone = sorted(p for p in tmp_path.rglob("*.*") if _damaged(p, name))[0]
    gone.unlink()
    with pytest.raises(DatasetError, match=gone.name):
        load(name, tmp_path)


@pytest.mark.parametrize("name", layouts.WRITERS)
def test_unreadable_picture(name: str, tmp_path: Path) -> None:
    layouts.WRITERS[name](tmp_path)
    if name in ("pet-ct-iqa-ds", "rad-iqmri"):  # these look at every picture to group them
        broken = sorted(p for p in tmp_path.rglob("*.*") if _damaged(p, name))[0]
        broken.write_bytes(b"no picture")
        with pytest.raises(DatasetError, match=rf"{broken.name}: cannot be read"):
            load(name, tmp_path)
        return
    data = load(name, tmp_path)
    for path in tmp_path.rglob("*.*"):
        if _damaged(path, name):
            path.write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="cannot be read as a picture"):
        data.images[0].load()


def _edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = next(folder.rglob(name))
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), "utf-8")

    return edit


@pytest.mark.parametrize(
    ("name", "edit", "match"),
    [
        ("folder", _edit("scores.csv", "p0_1.png,p0,3.0", "p0_1.png,p0,5"), "p0_1.*5.0 is outside"),
        ("folder", _edit("scores.csv", "3.0", "good"), "line 3: 'good' is not a number"),
        ("folder", _edit("scores.csv", "3.0", "nan"), "line 3: 'nan' is not a number"),
        ("folder", _edit("scores.csv", "p0_1.png", "p0_0.png"), "p0_0.png: listed twice"),
        ("folder", _edit("scores.csv", "p0_1.png", "../x.png"), "line 3.*not a file below"),
        ("folder", _edit("scores.csv", "p0_1.png", ""), "line 3: 'file' is empty"),
        ("folder", _edit("scores.csv", "score", "mark"), "column 'score' is missing"),
        ("kadid10k", _edit("dmos.csv", "I01_01_02.png,I01", "I01_01_02.png,I02"), "line 3.*I02"),
        ("kadid10k", _edit("dmos.csv", "5.0,0.5", "0.5,0.5"), "I01_01_01.*0.5 is outside 1…5"),
        ("kadid10k", _edit("dmos.csv", "dist_img", "image"), "'dist_img' is missing"),
        ("ldctiqac2023", _edit("train.json", "4.0", "4.5"), "0000.tif: score 4.5 is outside"),
        ("ldctiqac2023", _edit("train.json", "0001.tif", "0000.tif"), "'0000.tif' is listed twice"),
        ("ldctiqac2023", _edit("train.json", "{", "["), "train.json: cannot be read as JSON"),
        ("ldctiqac2023", _edit("train.json", "4.0", '"?"'), "'0000.tif': '\\?' is not a number"),
        ("pet-ct-iqa-ds", _edit("label.txt", "001.jpg,4.0", "001.jpg"), "line 1.*file,score"),
        ("pet-ct-iqa-ds", _edit("label.txt", "001.jpg,4.0", "001.jpg,-1"), "-1.0 is outside"),
        ("pet-ct-iqa-ds", _edit("label.txt", "002.jpg", "001.jpg"), "001.jpg: listed twice"),
        ("rad-iqmri", _edit("mri_val.txt", "100.0", "101"), "101.0 is outside 0…100"),
        ("rad-iqmri", _edit("mri_train.txt", "100.0", "1 2"), "line 1.*is not `file,score`"),
        ("live", lambda folder: next(folder.rglob("img2.bmp")).unlink(), r"img2\.bmp: is missing"),
        ("live", lambda folder: next(folder.rglob("jpeg/img4.bmp")).unlink(), "20 values of dmos"),
        (
            "live",
            lambda folder: next(folder.rglob("dmos_realigned.mat")).write_bytes(b"x" * 200),
            "cannot be read as a MATLAB file",
        ),
    ],
)
def test_wrong_tables(name: str, edit: Callable[[Path], None], match: str, tmp_path: Path) -> None:
    layouts.WRITERS[name](tmp_path)
    edit(tmp_path)
    with pytest.raises(DatasetError, match=match):
        load(name, tmp_path)


def test_live_without_reference_names(tmp_path: Path) -> None:
    layouts.write_live(tmp_path, realigned=False)
    info = tmp_path / "databaserelease2/wn/info.txt"
    info.write_text(info.read_text().replace("img2.bmp", "img9.bmp"))
    with pytest.raises(DatasetError, match=r"info\.txt: has no line for img2\.bmp"):
        load("live", tmp_path)
    info.unlink()
    with pytest.raises(DatasetError, match=r"info\.txt: cannot be read"):
        load("live", tmp_path)


def test_sources_table_must_be_complete(tmp_path: Path) -> None:
    layouts.write_pet_ct_iqa_ds(tmp_path)
    (tmp_path / "PET-CT-IQA-DS/sources.csv").write_text("file,source\n001.jpg,a\n")
    with pytest.raises(DatasetError, match=r"no row for '002\.jpg'"):
        load("pet-ct-iqa-ds", tmp_path)


def test_table_that_is_no_text(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path)
    (tmp_path / "scores.csv").write_bytes("file,score\nä,1\n".encode("utf-16"))
    with pytest.raises(DatasetError, match="not UTF-8"):
        load("folder", tmp_path)
    (tmp_path / "scores.csv").write_text("file,score\n")
    with pytest.raises(DatasetError, match="no rows"):
        load("folder", tmp_path)


def test_scores_on_another_scale(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path)
    assert load_folder(tmp_path, scale=(0.0, 10.0)).high == 10
    with pytest.raises(DatasetError, match="is outside 0…3"):
        load_folder(tmp_path, scale=(0.0, 3.0))


def test_float_pictures_on_an_unknown_scale(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "images").mkdir()
    Image.fromarray(np.full((4, 4), 2.0, np.float32)).save(tmp_path / "images/a.tif")
    (tmp_path / "scores.csv").write_text("file,score\na.tif,1\n")
    with pytest.raises(DatasetError, match=r"a\.tif: values 2…2"):
        load("folder", tmp_path).images[0].load()


class TestDicom:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        layouts.write_dicom(tmp_path)
        return tmp_path

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="no axial CT slices"):
            load("dicom", tmp_path, render=SPEC)

    def test_row_without_a_slice(self, folder: Path) -> None:
        _edit("scores.csv", "patient0/1.dcm", "patient0/9.dcm")(folder)
        with pytest.raises(DatasetError, match=r"line 2: 'patient0/9\.dcm' is no axial CT"):
            load("dicom", folder, render=SPEC)

    def test_row_twice(self, folder: Path) -> None:
        _edit("scores.csv", "patient0/2.dcm", "patient0/1.dcm")(folder)
        with pytest.raises(DatasetError, match="listed twice"):
            load("dicom", folder, render=SPEC)

    def test_slice_without_pixels(self, folder: Path) -> None:
        import pydicom

        path = folder / "patient0/0.dcm"
        ds = pydicom.dcmread(path)
        del ds.PixelData
        ds.save_as(path)
        with pytest.raises(DatasetError, match=r"0\.dcm: its pixels cannot be decoded"):
            load("dicom", folder, render=SPEC).images[0].load()


def _damaged(path: Path, name: str) -> bool:
    """A picture that the table of a layout lists; not a reference."""
    known = (".png", ".bmp", ".tif", ".jpg")
    reference = path.parent.name == "refimgs" or (name == "kadid10k" and "_" not in path.name)
    return path.suffix in known and not reference
