"""The spool: one Part 10 file an object, named by the SHA-256 of its dataset."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4


@dataclass(frozen=True)
class SpooledFile:
    """A durable file. `path` is relative to the spool; `sha256` is over the dataset alone."""

    path: str
    sha256: str
    size_bytes: int


class Spool:
    """Content-addressed files; a file under its final name is whole and durable."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def free_bytes(self) -> int:
        """Free space an unprivileged process may use on the spool's file system."""
        return shutil.disk_usage(self.root).free

    def store(self, preamble_and_meta: bytes, dataset: bytes) -> SpooledFile:
        """Write, fsync, rename, fsync the folder. Raises OSError; then no file is left."""
        sha256 = hashlib.sha256(dataset).hexdigest()
        relative = f"{sha256[:2]}/{sha256}.dcm"
        size_bytes = len(preamble_and_meta) + len(dataset)
        final = self.root / relative
        stored = SpooledFile(relative, sha256, size_bytes)
        if final.exists():
            # whoever wrote it may have died before its folder was durable
            _sync_folder(final.parent)
            return stored
        new_folder = not final.parent.exists()
        final.parent.mkdir(exist_ok=True)
        incoming = self._incoming / uuid4().hex
        try:
            with incoming.open("wb") as file:
                file.write(preamble_and_meta)
                file.write(dataset)
                file.flush()
                os.fdatasync(file.fileno())
            incoming.rename(final)
        except OSError:
            with contextlib.suppress(OSError):
                incoming.unlink()
            raise
        _sync_folder(final.parent)
        if new_folder:
            _sync_folder(self.root)
        return stored

    def clear_incoming(self) -> int:
        """Remove what a killed receiver left half-written; returns how many files."""
        leftovers = list(self._incoming.iterdir())
        for path in leftovers:
            path.unlink(missing_ok=True)
        return len(leftovers)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
