"""What every role process does: say it lives, obey signals, wait for the ledger, tell the time."""

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
from typing import Protocol, TypeVar

from service import notify
from service.errors import LedgerUnavailable
from service.ledger import roles
from service.ledger.database import Database
from service.log import line

log = logging.getLogger("iqgate.role")

RETRY_S = 2.0
"""Between two attempts at what needs the ledger, while it is away."""
AWAY = "waits for the ledger"

T = TypeVar("T")


def wall_clock() -> float:
    """Seconds since the epoch, UTC."""
    return time.time()


def process_name() -> str:
    return f"{socket.gethostname()[:40]}:{os.getpid()}"


def end_with_supervisor() -> None:
    """Have this process told to end when the supervisor's end of its standard input closes, however
    it went away."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def runs(process: str) -> bool | None:
    """Whether the process `host:pid` runs; None where it is another host's."""
    host, _, number = process.rpartition(":")
    if host != socket.gethostname()[:40]:
        return None
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's process, but there
    return True


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
        if not self._reload:
            self.pause(timeout_s, *others)

    def pause(self, timeout_s: float, *others: int) -> None:
        """`wait` for whoever can obey no order but to end: one to reload stays asked."""
        if self.stopping:
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
        self._role = role
        self._started_at = clock()
        self._away = False
        with contextlib.suppress(LedgerUnavailable):  # the first beat that it takes will do
            roles.enter(database, self._process, role, self._started_at, runs)

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
        """Say it if it is due. Not before the ledger took it or failed: a process that hangs there
        is not alive to anybody, one that waits for the ledger to come back is."""
        now = self._clock()
        if force or now >= self._due_at:
            self._due_at = now + self.INTERVAL_S
            try:
                roles.see(
                    self._database,
                    self._process,
                    self._role,
                    started_at=self._started_at,
                    ready=self._ready,
                    detail=self._detail,
                    now=now,
                )
            except LedgerUnavailable:
                self._tell(away=True)
            else:
                self._tell(away=False)

    def wait(self) -> None:
        """Say that it waits for the ledger, which did not take something else just now; asking it
        once more would hold up whoever waits for a sign of life."""
        self._tell(away=True)

    def _tell(self, *, away: bool) -> None:
        if not self._ready:
            notify.starting(AWAY if away else self._detail)
        elif away != self._away:
            notify.alive(AWAY if away else self._detail)
        else:
            notify.alive()
        self._away = away

    def stop(self) -> None:
        with contextlib.suppress(LedgerUnavailable):  # it will be seen to be silent
            roles.leave(self._database, self._process)


class Patiently(Protocol):
    """Runs a step, and returns what it returns."""

    def __call__(self, step: Callable[[], T], /) -> T: ...


def at_once(step: Callable[[], T], /) -> T:
    """No patience: a ledger that is away is the caller's concern."""
    return step()


class Patience:
    """Runs steps that may be run again; while the ledger is away it waits for it.

    pause: waits for so many seconds; true where the process is told to end meanwhile. Then the step
    is given up, and LedgerUnavailable raised: leases end by themselves.
    """

    def __init__(self, pause: Callable[[float], bool]) -> None:
        self._pause = pause

    def __call__(self, step: Callable[[], T], /) -> T:
        while True:
            try:
                return step()
            except LedgerUnavailable:
                if self._pause(RETRY_S):
                    raise


def patience(heart: Heart, orders: Orders) -> Patience:
    """A role's, in its main thread: it says that it lives, and obeys, while it waits."""

    def pause(seconds: float) -> bool:
        heart.wait()
        orders.pause(seconds)
        return orders.stopping

    return Patience(pause)


def at_start(step: Callable[[], T]) -> T:
    """What a process begins with, as soon as the ledger is there; SIGTERM ends a wait."""

    def pause(seconds: float) -> bool:
        notify.starting(AWAY)
        time.sleep(seconds)
        return False

    try:
        return step()
    except LedgerUnavailable as error:
        log.error(line("ledger-away", why=error))
    return Patience(pause)(step)
