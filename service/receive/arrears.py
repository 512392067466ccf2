"""What a receiver could not tell the ledger while it was away, and tells it later: objects refused,
associations ended. Nobody waits for either, and neither may be lost: a refusal is counted, and a
sender with an association that never ends would have no series closed early any more.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from service.errors import LedgerUnavailable
from service.ledger import reception
from service.ledger.database import Database

MOST_ENDS = 10_000
"""Beyond so many, ends are left to be found out as those of a receiver that died."""


class Arrears:
    """Safe to use from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._refused: Counter[int] = Counter()
        self._ends: list[Callable[[], None]] = []

    def refused(self, status: int) -> None:
        """An object was refused before it was stored. Told with the next `settle`: whoever was
        refused because the ledger is away must not wait for it once more."""
        with self._lock:
            self._refused[status] += 1

    def ended(self, record: Callable[[], None]) -> None:
        """An association ended; told now if that can be."""
        try:
            record()
        except LedgerUnavailable:
            with self._lock:
                if len(self._ends) < MOST_ENDS:
                    self._ends.append(record)

    def settle(self) -> None:
        """Tell the ledger. Raises LedgerUnavailable; what it was not told then stays."""
        with self._lock:
            refused, self._refused = self._refused, Counter()
            ends, self._ends = self._ends, []
        try:
            while refused:
                status, times = next(iter(refused.items()))
                reception.record_refusal(self._database, status, times)
                del refused[status]
            while ends:
                ends[0]()
                del ends[0]
        except LedgerUnavailable:
            with self._lock:
                self._refused += refused
                self._ends = ends + self._ends
            raise
