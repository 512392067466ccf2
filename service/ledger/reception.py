"""An object's first transaction, and the beginnings and ends of associations."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, exists, func, insert, select, update
from sqlalchemy.orm import aliased

from service.config import Complete
from service.judge.evidence import SeriesFacts
from service.ledger import json_text, tally
from service.ledger.database import Database
from service.ledger.tables import (
    AssociationRow,
    AssociationSeriesRow,
    FrameRow,
    FrameState,
    FrameWork,
    ObjectRow,
    ObjectState,
    SeriesRow,
    SeriesState,
    StudyRow,
)


class Outcome(StrEnum):
    """What a received object turned out to be."""

    STORED = "stored"
    REPEATED = "repeated"
    """The very same object again: nothing changes."""
    CONTESTED = "contested"
    """Another object under a known UID: kept, its frames to be compared."""


@dataclass(frozen=True)
class ReceivedObject:
    """An object whose bytes are durable. `set_aside` says why it will never be assessed."""

    facts: SeriesFacts
    patient_name: str
    patient_id: str
    study_date: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    instance_number: int | None
    frames: int
    path: str
    sha256: str
    size_bytes: int
    set_aside: str | None


def record_object(
    database: Database,
    received: ReceivedObject,
    *,
    association_id: int,
    complete: Complete,
    now: float,
) -> Outcome:
    """Make a stored object known: its rows, its series opened again, its frames waiting."""
    with database.write() as connection:
        known = connection.execute(
            select(ObjectRow.sha256).where(ObjectRow.sop_instance_uid == received.sop_instance_uid)
        ).scalars()
        digests = set(known)
        if received.sha256 in digests:
            tally.count(connection, "received", received.facts.modality, Outcome.REPEATED)
            return Outcome.REPEATED
        series_id = _open_series(connection, received, complete, now)
        outcome = Outcome.CONTESTED if digests else Outcome.STORED
        if received.set_aside is not None:
            state = ObjectState.CONFLICT if digests else ObjectState.SET_ASIDE
        else:
            state = ObjectState.CONTESTED if digests else ObjectState.IMAGE
        object_id = connection.execute(
            insert(ObjectRow)
            .values(
                series_id=series_id,
                sop_instance_uid=received.sop_instance_uid,
                sha256=received.sha256,
                sop_class_uid=received.sop_class_uid,
                transfer_syntax_uid=received.transfer_syntax_uid,
                path=received.path,
                size_bytes=received.size_bytes,
                state=state,
                reason=received.set_aside,
                received_at=now,
            )
            .returning(ObjectRow.id)
        ).scalar_one()
        if received.set_aside is None:
            _add_frames(connection, received, object_id, series_id, outcome, now)
        _carry(connection, association_id, series_id)
        tally.count(connection, "received", received.facts.modality, outcome)
        return outcome


def record_refusal(database: Database, status: int) -> None:
    """Count an object refused before it was stored, by C-STORE status."""
    with database.write() as connection:
        tally.count(connection, "refused", f"0x{status:04X}")


def start_association(
    database: Database, *, calling_ae_title: str, address: str, receiver: str, now: float
) -> int:
    with database.write() as connection:
        return int(
            connection.execute(
                insert(AssociationRow)
                .values(
                    calling_ae_title=calling_ae_title,
                    address=address,
                    receiver=receiver,
                    started_at=now,
                )
                .returning(AssociationRow.id)
            ).scalar_one()
        )


def end_association(
    database: Database, association_id: int, end: str, *, settle_s: float | None, now: float
) -> bool:
    """Record an association's end (`released`, `aborted`).

    With `settle_s` (its sender sends whole series on one association), a release while the
    sender has no other association open brings forward the closing of every series that only
    released associations of this sender carried. Returns whether any closing was brought forward.
    """
    with database.write() as connection:
        connection.execute(
            update(AssociationRow)
            .where(AssociationRow.id == association_id, AssociationRow.ended_at.is_(None))
            .values(ended_at=now, end=end)
        )
        if settle_s is None or end != "released":
            return False
        calling_ae_title = connection.execute(
            select(AssociationRow.calling_ae_title).where(AssociationRow.id == association_id)
        ).scalar_one()
        still_open = connection.execute(
            select(func.count())
            .select_from(AssociationRow)
            .where(
                AssociationRow.calling_ae_title == calling_ae_title,
                AssociationRow.ended_at.is_(None),
            )
        ).scalar_one()
        if still_open:
            return False
        carried = aliased(AssociationSeriesRow)
        carrier = aliased(AssociationRow)

        def carried_by(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
            return exists().where(
                carried.series_id == SeriesRow.id,
                carried.association_id == carrier.id,
                *conditions,
            )

        hastened = connection.execute(
            update(SeriesRow)
            .where(
                SeriesRow.state == SeriesState.OPEN,
                SeriesRow.reopened == 0,
                SeriesRow.closes_at > now + settle_s,
                carried_by(carrier.calling_ae_title == calling_ae_title),
                ~carried_by(
                    (carrier.calling_ae_title != calling_ae_title) | (carrier.end != "released")
                ),
            )
            .values(closes_at=now + settle_s)
        )
        return bool(hastened.rowcount)


def end_lost_associations(database: Database, *, receiver: str, now: float) -> int:
    """End the associations a killed receiver left open; only `receiver` runs now."""
    with database.write() as connection:
        lost = connection.execute(
            update(AssociationRow)
            .where(AssociationRow.ended_at.is_(None), AssociationRow.receiver != receiver)
            .values(ended_at=now, end="lost")
        )
        return lost.rowcount


def quiet_s(complete: Complete, reopened: int) -> float:
    """The quiet period of a series re-opened so many times: doubling, up to the maximum."""
    return float(
        min(
            complete.quiet_s * 2 ** min(reopened, 30),
            max(complete.quiet_s, complete.reopened_quiet_max_s),
        )
    )


def _open_series(
    connection: Connection, received: ReceivedObject, complete: Complete, now: float
) -> int:
    """The series' row, created or opened again, its generation raised."""
    facts = received.facts
    study_id = connection.execute(
        select(StudyRow.id).where(StudyRow.study_instance_uid == facts.study_instance_uid)
    ).scalar_one_or_none()
    if study_id is None:
        study_id = connection.execute(
            insert(StudyRow)
            .values(
                study_instance_uid=facts.study_instance_uid,
                patient_name=received.patient_name,
                patient_id=received.patient_id,
                study_date=received.study_date,
                report_due=False,
            )
            .returning(StudyRow.id)
        ).scalar_one()
    row = connection.execute(
        select(SeriesRow.id, SeriesRow.state, SeriesRow.reopened).where(
            SeriesRow.study_id == study_id,
            SeriesRow.series_instance_uid == facts.series_instance_uid,
        )
    ).one_or_none()
    if row is None:
        return int(
            connection.execute(
                insert(SeriesRow)
                .values(
                    study_id=study_id,
                    series_instance_uid=facts.series_instance_uid,
                    modality=facts.modality,
                    scanner=facts.scanner,
                    acquisition=facts.acquisition,
                    facts=json_text.dump(facts),
                    state=SeriesState.OPEN,
                    generation=1,
                    reopened=0,
                    first_object_at=now,
                    last_object_at=now,
                    closes_at=now + complete.quiet_s,
                )
                .returning(SeriesRow.id)
            ).scalar_one()
        )
    reopened = row.reopened + (row.state == SeriesState.CLOSED)
    connection.execute(
        update(SeriesRow)
        .where(SeriesRow.id == row.id)
        .values(
            state=SeriesState.OPEN,
            generation=SeriesRow.generation + 1,
            reopened=reopened,
            last_object_at=now,
            closes_at=now + quiet_s(complete, reopened),
        )
    )
    return int(row.id)


def _add_frames(
    connection: Connection,
    received: ReceivedObject,
    object_id: int,
    series_id: int,
    outcome: Outcome,
    now: float,
) -> None:
    """One row a frame; a contested object is one piece of work, however many frames it holds.

    PET is scored fused with its CT, which has to be found first (`pairing`).
    """
    contested = outcome is Outcome.CONTESTED
    fused = received.facts.modality == "PT" and not contested
    connection.execute(
        insert(FrameRow),
        [
            {
                "object_id": object_id,
                "series_id": series_id,
                "frame_number": number,
                "instance_number": received.instance_number,
                "work": FrameWork.COMPARE if contested else FrameWork.SCORE,
                "state": FrameState.AWAITING_COMPANION if fused else FrameState.WAITING,
                "attempts": 0,
                "received_at": now,
                "stack": "",
            }
            for number in range(1, 2 if contested else received.frames + 1)
        ],
    )


def _carry(connection: Connection, association_id: int, series_id: int) -> None:
    key = {"association_id": association_id, "series_id": series_id}
    known = connection.execute(
        select(AssociationSeriesRow.series_id).filter_by(**key)
    ).scalar_one_or_none()
    if known is None:
        connection.execute(insert(AssociationSeriesRow).values(**key))
