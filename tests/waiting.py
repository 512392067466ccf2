"""Waiting for what another process does: poll a condition, never sleep blindly."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

T = TypeVar("T")

_NEVER = Event()


def wait_for(what: str, condition: Callable[[], T | None], timeout_s: float = 20) -> T:
    """The first true value of `condition`; fails the test, naming `what`, after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout_s:g} s")
        _NEVER.wait(0.02)
