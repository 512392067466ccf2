"""The spool as housekeeping sees it: files named by the digest of their dataset, in 256 folders.

What is not named so (a file system's lost+found, a hidden file of NFS) is not the gate's, and left
alone.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

SHELVES = tuple("0123456789abcdef")
"""First digits of folders: the spool is gone through in sixteen parts, so that the names of one
fit into memory."""

SET_ASIDE = "unreadable"
"""The folder of files that no row names and nobody can read."""

_FOLDER = re.compile(r"[0-9a-f]{2}")


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

    def inode(self, path: str) -> int:
        """Which file it is that lies there. Raises FileNotFoundError."""
        return (self.root / path).stat().st_ino

    def set_aside(self, path: str, inode: int) -> bool:
        """Move a file that cannot be read out of the way; whether it was done.

        Should a receiver have put another one in its place since `inode` was, that one stays.
        """
        folder = self.root / SET_ASIDE
        folder.mkdir(exist_ok=True)
        moved = folder / Path(path).name
        try:
            (self.root / path).rename(moved)
        except FileNotFoundError:
            return False
        if moved.stat().st_ino == inode:
            return True
        moved.rename(self.root / path)
        return False

    def _folders(self) -> list[str]:
        return sorted(one.name for one in self.root.iterdir() if _FOLDER.fullmatch(one.name))
