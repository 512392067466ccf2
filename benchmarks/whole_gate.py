"""The whole gate, `iqgate serve`, started for a benchmark, and what its processes take."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from ingest import free_port


@dataclass(frozen=True)
class WholeGate:
    """A running gate: its DICOM port and its database, for reading."""

    port: int
    database: Path

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()

    def processes(self) -> dict[str, int]:
        """Process ids by role; a role's second process is `receive 2`."""
        found: dict[str, int] = {}
        for role, name in self.rows("SELECT role, process FROM role ORDER BY started_at"):
            again = sum(one.split()[0] == role for one in found)
            found[f"{role} {again + 1}" if again else role] = int(name.rpartition(":")[2])
        return found

    def cpu_s(self) -> dict[str, float]:
        """Processor seconds every role has taken so far."""
        tick = os.sysconf("SC_CLK_TCK")
        taken = {}
        for role, pid in self.processes().items():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            taken[role] = (int(fields[11]) + int(fields[12])) / tick
        return taken

    def peak_mb(self) -> dict[str, float]:
        """The most memory every role has held resident, in megabytes."""
        found = {}
        for role, pid in self.processes().items():
            status = Path(f"/proc/{pid}/status").read_text().splitlines()
            (line,) = (one for one in status if one.startswith("VmHWM"))
            found[role] = int(line.split()[1]) / 1000
        return found

    def stage_s(self) -> dict[str, float]:
        """Seconds the worker has spent in each stage so far."""
        return dict(self.rows("SELECT labels, value FROM tally WHERE name = 'stage_seconds'"))


@contextmanager
def whole_gate(folder: Path, *, receive: str = "", rest: str = "") -> Iterator[WholeGate]:
    """From when it is ready. receive, rest: more lines of its `[receive]` section, and of its
    configuration."""
    port, http_port = free_port(), free_port()
    config = folder / "iqgate.toml"
    config.write_text(
        f'mode = "shadow"\ndata_dir = "data"\n{rest}\n[watch]\nport = {http_port}\n'
        f"[receive]\nport = {port}\n{receive}\n"
    )
    command = [sys.executable, "-m", "service", "serve", "--config", str(config)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        while not _ready(http_port):
            if process.poll() is not None:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.1)
        yield WholeGate(port, folder / "data" / "iqgate.db")
    finally:
        process.terminate()
        process.wait()


def _ready(http_port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{http_port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, ConnectionError):
        return False
