"""Group commit: objects that wait for the ledger at the same moment share one transaction.

Whoever finds nobody committing commits everything that waits, his own object included; all others
wait for their outcome. So a single sender pays for no hand-over and never waits for company, and
many senders share one commit's flush of the disk. Where the ledger is away, all that wait are told
so at once, and none finds it out anew.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError

from service.config import Complete
from service.errors import LedgerUnavailable
from service.ledger import reception
from service.ledger.database import Database
from service.ledger.reception import Arrival, Outcome


@dataclass
class _Waiting:
    arrival: Arrival
    result: Outcome | BaseException | None = None


class Committer:
    """Records objects that are durable in the spool; safe to call from any thread."""

    def __init__(self, database: Database, complete: Complete) -> None:
        self._database = database
        self._complete = complete
        self._changed = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._committing = False

    def record(self, arrival: Arrival) -> Outcome:
        """Return once the object's rows are durable. Raises LedgerUnavailable or DBAPIError
        where they are not, or may not be."""
        own = _Waiting(arrival)
        with self._changed:
            self._waiting.append(own)
            while self._committing and own.result is None:
                self._changed.wait()
            if own.result is None:
                self._committing = True
                group, self._waiting = self._waiting, []
        if own.result is None:
            try:
                self._commit(group)
            finally:
                with self._changed:
                    self._committing = False
                    self._changed.notify_all()
        if isinstance(own.result, BaseException):
            raise own.result
        assert own.result is not None
        return own.result

    def _commit(self, group: list[_Waiting]) -> None:
        """Give each its result: the group's, or, where an object spoils the group, its own."""
        try:
            outcomes = self._record([one.arrival for one in group])
        except DBAPIError as error:
            if len(group) > 1:  # one object's doing
                for one in group:
                    self._commit([one])
                return
            group[0].result = error
        except LedgerUnavailable as error:
            with self._changed:
                late, self._waiting = self._waiting, []
            for one in (*group, *late):
                one.result = error
        except BaseException as error:
            for one in group:
                one.result = error
            raise
        else:
            for one, outcome in zip(group, outcomes, strict=True):
                one.result = outcome

    def _record(self, arrivals: list[Arrival]) -> list[Outcome]:
        return reception.record_objects(self._database, arrivals, complete=self._complete)
