"""Telling the service manager how a process stands, by systemd's protocol (sd_notify(3)).

A datagram of `NAME=value` lines goes to the socket that $NOTIFY_SOCKET names. systemd listens there
for a unit of Type=notify; `iqgate serve` listens there for its own roles (`Listener`), so a role
says the same to either. Where nobody listens, nothing is sent.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

SOCKET = "NOTIFY_SOCKET"
OF_THE_MANAGER = (SOCKET, "WATCHDOG_USEC", "WATCHDOG_PID")
"""Environment variables meant for the process the manager started, and not for its children."""

STARTING_EXTENDS_US = 120_000_000
"""How much longer a start may last each time the process says that it goes on."""

READY_PATIENCE_S = 5.0
_MOST_BYTES = 4096
_CREDENTIALS = struct.Struct("iII")
"""struct ucred: pid, uid, gid (unix(7))."""


def tell(
    *assignments: str,
    environment: Mapping[str, str] = os.environ,
    patience_s: float = 0.0,
) -> bool:
    """Send assignments in one datagram; whether there was a manager to take them. Where its queue
    is full, wait for `patience_s`: a manager that does not listen must hold nobody up."""
    address = environment.get(SOCKET, "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
        sending.settimeout(patience_s)
        try:
            sending.sendto("\n".join(assignments).encode(), address)
        except OSError:
            return False
    return True


def ready(status: str) -> None:
    """The start is over. It is said once, so it must not be lost in a full queue."""
    tell("READY=1", _status(status), patience_s=READY_PATIENCE_S)


def starting(status: str) -> None:
    """The start goes on and may take longer than the manager planned for."""
    tell(f"EXTEND_TIMEOUT_USEC={STARTING_EXTENDS_US}", "WATCHDOG=1", _status(status))


def alive(status: str | None = None) -> None:
    """Not hung; the manager's watchdog waits for this. `status`: where it changed."""
    tell("WATCHDOG=1", *([] if status is None else [_status(status)]))


def reloading() -> None:
    """The configuration is read anew; `ready` ends it."""
    tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> None:
    """Asked to end, and finishing what is in hand."""
    tell("STOPPING=1")


def _status(text: str) -> str:
    return f"STATUS={text[:200]}".replace("\n", " ")


@dataclass(frozen=True)
class Notice:
    """What process `pid` said."""

    pid: int
    assignments: dict[str, str]


class Listener:
    """Where `iqgate serve` hears its roles; the kernel vouches for who speaks. Linux only."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        if sys.platform == "linux":
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.bind("")  # the kernel picks a free name in the abstract namespace
            self._socket.setblocking(False)

    @property
    def address(self) -> str:
        """What roles are given as $NOTIFY_SOCKET; empty where nobody listens."""
        return "" if self._socket is None else "@" + self._socket.getsockname()[1:].decode()

    def fileno(self) -> int:
        """For `select`; -1 where nobody listens."""
        return -1 if self._socket is None else self._socket.fileno()

    def notices(self) -> list[Notice]:
        """All that was said since the last call."""
        heard: list[Notice] = []
        while self._socket is not None:
            try:
                said, ancillary, _, _ = self._socket.recvmsg(
                    _MOST_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size)
                )
            except BlockingIOError:
                break
            pids = [
                _CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0]
                for level, kind, data in ancillary
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS)
            ]
            lines = said.decode("utf-8", "replace").splitlines()
            pairs = dict(one.split("=", 1) for one in lines if "=" in one)
            heard += [Notice(pid, pairs) for pid in pids]
        return heard

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
