"""The outbox: reports on their way, each under a lease, with its next attempt known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import and_, func, or_, select, update

from service.ledger import tally
from service.ledger.database import Database, retried
from service.ledger.tables import OutboxRow, OutboxState, ReportRow


@dataclass(frozen=True)
class Parcel:
    """One report to bring to one destination; `attempts` counts this one."""

    outbox_id: int
    token: str
    destination: str
    attempts: int
    created_at: float
    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    body: bytes


@retried
def claim(
    database: Database, destinations: Sequence[str], *, lease_s: float, now: float
) -> Parcel | None:
    """Lease the parcel that is due longest, of the destinations this gate serves."""
    with database.write() as connection:
        due = or_(
            and_(OutboxRow.state == OutboxState.WAITING, OutboxRow.next_attempt_at <= now),
            and_(OutboxRow.state == OutboxState.LEASED, OutboxRow.lease_expires_at <= now),
        )
        row = connection.execute(
            select(
                OutboxRow.id,
                OutboxRow.destination,
                OutboxRow.attempts,
                OutboxRow.created_at,
                ReportRow.kind,
                ReportRow.sop_class_uid,
                ReportRow.sop_instance_uid,
                ReportRow.body,
            )
            .join(ReportRow, ReportRow.id == OutboxRow.report_id)
            .where(due, OutboxRow.destination.in_(destinations))
            .order_by(OutboxRow.next_attempt_at, OutboxRow.id)
            .limit(1)
            .with_for_update(of=OutboxRow, skip_locked=True, key_share=True)
        ).one_or_none()
        if row is None:
            return None
        token = uuid4().hex
        connection.execute(
            update(OutboxRow)
            .where(OutboxRow.id == row.id)
            .values(
                state=OutboxState.LEASED,
                attempts=OutboxRow.attempts + 1,
                lease_token=token,
                lease_expires_at=now + lease_s,
            )
        )
    return Parcel(
        row.id,
        token,
        row.destination,
        row.attempts + 1,
        row.created_at,
        row.kind,
        row.sop_class_uid,
        row.sop_instance_uid,
        row.body,
    )


def delivered(database: Database, parcel: Parcel, now: float) -> None:
    """The destination has it."""
    _settle(database, parcel, "delivered", state=OutboxState.DELIVERED, delivered_at=now)


def postponed(
    database: Database, parcel: Parcel, error: str, *, outcome: str, next_attempt_at: float
) -> None:
    """It failed (`outcome`: `unavailable` or `refused`) and will be tried again."""
    _settle(
        database,
        parcel,
        outcome,
        state=OutboxState.WAITING,
        next_attempt_at=next_attempt_at,
        last_error=error,
    )


def died(database: Database, parcel: Parcel, error: str) -> None:
    """It will not be tried again until an operator says so."""
    _settle(database, parcel, "dead", state=OutboxState.DEAD, last_error=error)


def next_attempt_at(database: Database, destinations: Sequence[str]) -> float | None:
    """When the next waiting parcel of these destinations is due."""
    with database.read() as connection:
        return connection.execute(
            select(func.min(OutboxRow.next_attempt_at)).where(
                OutboxRow.state == OutboxState.WAITING,
                OutboxRow.destination.in_(destinations),
            )
        ).scalar_one()


def retry_dead(database: Database, outbox_id: int, now: float) -> bool:
    """Put a dead parcel back into the queue; False if it is not dead."""
    return _revise(
        database, outbox_id, state=OutboxState.WAITING, next_attempt_at=now, created_at=now
    )


def drop_dead(database: Database, outbox_id: int) -> bool:
    """Give a dead parcel up for good; False if it is not dead."""
    return _revise(database, outbox_id, state=OutboxState.CANCELLED)


@retried
def _revise(database: Database, outbox_id: int, **values: object) -> bool:
    with database.write() as connection:
        changed = connection.execute(
            update(OutboxRow)
            .where(OutboxRow.id == outbox_id, OutboxRow.state == OutboxState.DEAD)
            .values(**values)
        )
        return bool(changed.rowcount)


@retried
def _settle(database: Database, parcel: Parcel, outcome: str, **values: object) -> None:
    """End a lease. A lease another process took over is left alone: resending is harmless."""
    with database.write() as connection:
        connection.execute(
            update(OutboxRow)
            .where(OutboxRow.id == parcel.outbox_id, OutboxRow.lease_token == parcel.token)
            .values(lease_token=None, lease_expires_at=None, **values)
        )
        tally.count(connection, "deliveries", parcel.destination, outcome)
