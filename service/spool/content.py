"""The content of a file held against its name: the SHA-256 of the dataset alone, so that no score
and no report ever stands on other bytes than those acknowledged."""

from __future__ import annotations

import hashlib
import struct
from io import BufferedReader

from service.errors import DamagedFile

_META_LENGTH = struct.Struct("<4s4s2sHL")
"""PS3.10 7.1: `DICM`, then File Meta Information Group Length (0002,0000)."""
_PREAMBLE_BYTES = 128
_HEAD_BYTES = _PREAMBLE_BYTES + _META_LENGTH.size


def check_file(file: BufferedReader, sha256: str) -> None:
    """Hold an open file, at its beginning, against a digest. Raises DamagedFile, OSError."""
    start = _dataset_start(file.read(_HEAD_BYTES))
    if start is not None:
        file.seek(start)
        if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
            return
    raise _damaged()


def check_bytes(content: bytes, sha256: str) -> None:
    """Hold a file's bytes against a digest. Raises DamagedFile."""
    start = _dataset_start(content[:_HEAD_BYTES])
    if start is None or hashlib.sha256(memoryview(content)[start:]).hexdigest() != sha256:
        raise _damaged()


def _dataset_start(head: bytes) -> int | None:
    """Where the dataset begins, after the file meta information; None where there is none."""
    if len(head) < _HEAD_BYTES:
        return None
    magic, tag, _, _, meta_bytes = _META_LENGTH.unpack(head[_PREAMBLE_BYTES:])
    if (magic, tag) != (b"DICM", b"\2\0\0\0"):
        return None
    return _HEAD_BYTES + int(meta_bytes)


def _damaged() -> DamagedFile:
    return DamagedFile("its file in the spool does not hold what was received (SHA-256 differs)")
