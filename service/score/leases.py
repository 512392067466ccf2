"""A worker's heartbeat: the leases it holds are renewed from one thread while it works."""

from __future__ import annotations

import threading
from collections.abc import Callable

from service.errors import LeaseLost, LedgerUnavailable
from service.ledger import scoring
from service.ledger.database import Database


class Leases:
    """Claims held by this process, by their tokens."""

    def __init__(self, database: Database, lease_s: float, clock: Callable[[], float]) -> None:
        self._database = database
        self._lease_s = lease_s
        self._clock = clock
        self._tokens: set[str] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    def keep(self, token: str) -> None:
        with self._lock:
            self._tokens.add(token)

    def release(self, token: str) -> None:
        with self._lock:
            self._tokens.discard(token)

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._closed.wait(self._lease_s / 3):
            with self._lock:
                held = list(self._tokens)
            for token in held:
                try:
                    scoring.extend(self._database, token, lease_s=self._lease_s, now=self._clock())
                except LeaseLost:
                    self.release(token)  # storing the results will find out
                except LedgerUnavailable:
                    continue  # so nobody else can take it over, either
