"""What every role process does: say it lives, stop when told, tell the time."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable

from service.ledger import roles
from service.ledger.database import Database


def wall_clock() -> float:
    """Seconds since the epoch, UTC."""
    return time.time()


def process_name() -> str:
    return f"{socket.gethostname()[:40]}:{os.getpid()}"


def stop_on_signal(stop: Callable[[], object]) -> None:
    """Call `stop` on SIGTERM and SIGINT. Main thread only."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop())


class Heart:
    """A role's row in the ledger: readiness, and a beat that shows it lives."""

    INTERVAL_S = 5.0

    def __init__(self, database: Database, role: str, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._process = process_name()
        self._ready = False
        self._detail = "starting"
        self._due_at = 0.0
        roles.enter(database, self._process, role, clock())

    def say(self, detail: str) -> None:
        """Why the process is not ready yet."""
        self._detail = detail
        self.beat(force=True)

    def ready(self, detail: str) -> None:
        self._ready, self._detail = True, detail
        self.beat(force=True)

    def beat(self, *, force: bool = False) -> None:
        """Write the row if it is due."""
        now = self._clock()
        if force or now >= self._due_at:
            self._due_at = now + self.INTERVAL_S
            roles.see(
                self._database, self._process, ready=self._ready, detail=self._detail, now=now
            )

    def stop(self) -> None:
        roles.leave(self._database, self._process)
