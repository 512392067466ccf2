"""PostgreSQL's NOTIFY and LISTEN: a wake-up that reaches every host.

A notification carries nothing and may be lost with a connection; polling stands behind it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any

from service.ledger import postgresql

RETRY_S = 5.0
"""Between two attempts to connect."""

Failed: tuple[type[Exception], ...] = (OSError,)
"""How a connection fails; the driver's own errors are added where it is installed."""
try:
    import pg8000.native
except ImportError:
    pass
else:
    Failed = (OSError, pg8000.native.Error)


def channel(role: str) -> str:
    return f"iqgate_{role}"


class Notifier:
    """Sends wake-ups from a thread of its own: nobody who sends one waits for the server, and
    those that gather meanwhile go as one."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._changed = threading.Condition()
        self._roles: set[str] = set()
        self._closed = False
        self._thread: threading.Thread | None = None

    def role(self, name: str) -> None:
        with self._changed:
            self._roles.add(name)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="notify", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Send what is left, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        connection: Any = None
        while True:
            with self._changed:
                while not self._roles and not self._closed:
                    self._changed.wait()
                roles, self._roles = self._roles, set()
                if not roles:
                    break
            try:
                connection = connection or _connect(self._url)
                connection.run("; ".join(f"NOTIFY {channel(one)}" for one in sorted(roles)))
            except Failed:
                _close(connection)
                connection = None
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, RETRY_S)
        _close(connection)


class Listener:
    """One role's notifications, as a socket to wait on; connects anew after a loss."""

    def __init__(self, url: str, role: str) -> None:
        self._url = url
        self._channel = channel(role)
        self._connection: Any = None
        self._socket: socket.socket | None = None
        self._retry_at = 0.0
        self.connect()

    @property
    def socket(self) -> socket.socket | None:
        """Readable when there is something to `drain`; None while there is no connection."""
        return self._socket

    def connect(self) -> bool:
        """Listen, unless that is so or was tried just now; whether it began to."""
        if self._connection is not None or time.monotonic() < self._retry_at:
            return False
        self._retry_at = time.monotonic() + RETRY_S
        try:
            own = postgresql.open_socket(self._url)
            # encryption takes the socket over; its duplicate is readable when that one is
            self._socket = own.dup()
            self._connection = _connect(self._url, own)
            self._connection.run(f"LISTEN {self._channel}")
        except Failed:
            self.close()
            return False
        return True

    def drain(self) -> None:
        """Take in what has come: with the answer to any question, the driver reads what was sent
        before it."""
        try:
            self._connection.run("SELECT 1")
            self._connection.notifications.clear()
        except Failed:
            self.close()

    def close(self) -> None:
        _close(self._connection)
        self._connection = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _connect(url: str, own: socket.socket | None = None) -> Any:
    return pg8000.native.Connection(
        **postgresql.connection_arguments(url), sock=own or postgresql.open_socket(url)
    )


def _close(connection: Any) -> None:
    if connection is not None:
        with contextlib.suppress(*Failed):
            connection.close()
