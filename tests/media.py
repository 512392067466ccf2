"""What a spool may lie on, as a test sees it: with hands that reach behind the gate's back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import pytest

from service.spool.face import Spool
from service.spool.folder import FolderSpool
from tests.object_store import BUCKET, ObjectStore

PREFIX = "a/prefix"
KINDS = ("a folder", "an object store")
ON_EACH_MEDIUM = pytest.mark.parametrize("kind", KINDS, indirect=True)
"""For tests whose `medium` is a folder unless this says otherwise."""


class Medium(Protocol):
    """Paths are relative to the spool."""

    spool: Spool
    settings: dict[str, Any]
    """What of the gate's settings names this spool."""

    def content(self, path: str) -> bytes: ...

    def write(self, path: str, content: bytes) -> None:
        """Other bytes under a name, new or not."""

    def lose(self, path: str) -> None: ...

    def date(self, path: str, at: float) -> None:
        """As if it had been written then."""

    def files(self) -> list[str]:
        """Everything in it but what marks it as a spool."""


class FolderMedium:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.spool: Spool = FolderSpool(root)
        self.spool.prepare()
        self.settings = {"spool_folder": root}

    def content(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def write(self, path: str, content: bytes) -> None:
        (self.root / path).parent.mkdir(exist_ok=True)
        (self.root / path).write_bytes(content)

    def lose(self, path: str) -> None:
        (self.root / path).unlink()

    def date(self, path: str, at: float) -> None:
        os.utime(self.root / path, (at, at))

    def files(self) -> list[str]:
        found = (path for path in self.root.rglob("*") if path.is_file())
        return sorted(str(path.relative_to(self.root)) for path in found)


class StoreMedium:
    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.spool: Spool = store.spool(PREFIX)
        self.spool.prepare()
        self.settings = {
            "spool_url": f"s3://{BUCKET}/{PREFIX}",
            "spool_endpoint": store.endpoint,
        }

    def content(self, path: str) -> bytes:
        return bytes(self.store.objects()[f"{PREFIX}/{path}"].value)

    def write(self, path: str, content: bytes) -> None:
        self.store.write(f"{PREFIX}/{path}", content)

    def lose(self, path: str) -> None:
        self.store.lose(f"{PREFIX}/{path}")

    def date(self, path: str, at: float) -> None:
        self.store.date(f"{PREFIX}/{path}", at)

    def files(self) -> list[str]:
        keys = (key.removeprefix(f"{PREFIX}/") for key in self.store.objects())
        return sorted(key for key in keys if key != "iqgate-spool")
