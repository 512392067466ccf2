"""Times and ages as people read them, in the host's time zone."""

from __future__ import annotations

from datetime import UTC, datetime


def clock_time(at: float, now: float) -> str:
    """`14:03:22`, with the date before it when it is not today's."""
    when, today = _local(at), _local(now)
    shown = f"{when:%H:%M:%S}"
    return shown if when.date() == today.date() else f"{when:%Y-%m-%d} {shown}"


def iso(at: float) -> str:
    """ISO 8601 with the offset from UTC, for machines."""
    return _local(at).isoformat(timespec="milliseconds")


def duration(seconds: float) -> str:
    """One unit, rounded down: `45 s`, `3 min`, `2 h`, `5 d`."""
    whole = max(0, int(seconds))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if whole >= length:
            return f"{whole // length} {unit}"
    return f"{whole} s"


def ago(at: float, now: float) -> str:
    return f"{duration(now - at)} ago"


def _local(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC).astimezone()
