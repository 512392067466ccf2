"""A whole gate under test: `iqgate serve` as users start it, on free ports."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tests.peers import free_port
from tests.waiting import wait_for


@dataclass
class Gate:
    """A running gate; `data_dir` and ports outlive a restart."""

    folder: Path
    port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def config(self) -> Path:
        return self.folder / "iqgate.toml"

    def configure(self, text: str, *, commissioning: str = "waived") -> None:
        """Write the configuration: `text` after the data directory and whether commissioning is
        required."""
        self.folder.mkdir(parents=True, exist_ok=True)
        head = f'data_dir = "{self.data_dir}"\ncommissioning = "{commissioning}"\n'
        self.config.write_text(f"{head}{text}\n", encoding="utf-8")

    def start(self) -> None:
        """Start `iqgate serve` and wait until it is ready."""
        environment = {
            **os.environ,
            "IQGATE_RECEIVE__PORT": str(self.port),
            "IQGATE_WATCH__PORT": str(self.http_port),
        }
        if "\nprocesses =" not in self.config.read_text("utf-8"):
            environment["IQGATE_RECEIVE__PROCESSES"] = "1"  # the one to kill, and quicker to start
        with (self.folder / "gate.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service", "serve", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                env=environment,
            )
        wait_for("the gate is ready", self.ready, 60)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(40)

    def kill(self) -> None:
        """SIGKILL the supervisor; its roles end with it."""
        assert self.process is not None
        roles = self.role_pids()
        self.process.kill()
        self.process.wait(10)
        wait_for("the roles are gone", lambda: not any(_alive(pid) for pid in roles), 30)

    def kill_role(self, role: str) -> int:
        """SIGKILL one role's process; its process id."""
        (pid,) = self.rows(
            "SELECT process FROM role WHERE role = ? ORDER BY started_at DESC LIMIT 1", role
        )[0]
        number = int(str(pid).split(":")[1])
        os.kill(number, signal.SIGKILL)
        return number

    def role_pids(self) -> list[int]:
        return [
            int(str(process).split(":")[1]) for (process,) in self.rows("SELECT process FROM role")
        ]

    def ready(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"the gate ended: {self.log()[-3000:]}")
        try:
            return self.get("/readyz") is not None
        except (HTTPError, URLError, ConnectionError):
            return False

    def get(self, path: str) -> Any:
        with urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as response:
            return json.loads(response.read())

    def text(self, path: str) -> str:
        with urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as response:
            return str(response.read().decode())

    def log(self) -> str:
        return (self.folder / "gate.log").read_text(errors="replace")

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read the ledger."""
        path = self.data_dir / "iqgate.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(query, values).fetchall()

    def assessments(self, *, current: bool = True) -> list[dict[str, Any]]:
        """Assessments with their series' UID, newest last."""
        rows = self.rows(
            "SELECT s.series_instance_uid, a.verdict, a.score, a.generation, a.body"
            " FROM assessment a JOIN series s ON s.id = a.series_id"
            + (" WHERE a.current" if current else "")
            + " ORDER BY a.id"
        )
        keys = ("series_instance_uid", "verdict", "score", "generation")
        return [{**dict(zip(keys, row, strict=False)), **json.loads(row[4])} for row in rows]

    def outbox(self) -> list[tuple[str, str, str]]:
        """(kind, state, destination) of every parcel."""
        return self.rows(
            "SELECT r.kind, o.state, o.destination FROM outbox o"
            " JOIN report r ON r.id = o.report_id ORDER BY o.id"
        )


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and ") Z" in state.read_text())


@contextmanager
def running_gate(folder: Path, configuration: str, port: int | None = None) -> Iterator[Gate]:
    """A configured gate, stopped at the end."""
    gate = Gate(folder, port=port or free_port())
    gate.configure(configuration)
    try:
        gate.start()
        yield gate
    finally:
        gate.stop()


def peer_table(port: int) -> str:
    """The configuration of an Orthanc as PACS."""
    return (
        '\n[[deliver.peers]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\n'
        f"port = {port}\n"
    )
