"""What is overdue: leases of the dead, series that are never quiet.

Every step is one transaction that looks again at what it decides on, and may be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select, update

from service.ledger import scoring, tally, turns
from service.ledger.database import Database, retried
from service.ledger.keeping_tables import LeaseRow
from service.ledger.tables import (
    AssessmentRow,
    FrameRow,
    FrameState,
    ObjectRow,
    OutboxRow,
    OutboxState,
    RoleRow,
    SeriesRow,
    SeriesState,
)


def endless_series(database: Database, longest_open_s: float, now: float) -> list[tuple[int, str]]:
    """Series (id, UID) that have been open for longer without being quiet: since their first
    object, or the first one since they were assessed last."""
    with database.read() as connection:
        still_open = connection.execute(
            select(SeriesRow.id, SeriesRow.series_instance_uid, SeriesRow.first_object_at).where(
                SeriesRow.state == SeriesState.OPEN, SeriesRow.closes_at > now
            )
        ).all()
        return [
            (row.id, row.series_instance_uid)
            for row in still_open
            if _opened_at(connection, row.id, row.first_object_at) <= now - longest_open_s
        ]


@retried
def end_series(database: Database, series_id: int, now: float) -> bool:
    """Have a series closed at the first moment in which none of its slices waits, quiet or not."""
    with database.write() as connection:
        turns.take_study_of_series(connection, series_id)
        ended = connection.execute(
            update(SeriesRow)
            .where(
                SeriesRow.id == series_id,
                SeriesRow.state == SeriesState.OPEN,
                SeriesRow.closes_at > now,
            )
            .values(closes_at=now)
        ).rowcount
        tally.count(connection, "series_ended_by_age", by=ended)
        return bool(ended)


@dataclass(frozen=True)
class Rescued:
    """Work whose lease ran out: frames back in the queue, frames given up, reports to be sent."""

    frames: int
    dead: int
    reports: int


@retried
def rescue_leases(database: Database, max_attempts: int, now: float) -> Rescued:
    """Take over what dead workers and couriers held, without claiming it."""
    with database.write() as connection:
        attempts = connection.execute(
            select(FrameRow.attempts).where(
                FrameRow.state == FrameState.LEASED, FrameRow.lease_expires_at <= now
            )
        ).scalars()
        dead = [one >= max_attempts for one in attempts]
        scoring.rescue(connection, max_attempts, now)
        expired = (
            select(OutboxRow.id)
            .where(OutboxRow.state == OutboxState.LEASED, OutboxRow.lease_expires_at <= now)
            .with_for_update(skip_locked=True)
        )
        reports = connection.execute(
            update(OutboxRow)
            .where(OutboxRow.id.in_(expired))
            .values(state=OutboxState.WAITING, lease_token=None, lease_expires_at=None)
        )
        return Rescued(dead.count(False), dead.count(True), reports.rowcount)


@retried
def begin_anew(database: Database, quiet_s: float, now: float) -> None:
    """A ledger goes on on another host: none of the processes it knows runs, and series that were
    open wait a quiet period for what their senders send again."""
    with database.write() as connection:
        connection.execute(delete(RoleRow))
        connection.execute(delete(LeaseRow))
        _wait_anew(connection, now + quiet_s)
        for row in (FrameRow, OutboxRow):
            connection.execute(
                update(row).where(row.lease_expires_at.is_not(None)).values(lease_expires_at=now)
            )


@retried
def quiet_anew(database: Database, quiet_s: float, now: float) -> int:
    """The ledger was away, and senders could not send: no open series is taken to be quiet before
    its quiet period has passed once more. How many were."""
    with database.write() as connection:
        return _wait_anew(connection, now + quiet_s)


def _wait_anew(connection: Connection, until: float) -> int:
    return connection.execute(
        update(SeriesRow)
        .where(SeriesRow.state == SeriesState.OPEN, SeriesRow.closes_at < until)
        .values(closes_at=until)
    ).rowcount


def _opened_at(connection: Connection, series_id: int, first_object_at: float) -> float:
    closed_at = connection.execute(
        select(func.max(AssessmentRow.created_at)).where(AssessmentRow.series_id == series_id)
    ).scalar_one()
    if closed_at is None:
        return first_object_at
    since = connection.execute(
        select(func.min(ObjectRow.received_at)).where(
            ObjectRow.series_id == series_id, ObjectRow.received_at > closed_at
        )
    ).scalar_one()
    return float("inf") if since is None else float(since)
