"""An object read back from the spool: its content held against what was received.

The spool names each file by the SHA-256 of its dataset, and on shared storage it is another host
that reads. What does not hold what its name says is refused, so that no score and no report ever
stands on other bytes than those acknowledged; a spool that does not answer is no fault of the
object, which is tried again.
"""

from __future__ import annotations

import hashlib
import struct
from io import BufferedReader
from pathlib import Path

from pydicom import FileDataset

from service import header
from service.errors import DamagedFile, SpoolUnavailable

_META_LENGTH = struct.Struct("<4s4s2sHL")
"""PS3.10 7.1: `DICM`, then File Meta Information Group Length (0002,0000)."""
_PREAMBLE_BYTES = 128


def read_spooled(path: Path, *, stop_before_pixels: bool = True) -> FileDataset:
    """Read a file of the spool, its dataset whole and unchanged.

    Raises DamagedFile, UnreadableObject, ObjectTooLarge; FileNotFoundError where there is none;
    SpoolUnavailable where it cannot be read now.
    """
    try:
        with path.open("rb") as file:
            _check(file, path)
            file.seek(0)
            return header.read_file(file, stop_before_pixels=stop_before_pixels)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SpoolUnavailable(f"the spool cannot be read: {error.strerror}") from error


def is_whole(path: Path) -> bool:
    """Whether a file of the spool holds what was received, readable or not. Raises OSError."""
    with path.open("rb") as file:
        try:
            _check(file, path)
        except DamagedFile:
            return False
    return True


def _check(file: BufferedReader, path: Path) -> None:
    """Hold the dataset against the digest that the file is named by. Raises DamagedFile."""
    head = file.read(_PREAMBLE_BYTES + _META_LENGTH.size)[_PREAMBLE_BYTES:]
    if len(head) == _META_LENGTH.size:
        magic, tag, _, _, meta_bytes = _META_LENGTH.unpack(head)
        if (magic, tag) == (b"DICM", b"\2\0\0\0"):
            file.seek(_PREAMBLE_BYTES + _META_LENGTH.size + meta_bytes)
            if hashlib.file_digest(file, "sha256").hexdigest() == path.stem:
                return
    raise DamagedFile("its file in the spool does not hold what was received (SHA-256 differs)")
