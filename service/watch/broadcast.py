"""Telling open pages that the ledger changed.

A thread waits for wake-ups, looks at the ledger, and hands what changed to the event loop. A page
is told only that something changed; it then asks for itself again. So a slow page misses nothing,
and there is nothing to queue for it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from service.errors import LedgerUnavailable
from service.ledger import reading
from service.ledger.database import Database
from service.ledger.reading import Backlog
from service.ledger.wake import Waiter, Wake

POLL_S = 0.5
MOST_LISTENERS = 200


class Full(Exception):
    """As many pages listen as may."""


class Listener:
    """One open page. `scanner` None: it shows all of them."""

    def __init__(self, scanner: str | None) -> None:
        self.scanner = scanner
        self.stirred = asyncio.Event()


class Broadcast:
    """The pages that listen. All but `close` belongs to the event loop's thread."""

    def __init__(self, most_listeners: int = MOST_LISTENERS) -> None:
        self.most_listeners = most_listeners
        self._listeners: set[Listener] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.closed = False

    def __len__(self) -> int:
        return len(self._listeners)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    @contextmanager
    def listening(self, scanner: str | None) -> Iterator[Listener]:
        """Listen for the length of a block. Raises Full."""
        if len(self._listeners) >= self.most_listeners or self.closed:
            raise Full
        listener = Listener(scanner)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def stir(self, scanners: Iterable[str]) -> None:
        """Wake the pages that show these scanners, and those that show all."""
        shown = set(scanners)
        for listener in self._listeners:
            if listener.scanner is None or listener.scanner in shown:
                listener.stirred.set()

    def stir_soon(self, scanners: Iterable[str]) -> None:
        """`stir`, from any thread."""
        self._soon(lambda: self.stir(scanners))

    def close(self) -> None:
        """End every stream, so that the server can stop; from any thread."""
        self.closed = True
        self._soon(self._wake_all)

    def _wake_all(self) -> None:
        for listener in self._listeners:
            listener.stirred.set()

    def _soon(self, call: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)


class LedgerWatch:
    """The thread that sees the ledger change."""

    def __init__(
        self, database: Database, wake: Wake, broadcast: Broadcast, clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._broadcast = broadcast
        self._clock = clock
        self._waiter = Waiter(wake, "watch")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger-watch", daemon=True)
        self._marks: dict[int, tuple[Any, ...]] = {}
        self._newest = 0
        self._standing: object = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread and free its sockets."""
        self._stopped.set()
        self._waiter.interrupt()
        self._thread.join()
        self._waiter.close()

    def look(self) -> set[str] | None:
        """Scanners whose series changed since the last look; None when nothing at all did."""
        with self._database.read() as connection:
            marks, newest = reading.changes(connection, self._newest)
            standing = (
                _counts(reading.backlog(connection, self._clock())),
                [
                    (one.process, one.ready, one.detail, one.fresh)
                    for one in reading.roles(connection, self._clock())
                ],
            )
        before, self._marks = self._marks, marks
        stirred = newest != self._newest or standing != self._standing
        self._newest, self._standing = newest, standing
        changed = {
            (marks.get(one) or before[one])[0]
            for one in before.keys() | marks.keys()
            if marks.get(one) != before.get(one)
        }
        return changed if changed or stirred else None

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                changed = self.look()
            except LedgerUnavailable:
                changed = None
            if changed is not None:
                self._broadcast.stir_soon(changed)
            self._waiter.wait(POLL_S)


def _counts(backlog: Backlog) -> Backlog:
    """A backlog without its ages, which change by themselves."""
    return replace(backlog, oldest_frame_s=0.0, oldest_report_s=0.0)
