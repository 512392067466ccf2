"""The tables of housekeeping. Times are seconds since the epoch, UTC."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from service.ledger.tables import Base


class AbsentFileRow(Base):
    """An object whose file is not in the spool, and why: `removed` by retention, which may not have
    come to the file itself yet, or `missing`."""

    __tablename__ = "absent_file"

    object_id: Mapped[int] = mapped_column(ForeignKey("object.id"), primary_key=True)
    why: Mapped[str] = mapped_column(String(16))
    at: Mapped[float]


class JobRow(Base):
    """A job of the keep role: its last run."""

    __tablename__ = "job"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    process: Mapped[str] = mapped_column(String(64))
    """host:pid of whoever ran it last."""
    started_at: Mapped[float]
    ended_at: Mapped[float | None]
    """None: it runs, or its process died before it ended."""
    succeeded_at: Mapped[float | None]
    """The end of its last run that did not fail."""
    seconds: Mapped[float | None]
    """What its last run that ended took."""
    failed: Mapped[bool]
    detail: Mapped[str] = mapped_column(Text)
    """What the last run that ended did, or why it failed."""
    runs: Mapped[int]
    failures: Mapped[int]


class LeaseRow(Base):
    """Who of several processes does what only one may do at a time."""

    __tablename__ = "lease"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    holder: Mapped[str] = mapped_column(String(64))
    """host:pid"""
    token: Mapped[str] = mapped_column(String(36))
    expires_at: Mapped[float]


class ScannerDayRow(Base):
    """A scanner's closed series of one modality whose newest image came on one day (UTC)."""

    __tablename__ = "scanner_day"

    day: Mapped[str] = mapped_column(String(10), primary_key=True)
    """As 2026-01-31."""
    scanner: Mapped[str] = mapped_column(String(200), primary_key=True)
    modality: Mapped[str] = mapped_column(String(16), primary_key=True)
    series: Mapped[int]
    meets: Mapped[int]
    does_not_meet: Mapped[int]
    unusable: Mapped[int]
    not_assessed: Mapped[int]
    alarms: Mapped[int]
    median_score: Mapped[float | None]
