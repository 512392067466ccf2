"""Engines built for one GPU, kept as files under everything that they depend on.

An engine's file is one line of JSON (its key, and the size and SHA-256 of what follows) and the
plan itself. It is written beside its place and renamed, and read back against its line: a file
that a kill left half written, that was cut short, or that belongs to another key is no engine and
is built anew. Several workers that want the same engine build it once: the others wait.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from service.errors import EngineUnavailable, StartupCalledOff
from service.score.engines import Startup

LOOK_S = 1.0
"""Between looks at a lock that another worker holds."""


@dataclass(frozen=True)
class EngineKey:
    """Everything that an engine depends on.

    bundle: its name, to be read by people; model: SHA-256 of `model.onnx`; graph: SHA-256 of the
    graph that was built, derived from it; profiles: (smallest, best, largest) batch sizes.
    """

    bundle: str
    model: str
    graph: str
    precision: str
    profiles: tuple[tuple[int, int, int], ...]
    tensorrt: str
    gpu: str
    compute_capability: str

    @property
    def line(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.line.encode()).hexdigest()


class EngineCache:
    """A folder of engines, and of what TensorRT learnt timing kernels."""

    def __init__(self, folder: Path) -> None:
        """Raises EngineUnavailable when the folder cannot be made."""
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EngineUnavailable(
                f"score.engine_cache = {folder}: cannot be made: {error.strerror}"
            ) from error

    def path(self, key: EngineKey) -> Path:
        return self.folder / f"{key.bundle}-{key.digest[:16]}.engine"

    def read(self, key: EngineKey) -> bytes | None:
        """The plan built under a key; None where there is none, or none that is whole."""
        try:
            content = self.path(key).read_bytes()
        except FileNotFoundError:
            return None
        head, _, plan = content.partition(b"\n")
        return plan if head.decode("utf-8", "replace") == _head(key, plan) else None

    def write(self, key: EngineKey, plan: bytes) -> Path:
        path = self.path(key)
        _write_whole(path, _head(key, plan).encode() + b"\n" + plan)
        return path

    def read_timings(self, key: EngineKey) -> bytes:
        """What earlier builds for this GPU and this TensorRT learnt; empty at first."""
        path = self._timings(key)
        return path.read_bytes() if path.exists() else b""

    def write_timings(self, key: EngineKey, timings: bytes) -> None:
        _write_whole(self._timings(key), timings)

    def drop(self, key: EngineKey) -> None:
        """Forget an engine, as one that was refused."""
        self.path(key).unlink(missing_ok=True)

    @contextmanager
    def building(self, key: EngineKey, startup: Startup) -> Iterator[None]:
        """Held by the one process that builds an engine; the kernel lets go when it dies.

        Raises StartupCalledOff when asked to end while another process holds it.
        """
        with self.path(key).with_suffix(".lock").open("w") as lock:
            while not _taken(lock):
                startup.say(f"{key.bundle}: another worker builds its engine")
                if startup.stopping():
                    raise StartupCalledOff(f"{key.bundle}: waiting for its engine was called off")
                time.sleep(LOOK_S)
            yield

    def _timings(self, key: EngineKey) -> Path:
        of = f"{key.tensorrt} {key.gpu} {key.compute_capability}"
        return self.folder / f"timings-{hashlib.sha256(of.encode()).hexdigest()[:16]}.cache"


def _taken(lock: IO[str]) -> bool:
    """Take a lock, if nobody holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _head(key: EngineKey, plan: bytes) -> str:
    facts = {"key": key.line, "bytes": len(plan), "sha256": hashlib.sha256(plan).hexdigest()}
    return json.dumps(facts, sort_keys=True)


def _write_whole(path: Path, content: bytes) -> None:
    """Raises EngineUnavailable where it cannot be written."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise EngineUnavailable(
            f"{path}: cannot be written: {error.strerror}; give score.engine_cache a folder with "
            "room"
        ) from error
