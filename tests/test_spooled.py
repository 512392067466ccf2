"""What the spool gives back is what was received, or it is refused."""

from __future__ import annotations

import pytest

from service.errors import DamagedFile, SpoolUnavailable
from service.receive.spool import Spool
from service.spooled import read_spooled
from tests.factories import ct_slice, spooled


@pytest.fixture
def stored(tmp_path):
    """A slice in the spool; its file."""
    written = tmp_path / spooled(tmp_path, ct_slice(1))
    content = written.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    assert Spool(tmp_path).store(content[:start], content[start:]).path == str(
        written.relative_to(tmp_path)
    ), "as receiving stores it"
    return written


def test_a_whole_file_is_read(stored):
    assert read_spooled(stored).SOPInstanceUID == ct_slice(1).SOPInstanceUID
    assert len(read_spooled(stored, stop_before_pixels=False).PixelData) == 128 * 128 * 2


@pytest.mark.parametrize("damage", ["a bit", "the end", "the head", "all of it"])
def test_other_bytes_are_refused(stored, damage):
    content = bytearray(stored.read_bytes())
    match damage:
        case "a bit":
            content[-100] ^= 1
        case "the end":
            content = content[:-2]
        case "the head":
            content = content[130:]
        case _:
            content = bytearray()
    stored.write_bytes(content)
    with pytest.raises(DamagedFile, match="does not hold what was received"):
        read_spooled(stored)


def test_a_missing_file_is_missing(stored):
    with pytest.raises(FileNotFoundError):
        read_spooled(stored.with_name("0" * 64))


def test_storage_that_fails_is_no_fault_of_the_object(stored, monkeypatch):
    def fails(*_arguments):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("service.spooled._check", fails)
    with pytest.raises(SpoolUnavailable, match="Input/output error"):
        read_spooled(stored)
