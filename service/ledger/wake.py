"""Waking another role on this host without polling for it.

One datagram on a local socket says "look at the ledger"; it carries nothing, may be lost, and is
backed by polling. The names live in Linux's abstract namespace, keyed by the database, so they
need no clean-up; elsewhere a role only polls.
"""

from __future__ import annotations

import hashlib
import select
import socket
import sys


class Wake:
    """Sends wake-ups to the roles that work on one database."""

    def __init__(self, database_url: str) -> None:
        self._key = hashlib.sha256(database_url.encode()).hexdigest()[:16]
        self._socket = _socket()

    def role(self, name: str) -> None:
        """Wake every waiting process of the role; none listening is no error."""
        if self._socket is None:
            return
        try:
            self._socket.sendto(b"", self.address(name))
        except OSError:
            return  # nobody listens, or its queue is full of wake-ups already

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def address(self, name: str) -> str:
        return f"\0iqgate-{self._key}-{name}"


class Waiter:
    """Waits for wake-ups of one role."""

    def __init__(self, wake: Wake, role: str) -> None:
        self._socket = _socket()
        if self._socket is not None:
            try:
                self._socket.bind(wake.address(role))
            except OSError:  # another process of this role listens; this one polls
                self._socket.close()
                self._socket = None
        self._pair = socket.socketpair()

    def wait(self, timeout_s: float) -> None:
        """Return on the first wake-up or `interrupt`, or after `timeout_s` (sooner unheard)."""

        listening = [self._pair[0], *([self._socket] if self._socket is not None else [])]
        ready, _, _ = select.select(listening, [], [], timeout_s)
        for waiting in ready:
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
        for one in (self._socket, *self._pair):
            if one is not None:
                one.close()

    @property
    def heard(self) -> bool:
        """Whether wake-ups reach this waiter; if not, poll often."""
        return self._socket is not None


def _socket() -> socket.socket | None:
    if sys.platform != "linux":
        return None
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made
