"""What a spool gives back is what was received, or it is refused: whatever it lies on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from service.errors import DamagedFile
from service.spool.face import SHELVES, SpooledObject, read_object
from tests.factories import ct_slice, part10
from tests.media import ON_EACH_MEDIUM

pytestmark = ON_EACH_MEDIUM

ABSENT = f"00/{'0' * 64}.dcm"


def parts(number: int) -> tuple[bytes, bytes]:
    """Head and dataset of a slice's file."""
    content = part10(ct_slice(number))
    start = 144 + int.from_bytes(content[140:144], "little")
    return content[:start], content[start:]


@pytest.fixture
def path(medium):
    """Where a slice lies in the spool."""
    return medium.spool.store(*parts(1)).path


def test_what_was_stored_is_read(medium, path):
    spool = medium.spool
    assert medium.files() == [path]
    assert medium.content(path) == b"".join(parts(1))
    assert spool.size_bytes(path) == len(medium.content(path))
    assert spool.read(path).SOPInstanceUID == ct_slice(1).SOPInstanceUID
    assert "PixelData" not in spool.read(path)
    whole = read_object(SpooledObject(spool, path), stop_before_pixels=False)
    assert len(whole.PixelData) == 128 * 128 * 2


def test_the_same_object_again_is_one_file(medium, path):
    stored = medium.spool.store(*parts(1))
    assert (stored.path, stored.size_bytes) == (path, len(medium.content(path)))
    assert medium.files() == [path]


def test_what_lay_broken_under_the_name_is_whole_once_it_is_stored_again(medium, path):
    medium.write(path, bytes(len(medium.content(path))))
    medium.spool.store(*parts(1))
    assert medium.spool.read(path).SOPInstanceUID == ct_slice(1).SOPInstanceUID


def test_many_at_once_are_all_stored(medium):
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(lambda number: medium.spool.store(*parts(number)), range(1, 25)))
    assert medium.files() == sorted({one.path for one in stored})
    assert len(medium.files()) == 24


@pytest.mark.parametrize("damage", ["a bit", "the end", "the head", "all of it"])
def test_other_bytes_are_refused(medium, path, damage):
    content = bytearray(medium.content(path))
    match damage:
        case "a bit":
            content[-100] ^= 1
        case "the end":
            content = content[:-2]
        case "the head":
            content = content[130:]
        case _:
            content = bytearray()
    medium.write(path, bytes(content))
    with pytest.raises(DamagedFile, match="does not hold what was received"):
        medium.spool.read(path)


def test_a_missing_file_is_missing(medium, path, tmp_path):
    with pytest.raises(FileNotFoundError):
        medium.spool.read(ABSENT)
    with pytest.raises(FileNotFoundError):
        medium.spool.size_bytes(ABSENT)
    with pytest.raises(FileNotFoundError):
        medium.spool.stamp(ABSENT)
    assert not medium.spool.exists(ABSENT)
    assert medium.spool.written_at(ABSENT) is None
    assert not medium.spool.copy_to(ABSENT, tmp_path / "copy")
    medium.spool.remove(ABSENT)
    assert medium.spool.exists(path)


def test_files_are_listed_by_shelf_and_removed(medium, path):
    spool = medium.spool
    assert spool.mounted()
    assert not spool.empty()
    assert spool.on_shelf(path[0]) == {path}
    assert set().union(*map(spool.on_shelf, SHELVES)) == {path}
    medium.date(path, 1_600_000_000)
    assert spool.written_at(path) == 1_600_000_000
    spool.remove(path)
    assert medium.files() == []
    assert spool.empty()
    assert spool.on_shelf(path[0]) == set()


def test_files_are_copied_out_and_brought_back_whole(medium, path, tmp_path):
    copy = tmp_path / "copy"
    assert medium.spool.copy_to(path, copy)
    medium.lose(path)
    assert medium.spool.bring(path, copy)
    assert medium.content(path) == copy.read_bytes() == b"".join(parts(1))
    copy.write_bytes(b"rot")
    assert medium.spool.bring(path, copy), "it is there, so nothing is brought"
    medium.lose(path)
    assert not medium.spool.bring(path, copy)
    assert medium.files() == []
