"""The spool: one Part 10 file an object, named by the SHA-256 of its dataset."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

SYNCING_THREADS = 8
LEFTOVER_AFTER_S = 3600.0
"""A file in `incoming` is written within seconds."""


@dataclass(frozen=True)
class SpooledFile:
    """A durable file. `path` is relative to the spool; `sha256` is over the dataset alone."""

    path: str
    sha256: str
    size_bytes: int


class Spool:
    """Content-addressed files. What `store` returned is whole and durable; a file under its final
    name that nobody returned may, after a power cut, be neither, and is written again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._durable_folders: set[Path] = set()
        self._syncing = ThreadPoolExecutor(SYNCING_THREADS, thread_name_prefix="folder-sync")

    def free_bytes(self) -> int:
        """Free space an unprivileged process may use on the spool's file system."""
        return shutil.disk_usage(self.root).free

    def store(self, head: bytes, dataset: bytes | memoryview) -> SpooledFile:
        """Write, rename, then flush file and folder at once: the disk serves both by one flush.

        Raises OSError; then nothing durable is promised.
        """
        sha256 = hashlib.sha256(dataset).hexdigest()
        relative = f"{sha256[:2]}/{sha256}.dcm"
        stored = SpooledFile(relative, sha256, len(head) + len(dataset))
        final = self.root / relative
        folder = final.parent
        if folder not in self._durable_folders:
            folder.mkdir(exist_ok=True)
        descriptor = _open_if_whole(final, dataset)
        if descriptor is None:
            descriptor = self._write(final, head, dataset)
        try:
            synced = [self._syncing.submit(_sync_folder, folder)]
            if folder not in self._durable_folders:
                synced.append(self._syncing.submit(_sync_folder, self.root))
            os.fdatasync(descriptor)
            for one in synced:
                one.result()
        finally:
            os.close(descriptor)
        self._durable_folders.add(folder)
        return stored

    def _write(self, final: Path, head: bytes, dataset: bytes | memoryview) -> int:
        """The descriptor of a new file under its final name, not flushed yet."""
        incoming = self._incoming / uuid4().hex
        descriptor = os.open(incoming, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            for part in (head, dataset):
                view = memoryview(part)
                while view:
                    view = view[os.write(descriptor, view) :]
            incoming.rename(final)
        except OSError:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                incoming.unlink()
            raise
        return descriptor

    def clear_incoming(self, now: float) -> int:
        """Remove what killed receivers left half-written; returns how many files.

        Only what nobody has touched for long: other receivers write here, too.
        """
        leftovers = 0
        for path in self._incoming.iterdir():
            with contextlib.suppress(FileNotFoundError):  # renamed, or removed by another receiver
                if now - path.stat().st_mtime > LEFTOVER_AFTER_S:
                    path.unlink()
                    leftovers += 1
        return leftovers


def _open_if_whole(path: Path, dataset: bytes | memoryview) -> int | None:
    """A descriptor of the file, if it is there and ends with this dataset."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    whole = memoryview(content)[-len(dataset) :] == dataset
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC) if whole else None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
