"""A ledger that is away and comes back, without a server that has to be stopped for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from service.errors import LedgerUnavailable
from service.ledger.database import Database
from service.role import Patience


class Outage:
    """Begins and ends when told to; `patience` ends it at the first wait."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.waits = 0

    def begin(self) -> None:
        self._database._connected = _nothing  # type: ignore[method-assign]

    def end(self) -> None:
        self._database.__dict__.pop("_connected", None)

    def patience(self) -> Patience:
        """Waits once for the ledger, which is back then."""
        return Patience(self._pause)

    def _pause(self, _seconds: float) -> bool:
        self.waits += 1
        self.end()
        return False


@contextmanager
def away(database: Database) -> Iterator[Outage]:
    """The ledger is away within the block."""
    outage = Outage(database)
    outage.begin()
    try:
        yield outage
    finally:
        outage.end()


def _nothing() -> Connection:
    raise LedgerUnavailable("the ledger is away: a test")
