"""The spool as a folder, on a disk of the host's own or on one that several hosts mount."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

from pydicom import FileDataset

from service import header
from service.errors import DamagedFile, SpoolUnavailable
from service.spool.content import check_file
from service.spool.face import FOLDER, SET_ASIDE, SpooledFile, digest_in, path_of

SYNCING_THREADS = 8
LEFTOVER_AFTER_S = 3600.0
"""A file in `incoming` is written within seconds."""


class FolderSpool:
    """Files below `root`. A file under its final name that `store` did not return may, after a
    power cut, be neither whole nor durable, and is written again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "incoming"
        self._durable_folders: set[Path] = set()
        self._syncing = ThreadPoolExecutor(SYNCING_THREADS, thread_name_prefix="folder-sync")

    @property
    def name(self) -> str:
        return str(self.root)

    def prepare(self) -> None:
        self._incoming.mkdir(parents=True, exist_ok=True)

    def has_room(self, size_bytes: int, reserve_bytes: int) -> bool:
        """By what an unprivileged process may use of the file system."""
        return shutil.disk_usage(self.root).free - size_bytes >= reserve_bytes

    def store(self, head: bytes, dataset: bytes | memoryview) -> SpooledFile:
        """Write, rename, then flush file and folder at once: the disk serves both by one flush."""
        sha256 = hashlib.sha256(dataset).hexdigest()
        relative = path_of(sha256)
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

    def read(self, path: str, *, stop_before_pixels: bool = True) -> FileDataset:
        try:
            with (self.root / path).open("rb") as file:
                check_file(file, digest_in(path))
                file.seek(0)
                return header.read_file(file, stop_before_pixels=stop_before_pixels)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise SpoolUnavailable(f"the spool cannot be read: {error.strerror}") from error

    def clear_incoming(self, now: float) -> int:
        """Only what nobody has touched for long: other receivers write here, too."""
        leftovers = 0
        for path in self._incoming.iterdir():
            with contextlib.suppress(FileNotFoundError):  # renamed, or removed by another receiver
                if now - path.stat().st_mtime > LEFTOVER_AFTER_S:
                    path.unlink()
                    leftovers += 1
        return leftovers

    def mounted(self) -> bool:
        """By the `incoming` folder, which receivers make when they start."""
        return self._incoming.is_dir()

    def empty(self) -> bool:
        return not any(self.on_shelf(folder) for folder in self._folders())

    def on_shelf(self, shelf: str) -> set[str]:
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

    def exists(self, path: str) -> bool:
        return (self.root / path).is_file()

    def written_at(self, path: str) -> float | None:
        try:
            return (self.root / path).stat().st_mtime
        except FileNotFoundError:
            return None

    def size_bytes(self, path: str) -> int:
        return (self.root / path).stat().st_size

    def remove(self, path: str) -> None:
        (self.root / path).unlink(missing_ok=True)

    def stamp(self, path: str) -> str:
        return _inode(self.root / path)

    def set_aside(self, path: str, stamp: str) -> bool:
        """Move it to `unreadable`; back again, should it turn out to be another one."""
        folder = self.root / SET_ASIDE
        folder.mkdir(exist_ok=True)
        moved = folder / Path(path).name
        try:
            (self.root / path).rename(moved)
        except FileNotFoundError:
            return False
        if _inode(moved) == stamp:
            return True
        moved.rename(self.root / path)
        return False

    def copy_to(self, path: str, target: Path) -> bool:
        try:
            shutil.copy2(self.root / path, target)
        except FileNotFoundError:
            return False
        return True

    def bring(self, path: str, source: Path) -> bool:
        """Copy it under its name once it is whole."""
        if self.exists(path):
            return True
        final = self.root / path
        incoming = self._incoming / final.name
        shutil.copy2(source, incoming)
        with incoming.open("rb") as file:
            try:
                check_file(file, digest_in(path))
            except DamagedFile:
                incoming.unlink()
                return False
        final.parent.mkdir(exist_ok=True)
        incoming.rename(final)
        return True

    def _folders(self) -> list[str]:
        return sorted(one.name for one in self.root.iterdir() if FOLDER.fullmatch(one.name))


def _open_if_whole(path: Path, dataset: bytes | memoryview) -> int | None:
    """A descriptor of the file, if it is there and ends with this dataset."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    whole = memoryview(content)[-len(dataset) :] == dataset
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC) if whole else None


def _inode(path: Path) -> str:
    return str(path.stat().st_ino)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
