"""Dead letters: work that was given up, waiting for an operator's word.

A letter is named `frame-N` or `report-N`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select, update

from service.ledger import outbox, pairing, scoring
from service.ledger.database import Database
from service.ledger.tables import (
    FrameRow,
    FrameState,
    ObjectRow,
    OutboxRow,
    OutboxState,
    ReportRow,
)


@dataclass(frozen=True)
class Letter:
    """One dead letter: its name, what it is, and why it died."""

    name: str
    what: str
    error: str


def dead(database: Database) -> list[Letter]:
    """All dead letters, oldest first."""
    with database.read() as connection:
        frames = connection.execute(
            select(FrameRow.id, FrameRow.frame_number, FrameRow.reason, ObjectRow.sop_instance_uid)
            .join(ObjectRow, ObjectRow.id == FrameRow.object_id)
            .where(FrameRow.state == FrameState.DEAD)
            .order_by(FrameRow.id)
        ).all()
        parcels = connection.execute(
            select(
                OutboxRow.id,
                OutboxRow.destination,
                OutboxRow.last_error,
                ReportRow.kind,
                ReportRow.sop_instance_uid,
            )
            .join(ReportRow, ReportRow.id == OutboxRow.report_id)
            .where(OutboxRow.state == OutboxState.DEAD)
            .order_by(OutboxRow.id)
        ).all()
    return [
        Letter(f"frame-{one.id}", f"frame {one.frame_number} of {one.sop_instance_uid}", one.reason)
        for one in frames
    ] + [
        Letter(
            f"report-{one.id}",
            f"{one.kind} {one.sop_instance_uid} to {one.destination}",
            one.last_error or "",
        )
        for one in parcels
    ]


def retry(database: Database, name: str, now: float) -> bool:
    """Put a letter back into its queue; False if there is no such dead letter."""
    kind, number = _parse(name)
    if kind == "frame":
        return scoring.retry_dead(database, number)
    return kind == "report" and outbox.retry_dead(database, number, now)


def drop(database: Database, name: str) -> bool:
    """Give a letter up for good; False if there is no such dead letter.

    A dropped frame stays out of its series' assessment, with that reason.
    """
    kind, number = _parse(name)
    if kind == "report":
        return outbox.drop_dead(database, number)
    if kind != "frame":
        return False
    with database.write() as connection:
        dropped = connection.execute(
            update(FrameRow)
            .where(FrameRow.id == number, FrameRow.state == FrameState.DEAD)
            .values(state=FrameState.EXCLUDED, reason=pairing.GIVEN_UP)
        )
        return bool(dropped.rowcount)


def _parse(name: str) -> tuple[str, int]:
    kind, _, number = name.partition("-")
    return (kind, int(number)) if number.isdigit() else ("", 0)
