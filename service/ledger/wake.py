"""Waking another role without polling for it.

With SQLite one datagram on a local socket says "look at the ledger"; the names live in Linux's
abstract namespace, keyed by the database, so they need no clean-up; elsewhere a role only polls.
With PostgreSQL a notification says so to every host (`channels`). Either carries nothing, may be
lost, and is backed by polling.
"""

from __future__ import annotations

import hashlib
import select
import socket
import sys

from service.ledger import postgresql
from service.ledger.channels import Listener, Notifier


class Wake:
    """Sends wake-ups to the roles that work on one database."""

    def __init__(self, database_url: str) -> None:
        self.url = database_url
        self._key = hashlib.sha256(database_url.encode()).hexdigest()[:16]
        self._notifier = Notifier(database_url) if postgresql.is_postgresql(database_url) else None
        self._socket = None if self._notifier is not None else _socket()

    @property
    def reaches_hosts(self) -> bool:
        """Whether wake-ups go through the database."""
        return self._notifier is not None

    def role(self, name: str) -> None:
        """Wake every waiting process of the role; none listening is no error."""
        if self._notifier is not None:
            self._notifier.role(name)
        if self._socket is None:
            return
        try:
            self._socket.sendto(b"", self.address(name))
        except OSError:
            return  # nobody listens, or its queue is full of wake-ups already

    def close(self) -> None:
        if self._notifier is not None:
            self._notifier.close()
        if self._socket is not None:
            self._socket.close()

    def address(self, name: str) -> str:
        return f"\0iqgate-{self._key}-{name}"


class Waiter:
    """Waits for wake-ups of one role."""

    def __init__(self, wake: Wake, role: str) -> None:
        self._listener = Listener(wake.url, role) if wake.reaches_hosts else None
        self._socket = None if self._listener is not None else _socket()
        if self._socket is not None:
            try:
                self._socket.bind(wake.address(role))
            except OSError:  # another process of this role listens; this one polls
                self._socket.close()
                self._socket = None
        self._pair = socket.socketpair()

    def wait(self, timeout_s: float) -> None:
        """Return on the first wake-up or `interrupt`, or after `timeout_s` (sooner unheard)."""
        if self._listener is not None and self._listener.connect():
            return  # what was notified before this is not heard any more
        notified = None if self._listener is None else self._listener.socket
        listening = [one for one in (self._pair[0], self._socket, notified) if one is not None]
        ready, _, _ = select.select(listening, [], [], timeout_s)
        for waiting in ready:
            if self._listener is not None and waiting is notified:
                self._listener.drain()
                continue
            waiting.setblocking(False)
            try:
                while waiting.recv(64) or waiting is self._socket:
                    pass
            except BlockingIOError:
                pass

    def interrupt(self) -> None:
        """Wake the waiter from within its own process (safe in a signal handler)."""
        self._pair[1].send(b"x")

    def close(self) -> None:
        """Free the sockets; nothing may wait any more."""
        if self._listener is not None:
            self._listener.close()
        for one in (self._socket, *self._pair):
            if one is not None:
                one.close()

    @property
    def heard(self) -> bool:
        """Whether wake-ups reach this waiter; if not, poll often."""
        return (self._socket if self._listener is None else self._listener.socket) is not None


def _socket() -> socket.socket | None:
    if sys.platform != "linux":
        return None
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made
