"""The verdict so far, renewed while slices still arrive.

Judging reads the whole series, so its cost grows with it. A thread of its own judges, a series at
most once at a time, and rests between two judgings of it for some times what one cost: however long
the series, provisional verdicts take a bounded share of the host, and none is more than that late.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Set

from service.errors import LedgerUnavailable
from service.ledger.wake import Wake
from service.log import line
from service.role import RETRY_S
from service.score.conclude import Concluder

log = logging.getLogger("iqgate.score")

REST = 4.0
"""Times what judging a series took before it is judged again: at most a fifth of one core."""


class Provisional:
    """Series whose scores changed, judged soon. Use it as a context manager."""

    def __init__(self, concluder: Concluder, wake: Wake, clock: Callable[[], float]) -> None:
        self._concluder = concluder
        self._wake = wake
        self._clock = clock
        self._changed = threading.Condition()
        self._due: dict[int, float] = {}
        """When each series whose scores changed may be judged, by the monotonic clock."""
        self._rested: dict[int, float] = {}
        """When each series judged of late has rested."""
        self._closed = False
        self._thread = threading.Thread(target=self._judge_forever, name="provisional")

    def __enter__(self) -> Provisional:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End; what was touched and not judged yet is left to the final verdict."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def touch(self, series_ids: Set[int]) -> None:
        """Have these series judged, as soon as they have rested."""
        with self._changed:
            for series_id in series_ids:
                self._due.setdefault(series_id, self._rested.get(series_id, 0.0))
            self._changed.notify()

    def _judge_forever(self) -> None:
        while (series_id := self._next()) is not None:
            began = time.monotonic()
            try:
                self._concluder.provisional(series_id, self._clock)
            except LedgerUnavailable:
                with self._changed:
                    self._due.setdefault(series_id, time.monotonic() + RETRY_S)
            except Exception:
                log.exception(line("provisional-failed", series=series_id))
            now = time.monotonic()
            with self._changed:
                self._rested = {one: at for one, at in self._rested.items() if at > now}
                self._rested[series_id] = now + REST * (now - began)
            self._wake.role("watch")

    def _next(self) -> int | None:
        """The next series to judge, waited for; None when closed."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                series_id = min(self._due, key=self._due.__getitem__, default=None)
                if series_id is None:
                    self._changed.wait()
                elif self._due[series_id] <= now:
                    del self._due[series_id]
                    return series_id
                else:
                    self._changed.wait(self._due[series_id] - now)
            return None
