"""The spool as housekeeping sees it: files named by the digest of their dataset, in 256 folders.

What is not named so (a file system's lost+found, a hidden file of NFS) is not the gate's, and left
alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
from pathlib import Path

from service.errors import UnreadableObject

SHELVES = tuple("0123456789abcdef")
"""First digits of folders: the spool is gone through in sixteen parts, so that the names of one
fit into memory."""

SET_ASIDE = "unreadable"
"""The folder of files that no row names and nobody can read."""

_FOLDER = re.compile(r"[0-9a-f]{2}")
_META_GROUP_LENGTH = struct.Struct("<HH2sHL")
_HEAD_BYTES = 128 + 4 + _META_GROUP_LENGTH.size


class SpoolFiles:
    """Files below `root`, by paths relative to it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def mounted(self) -> bool:
        """Whether this is a spool at all: receivers make its `incoming` folder when they start."""
        return (self.root / "incoming").is_dir()

    def on_shelf(self, shelf: str) -> set[str]:
        """Paths of all files in folders whose name begins with `shelf`."""
        found = set()
        for folder in self._folders():
            if folder.startswith(shelf):
                with os.scandir(self.root / folder) as entries:
                    found |= {
                        f"{folder}/{one.name}"
                        for one in entries
                        if not one.name.startswith(".") and one.is_file(follow_symlinks=False)
                    }
        return found

    def empty(self) -> bool:
        """Whether there is no file at all."""
        return not any(self.on_shelf(folder) for folder in self._folders())

    def exists(self, path: str) -> bool:
        return (self.root / path).is_file()

    def written_at(self, path: str) -> float | None:
        """When the file was written; None where it is not there."""
        try:
            return (self.root / path).stat().st_mtime
        except FileNotFoundError:
            return None

    def remove(self, path: str) -> None:
        """Unlink a file; one that is not there is no error."""
        (self.root / path).unlink(missing_ok=True)

    def set_aside(self, path: str) -> bool:
        """Move a file that cannot be read out of the way; whether it was done.

        Should a receiver have put a whole one in its place just then, that one stays.
        """
        folder = self.root / SET_ASIDE
        folder.mkdir(exist_ok=True)
        moved = folder / Path(path).name
        try:
            (self.root / path).rename(moved)
        except FileNotFoundError:
            return False
        if not whole(moved, named=Path(path).stem):
            return True
        moved.rename(self.root / path)
        return False

    def _folders(self) -> list[str]:
        return sorted(one.name for one in self.root.iterdir() if _FOLDER.fullmatch(one.name))


def dataset_digest(path: Path) -> str:
    """SHA-256 of the dataset behind a Part 10 file's meta information. Raises UnreadableObject,
    OSError."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if len(head) < _HEAD_BYTES or head[128:132] != b"DICM":
            raise UnreadableObject("it is no Part 10 file")
        group, element, _, _, length = _META_GROUP_LENGTH.unpack(head[132:])
        if (group, element) != (0x0002, 0x0000):
            raise UnreadableObject("its meta information does not say how long it is")
        file.seek(_HEAD_BYTES + length)
        return hashlib.file_digest(file, "sha256").hexdigest()


def whole(path: Path, *, named: str) -> bool:
    """Whether a file holds the dataset that its name promises. Raises OSError."""
    try:
        return dataset_digest(path) == named
    except UnreadableObject:
        return False
