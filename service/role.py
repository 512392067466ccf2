"""What every role process does: say it lives, obey signals, tell the time."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType

from sqlalchemy.exc import SQLAlchemyError

from service import notify
from service.ledger import roles
from service.ledger.database import Database
from service.log import line

log = logging.getLogger("iqgate.role")


def wall_clock() -> float:
    """Seconds since the epoch, UTC."""
    return time.time()


def process_name() -> str:
    return f"{socket.gethostname()[:40]}:{os.getpid()}"


class Orders:
    """What signals ask of a process: SIGTERM and SIGINT that it finish what is in hand and end,
    SIGHUP that it read its configuration anew. Main thread only.

    A signal may come at any moment, so handlers take no lock that this thread may hold: nobody in
    it may wait on `stopped`, and `wake`, called for a loop that waits on something else than
    `wait`, must take none.
    """

    def __init__(self, wake: Callable[[], object] = lambda: None) -> None:
        self.stopped = threading.Event()
        self._reload = False
        self._wake = wake
        self._heard, self._ring = socket.socketpair()
        for end in (self._heard, self._ring):
            end.setblocking(False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)

    @property
    def stopping(self) -> bool:
        return self.stopped.is_set()

    def reload(self) -> bool:
        """Whether the configuration is to be read anew, since this was last asked."""
        asked, self._reload = self._reload, False
        return asked

    def wait(self, timeout_s: float, *others: int) -> None:
        """Return on a signal, when one of the descriptors `others` is readable, or in time."""
        if self.stopping or self._reload:
            return
        own = self._heard.fileno()
        ready, _, _ = select.select([own, *others], [], [], timeout_s)
        if own in ready:
            self._heard.recv(64)

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopped.set()
        notify.stopping()
        self._wake_up()

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload = True
        self._wake_up()

    def _wake_up(self) -> None:
        with contextlib.suppress(BlockingIOError):  # rung often enough to be heard
            self._ring.send(b"x")
        self._wake()


class Heart:
    """A role's standing: its row in the ledger, a beat that shows it lives, and what the service
    manager is told."""

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
        notify.ready(detail)

    def reloaded(self) -> None:
        """Reading the configuration anew, which `notify.reloading` began, is over."""
        notify.ready(self._detail)

    def beat(self, *, force: bool = False) -> None:
        """Say it if it is due. Not before the ledger took it: a process that waits for the ledger
        is not alive to anybody."""
        now = self._clock()
        if force or now >= self._due_at:
            self._due_at = now + self.INTERVAL_S
            try:
                roles.see(
                    self._database, self._process, ready=self._ready, detail=self._detail, now=now
                )
            except SQLAlchemyError as error:
                # a server that is restarted costs no role its life
                log.warning(line("ledger-failed", error=type(error).__name__))
                return
            if self._ready:
                notify.alive()
            else:
                notify.starting(self._detail)

    def stop(self) -> None:
        roles.leave(self._database, self._process)
