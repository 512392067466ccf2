"""The spool as objects of an S3-compatible store, through fsspec.

A PUT that was answered is durable and whole, and whoever reads next has it: S3 promises that, and a
store for the gate must. An object is fetched in one piece, held against its digest, and read from
memory. Nothing the gate may have acknowledged is ever deleted here but by retention: S3 has no
rename, and a delete cannot be told not to hit what another host wrote a moment ago.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

from pydicom import FileDataset

from service import header
from service.errors import ConfigError, DamagedFile, SpoolUnavailable
from service.log import line
from service.spool.content import check_bytes
from service.spool.face import FOLDER, SET_ASIDE, SpooledFile, digest_in, path_of

log = logging.getLogger("iqgate.spool")

MARK = "iqgate-spool"
"""Receivers put this object when they start: where it is not, there is no spool."""

CONNECT_S, SILENT_S, REQUEST_S = 3, 10, 60
"""Given up: a connection, a store that says nothing, and a request altogether."""
RETRIES, RETRIED_S = 2, 15
"""A request that failed is repeated so often, and only within so many seconds."""

NO_BUCKET = "its bucket is not there"

_STATUS = re.compile(r"status code: (\d{3})")
_CREDENTIALS_OF_AN_INSTANCE = "169.254.169.254"


class ObjectSpool:
    """Objects below `s3://bucket/prefix`."""

    def __init__(self, url: str, endpoint: str) -> None:
        """endpoint: URL of the store, empty for Amazon's own. Credentials and region are read from
        the environment (AWS_ACCESS_KEY_ID, …)."""
        # here, because a gate with a folder needs neither, and they take their time and memory
        from obstore.exceptions import BaseError
        from obstore.fsspec import FsspecStore

        self._root = url.removeprefix("s3://").rstrip("/")
        self._failures = (BaseError, OSError)
        self._marked = False
        client: dict[str, Any] = {
            "connect_timeout": timedelta(seconds=CONNECT_S),
            "read_timeout": timedelta(seconds=SILENT_S),
            "timeout": timedelta(seconds=REQUEST_S),
        }
        options: dict[str, Any] = {
            "client_options": client,
            "retry_config": {
                "max_retries": RETRIES,
                "retry_timeout": timedelta(seconds=RETRIED_S),
            },
            "skip_instance_cache": True,
        }
        if endpoint:
            options["endpoint"] = endpoint.rstrip("/")
            client["allow_http"] = endpoint.startswith("http://")
        self._store: Any = FsspecStore("s3", **options)

    @property
    def name(self) -> str:
        return f"s3://{self._root}"

    def prepare(self) -> None:
        """A store that does not answer now is marked with the first object instead, so that a
        receiver can start and refuse objects; one that refuses access needs the operator."""
        try:
            self._mark()
        except OSError as error:
            if error.errno != errno.EIO:
                raise ConfigError(
                    f"spool_url = {self.name}: {error.strerror}; what bucket and environment need "
                    "is in docs/several-hosts.md"
                ) from error

    def _mark(self) -> None:
        if not self.mounted():
            self._put(MARK, b"an iqgate spool; do not delete\n")
        self._marked = True

    def has_room(self, size_bytes: int, reserve_bytes: int) -> bool:  # noqa: ARG002
        """A store does not say how full it is; one that is refuses."""
        return True

    def store(self, head: bytes, dataset: bytes | memoryview) -> SpooledFile:
        """Put it, whether it is there or not: that another host's PUT was answered is not known,
        and the same content may be put any number of times."""
        sha256 = hashlib.sha256(dataset).hexdigest()
        content = b"".join((head, dataset))
        stored = SpooledFile(path_of(sha256), sha256, len(content))
        if not self._marked:
            self._mark()
        self._put(stored.path, content)
        return stored

    def read(self, path: str, *, stop_before_pixels: bool = True) -> FileDataset:
        try:
            content = self._get(path)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise SpoolUnavailable(f"the spool cannot be read: {error.strerror}") from error
        check_bytes(content, digest_in(path))
        return header.read_file(BytesIO(content), stop_before_pixels=stop_before_pixels)

    def clear_incoming(self, now: float) -> int:  # noqa: ARG002
        """Nothing is ever seen half-written; parts of uploads that never ended are the store's to
        clear (a lifecycle rule, docs/several-hosts.md)."""
        return 0

    def mounted(self) -> bool:
        return self._info(MARK) is not None

    def empty(self) -> bool:
        return not any(self._objects(folder) for folder in self._folders())

    def on_shelf(self, shelf: str) -> set[str]:
        return {
            path
            for folder in self._folders()
            if folder.startswith(shelf)
            for path in self._objects(folder)
        }

    def exists(self, path: str) -> bool:
        return self._info(path) is not None

    def written_at(self, path: str) -> float | None:
        """By the store's clock, to the second."""
        found = self._info(path)
        return None if found is None else float(found["last_modified"].timestamp())

    def size_bytes(self, path: str) -> int:
        return int(self._there(path)["size"])

    def remove(self, path: str) -> None:
        with self._translated("delete"):
            self._store.rm_file(self._key(path))

    def stamp(self, path: str) -> str:
        return str(self._there(path)["e_tag"])

    def set_aside(self, path: str, stamp: str) -> bool:
        """Name it in `unreadable`, and leave it where it is (see above)."""
        note = f"{SET_ASIDE}/{PurePosixPath(path).name}"
        told = f"{path} {stamp}\n".encode()
        if self._info(note) is not None and self._get(note) == told:
            return False
        self._put(note, told)
        return True

    def copy_to(self, path: str, target: Path) -> bool:
        try:
            target.write_bytes(self._get(path))
        except FileNotFoundError:
            return False
        return True

    def bring(self, path: str, source: Path) -> bool:
        if self.exists(path):
            return True
        content = source.read_bytes()
        try:
            check_bytes(content, digest_in(path))
        except DamagedFile:
            return False
        self._put(path, content)
        return True

    def _key(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _put(self, path: str, content: bytes) -> None:
        with self._translated("put"):
            try:
                self._store.pipe_file(self._key(path), content)
            except FileNotFoundError:
                raise self._refused(NO_BUCKET) from None

    def _get(self, path: str) -> bytes:
        """Raises FileNotFoundError where the spool is there and the object is not."""
        with self._translated("get"):
            try:
                content: bytes = self._store.cat_file(self._key(path))
            except FileNotFoundError:
                if path != MARK and not self.mounted():
                    raise self._refused(f"{NO_BUCKET}, or not its spool") from None
                raise FileNotFoundError(errno.ENOENT, "no such object", path) from None
        return content

    def _info(self, path: str) -> dict[str, Any] | None:
        with self._translated("head"):
            try:
                found: dict[str, Any] = self._store.info(self._key(path))
            except FileNotFoundError:
                return None
        return found if found["type"] == "file" else None

    def _there(self, path: str) -> dict[str, Any]:
        found = self._info(path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "no such object", path)
        return found

    def _folders(self) -> list[str]:
        """Names of the folders that hold objects."""
        found = (PurePosixPath(one["name"]).name for one in self._listed("", "directory"))
        return sorted(one for one in found if FOLDER.fullmatch(one))

    def _objects(self, folder: str) -> set[str]:
        names = (PurePosixPath(one["name"]).name for one in self._listed(folder, "file"))
        return {f"{folder}/{name}" for name in names if not name.startswith(".")}

    def _listed(self, folder: str, kind: str) -> list[dict[str, Any]]:
        with self._translated("list"):
            try:
                entries = self._store.ls(self._key(folder).rstrip("/"), detail=True)
            except FileNotFoundError:
                return []
        return [one for one in entries if one["type"] == kind]

    @contextmanager
    def _translated(self, asked: str) -> Iterator[None]:
        """What the library raises, as OSError: first in a log line, then in plain words."""
        try:
            yield
        except self._failures as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # ours
            detail = str(error).partition("\n")[0].partition("<")[0]  # not the answer's own text
            log.warning(line("store-failed", asked=asked, why=detail[:600]))
            if type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError"):
                raise self._refused("the store refuses access") from None
            if _CREDENTIALS_OF_AN_INSTANCE in detail:  # nothing in the environment has any
                raise self._refused("no credentials were found") from None
            status = _STATUS.search(detail)
            if status is not None and status[1] == "404":
                raise self._refused(NO_BUCKET) from None
            words = f"the store answers {status[1]}" if status else "the store does not answer"
            raise OSError(errno.EIO, words, self.name) from None

    def _refused(self, words: str) -> OSError:
        """What does not mend by itself. Words are short enough for an Error Comment (0000,0902)."""
        return PermissionError(errno.EACCES, words, self.name)
