"""The spool's one face: what receiving, scoring and housekeeping ask of it, whatever it lies on.

Objects are Part 10 files named by the SHA-256 of their dataset: `ab/abcd….dcm`. What `store`
returned is whole and durable, and what `read` returns is what was stored, or it is refused: on
shared storage it is another host that reads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from pydicom import FileDataset

from service import header

SHELVES = tuple("0123456789abcdef")
"""First digits of folders: housekeeping goes through the spool in sixteen parts, so that the names
of one fit into memory."""

SET_ASIDE = "unreadable"
"""The folder for files that no row names and nobody can read."""

FOLDER = re.compile(r"[0-9a-f]{2}")
"""What is not in a folder of such a name (a file system's lost+found, a hidden file of NFS) is not
the gate's, and left alone."""


@dataclass(frozen=True)
class SpooledFile:
    """A durable file. `path` is relative to the spool; `sha256` is over the dataset alone."""

    path: str
    sha256: str
    size_bytes: int


class Spool(Protocol):
    """Paths are relative to the spool. OSError means that the spool cannot be had now."""

    @property
    def name(self) -> str:
        """Where it is, for messages."""
        ...

    def prepare(self) -> None:
        """Make what tells a spool from a disk that is not mounted. Raises OSError; ConfigError
        where the operator must act."""
        ...

    def has_room(self, size_bytes: int, reserve_bytes: int) -> bool:
        """Whether a file of this size leaves the reserve untouched. Raises OSError."""
        ...

    def store(self, head: bytes, dataset: bytes | memoryview) -> SpooledFile:
        """Store a file durably. Raises OSError; then nothing durable is promised."""
        ...

    def read(self, path: str, *, stop_before_pixels: bool = True) -> FileDataset:
        """An object, whole and unchanged.

        Raises DamagedFile, UnreadableObject, ObjectTooLarge; FileNotFoundError where there is none;
        SpoolUnavailable where it cannot be read now, which is no fault of the object.
        """
        ...

    def clear_incoming(self, now: float) -> int:
        """Remove what killed receivers left half-written; how many files."""
        ...

    def mounted(self) -> bool:
        """Whether this is a spool at all. Raises OSError."""
        ...

    def empty(self) -> bool:
        """Whether there is no file at all. Raises OSError."""
        ...

    def on_shelf(self, shelf: str) -> set[str]:
        """Paths of all files in folders whose name begins with `shelf`. Raises OSError."""
        ...

    def exists(self, path: str) -> bool:
        """Raises OSError."""
        ...

    def written_at(self, path: str) -> float | None:
        """When the file was written; None where it is not there. Raises OSError."""
        ...

    def size_bytes(self, path: str) -> int:
        """Raises FileNotFoundError, OSError."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is no error. Raises OSError."""
        ...

    def stamp(self, path: str) -> str:
        """Which file it is that lies there: another one written in its place has another stamp.
        Raises FileNotFoundError, OSError."""
        ...

    def set_aside(self, path: str, stamp: str) -> bool:
        """Put a file that cannot be read out of the way; whether it was done. Should a receiver
        have put another one in its place since, that one stays. Raises OSError."""
        ...

    def copy_to(self, path: str, target: Path) -> bool:
        """Copy a file out of the spool; False where it is not there. Raises OSError."""
        ...

    def bring(self, path: str, source: Path) -> bool:
        """Copy a file into the spool unless it is there; False where it is not whole. Raises
        OSError."""
        ...


@dataclass(frozen=True)
class SpooledObject:
    """An object by where it lies in the spool."""

    spool: Spool
    path: str


def read_object(where: Path | SpooledObject, *, stop_before_pixels: bool = True) -> FileDataset:
    """An object in the spool, or in a file of the user's (which says nothing about its content).

    Raises what `Spool.read` does, or what `header.read_file` does.
    """
    if isinstance(where, SpooledObject):
        return where.spool.read(where.path, stop_before_pixels=stop_before_pixels)
    return header.read_file(where, stop_before_pixels=stop_before_pixels)


def path_of(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}.dcm"


def digest_in(path: str) -> str:
    """The SHA-256 that a file is named by."""
    return PurePosixPath(path).stem
