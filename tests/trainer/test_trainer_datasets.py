"""Every dataset, read from tiny copies in its published layout."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from models.render import CtWindow
from tests.trainer import layouts
from trainer.datasets import DatasetError, ScoredImages, load
from trainer.datasets.scored import ScoredImage

SPEC = CtWindow(32, 32, 40.0, 400.0)
SCALES = {
    "folder": (0, 4),
    "kadid10k": (1, 5),
    "ldctiqac2023": (0, 4),
    "live": (0, 120),
    "pet-ct-iqa-ds": (0, 4),
    "rad-iqmri": (0, 100),
}


@pytest.mark.parametrize("name", layouts.WRITERS)
def test_published_layout(name: str, tmp_path: Path) -> None:
    written = layouts.WRITERS[name](tmp_path)
    data = load(name, tmp_path)
    assert dict(zip(data.names, data.scores.tolist(), strict=True)) == pytest.approx(written)
    assert (data.low, data.high) == SCALES[name]
    assert data.higher_is_better == (name != "live")
    picture = data.images[0].load()
    assert picture.dtype == np.float32
    assert picture.shape[1:] == (layouts.SIDE, layouts.SIDE)
    assert picture.shape[0] == (3 if name in ("kadid10k", "live", "pet-ct-iqa-ds") else 1)
    assert 0 <= picture.min() < picture.max() <= 1
    # worker processes get a copy
    again = pickle.loads(pickle.dumps(data)).images[0].load()
    assert np.array_equal(again, picture)


@pytest.mark.parametrize("name", ["kadid10k", "live", "pet-ct-iqa-ds", "rad-iqmri"])
def test_groups_are_the_sources(name: str, tmp_path: Path) -> None:
    layouts.WRITERS[name](tmp_path, sources=4)
    data = load(name, tmp_path)
    assert len(set(data.groups)) == 4
    parts = data.split_by_group((0.5, 0.5), seed=1)
    assert not set(parts[0].groups) & set(parts[1].groups)


def test_folder_without_a_grouping_column(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path)
    assert len(set(load("folder", tmp_path).groups)) == 12
    assert set(load("folder", tmp_path, group="patient").groups) == {"p0", "p1", "p2"}


def test_folder_with_unscored_images(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path)
    table = tmp_path / "scores.csv"
    table.write_text(table.read_text().replace("p0_0.png,p0,4.0", "p0_0.png,p0,"))
    data = load("folder", tmp_path)
    assert data.unlabelled.names == ("p0_0.png",)
    assert len(data.labelled) == 11
    with pytest.raises(DatasetError, match=r"p0_0\.png.*no score"):
        _ = data.scores


def test_sixteen_bit_and_palette_pictures(tmp_path: Path) -> None:
    from PIL import Image

    layouts.write_folder(tmp_path)
    Image.fromarray(np.full((8, 8), 65535, np.uint16)).save(tmp_path / "images/p0_0.png")
    Image.new("P", (8, 8)).save(tmp_path / "images/p0_1.png")
    data = load("folder", tmp_path)
    assert data.images[0].load().max() == 1
    assert data.images[1].load().shape == (3, 8, 8)


def test_ldctiqac2023_scales_hounsfield_units(tmp_path: Path) -> None:
    layouts.write_ldctiqac2023(tmp_path / "scaled")
    layouts.write_ldctiqac2023(tmp_path / "hu", hounsfield=True)
    scaled = load("ldctiqac2023", tmp_path / "scaled").images[1].load()
    from_hu = load("ldctiqac2023", tmp_path / "hu").images[1].load()
    assert np.abs(scaled - from_hu).max() < 1e-6


def test_ldctiqac2023_refuses_unknown_values(tmp_path: Path) -> None:
    from PIL import Image

    layouts.write_ldctiqac2023(tmp_path)
    path = tmp_path / "LDCTIQAG2023_train/image/0000.tif"
    Image.fromarray(np.full((8, 8), 37.0, np.float32)).save(path)
    with pytest.raises(DatasetError, match=r"0000\.tif: values 37…37"):
        load("ldctiqac2023", tmp_path).images[0].load()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    with pytest.raises(DatasetError, match="float32"):
        load("ldctiqac2023", tmp_path).images[0].load()


def test_ldctiqac2023_test_part_is_unlabelled(tmp_path: Path) -> None:
    layouts.write_ldctiqac2023(tmp_path, part="test")
    data = load("ldctiqac2023", tmp_path, part="test")
    assert len(data.unlabelled) == len(data) == 12


def test_ldctiqac2023_sources_table(tmp_path: Path) -> None:
    layouts.write_ldctiqac2023(tmp_path)
    assert len(set(load("ldctiqac2023", tmp_path).groups)) == 12
    rows = [f"{number:04d}.tif,s{number // layouts.LEVELS}" for number in range(12)]
    table = tmp_path / "LDCTIQAG2023_train/sources.csv"
    table.write_text("\n".join(["file,source", *rows]))
    assert set(load("ldctiqac2023", tmp_path).groups) == {"s0", "s1", "s2"}


def test_live_falls_back_to_info_txt(tmp_path: Path) -> None:
    written = layouts.write_live(tmp_path, realigned=False)
    data = load("live", tmp_path)
    assert set(data.names) == set(written)
    assert set(data.groups) == {"ref0.bmp", "ref1.bmp", "ref2.bmp"}


def test_rad_iqmri_parts(tmp_path: Path) -> None:
    layouts.write_rad_iqmri(tmp_path)
    sizes = [len(load("rad-iqmri", tmp_path, part=part)) for part in ("train", "val", "all")]
    assert sizes == [8, 4, 12]


def test_dicom_slices_are_drawn_and_grouped_by_patient(tmp_path: Path) -> None:
    written = layouts.write_dicom(tmp_path)
    data = load("dicom", tmp_path, render=SPEC)
    assert dict(zip(data.labelled.names, data.labelled.scores, strict=True)) == written
    assert data.unlabelled.names == ("patient0/0.dcm", "patient1/0.dcm")
    assert len(set(data.groups)) == 2
    assert not any("P0" in group for group in data.groups)
    assert data.images[0].load().shape == (1, 32, 32)


def test_shared_pictures_group_by_likeness(shared_data: Path, tmp_path: Path) -> None:
    """The real pictures in the published layout: their twelve source slices are found again."""
    real = load("folder", shared_data / "scored/pet_ct_iqa_ds", group="source_slice")
    chosen = real.select(np.arange(0, len(real), 4))
    home = tmp_path / "PET-CT-IQA-DS"
    home.mkdir()
    (home / "test").symlink_to(shared_data / "scored/pet_ct_iqa_ds/images")
    lines = [f"{image.name},{image.score}" for image in chosen]
    (home / "label.txt").write_text("\n".join(lines) + "\n")
    found = load("pet-ct-iqa-ds", tmp_path).groups
    assert len({*zip(found, chosen.groups, strict=True)}) == len(set(found)) == 12


class TestSplits:
    @pytest.fixture
    def data(self) -> ScoredImages:
        images = [
            ScoredImage(f"{group}-{n}", f"g{group}", float(n % 5), lambda: np.zeros((1, 2, 2)))
            for group, size in enumerate([9, 1, 4, 4, 2, 7, 3])
            for n in range(size)
        ]
        return ScoredImages(tuple(images), 0, 4)

    def test_no_group_on_both_sides(self, data: ScoredImages) -> None:
        parts = data.split_by_group((0.7, 0.1, 0.2), seed=3)
        assert sum(len(part) for part in parts) == len(data)
        groups = [set(part.groups) for part in parts]
        assert all(groups)
        assert not groups[0] & groups[1]
        assert not groups[0] & groups[2]
        assert not groups[1] & groups[2]
        assert 0.5 < len(parts[0]) / len(data) < 0.85

    def test_same_seed_same_parts(self, data: ScoredImages) -> None:
        first, again, other = (
            [part.names for part in data.split_by_group(3, seed)] for seed in (1, 1, 2)
        )
        assert first == again
        assert first != other

    def test_folds_hold_out_everything_once(self, data: ScoredImages) -> None:
        folds = data.folds(4, seed=20)
        held = [name for _, part in folds for name in part.names]
        assert sorted(held) == sorted(data.names)
        for train, part in folds:
            assert not set(train.groups) & set(part.groups)
            assert len(train) + len(part) == len(data)

    def test_a_part_can_be_left_out(self, data: ScoredImages) -> None:
        (half,) = data.split_by_group((0.5,), seed=0)
        assert 10 <= len(half) <= 20

    def test_too_few_groups(self, data: ScoredImages) -> None:
        with pytest.raises(DatasetError, match="7 groups do not fill 8 parts"):
            data.split_by_group(8, seed=0)

    @pytest.mark.parametrize("fractions", [(), (0.0, 1.0), (0.7, 0.7)])
    def test_fractions_that_make_no_sense(
        self, data: ScoredImages, fractions: tuple[float, ...]
    ) -> None:
        with pytest.raises(ValueError, match="fractions"):
            data.split_by_group(fractions, seed=0)


def test_a_dicom_file_nested_beyond_reason_is_passed_by(tmp_path: Path) -> None:
    layouts.write_dicom(tmp_path)
    before = load("dicom", tmp_path, render=SPEC).names
    whole = next(tmp_path.rglob("*.dcm")).read_bytes()
    meta = whole[: 144 + int.from_bytes(whole[140:144], "little")]
    item = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    (tmp_path / "bomb.dcm").write_bytes(meta + item * 20_000)
    assert load("dicom", tmp_path, render=SPEC).names == before
