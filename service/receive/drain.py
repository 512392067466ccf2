"""The end of a receiver: objects in hand are taken to their answer, then associations end.

An object is in hand from its first P-DATA to its C-STORE-RSP. A sender whose association ends
between two objects knows what it still has to send, and sends it again elsewhere or later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, cast

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu import P_DATA_TF


class Drain:
    """Knows which associations have an object in hand; bind `handlers` to the server."""

    def __init__(self) -> None:
        self._draining = False
        self._lock = threading.Lock()
        self._closed = threading.Event()

    @property
    def handlers(self) -> list[tuple[evt.NotificationEvent, Callable[[evt.Event], None]]]:
        return [
            (evt.EVT_PDU_RECV, self._received),
            (evt.EVT_PDU_SENT, self._sent),
            (evt.EVT_CONN_CLOSE, self._over),
        ]

    def end(self, associations: Callable[[], list[Association]], grace_s: float) -> int:
        """End all associations, those with an object in hand once it is answered, or after
        `grace_s`; how many of them had to be cut off."""
        with self._lock:
            self._draining = True
        for one in associations():
            if not getattr(one, "in_hand", False):
                self._abort(one)
        deadline = time.monotonic() + grace_s
        while associations() and time.monotonic() < deadline:
            self._closed.wait(min(0.1, grace_s))
            self._closed.clear()
        late = [one for one in associations() if not getattr(one, "ending", False)]
        for one in late:
            self._abort(one)
        return len(late)

    def _received(self, event: evt.Event) -> None:
        if isinstance(event.pdu, P_DATA_TF):
            cast(Any, event.assoc).in_hand = True

    def _sent(self, event: evt.Event) -> None:
        if isinstance(event.pdu, P_DATA_TF):
            cast(Any, event.assoc).in_hand = False
            if self._draining:
                self._abort(event.assoc)

    def _over(self, _event: evt.Event) -> None:
        self._closed.set()

    def _abort(self, association: Any) -> None:
        """Have one association aborted, once: its upper layer's thread and ours may both ask."""
        with self._lock:
            if getattr(association, "ending", False):
                return
            association.ending = True
        association.abort(block=False)
