"""Images that retention removes, and images that are missing: what may go, and what is left then.

Every step is one transaction that looks again at what it decides on, and every one may be repeated:
whoever dies in between leaves a state that the next run carries on from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Select, delete, func, insert, select, update

from service.ledger import scoring, tally, turns
from service.ledger.database import Database, retried
from service.ledger.keeping_tables import AbsentFileRow
from service.ledger.tables import (
    FrameRow,
    FrameState,
    ObjectRow,
    OutboxRow,
    OutboxState,
    ReportRow,
    SeriesRow,
    SeriesState,
    StudyRow,
)

MISSING = "its file is missing from the spool"
"""Why such a frame is not scored; scoring says it in the same words."""

_UNSCORED = (FrameState.AWAITING_COMPANION, FrameState.WAITING, FrameState.DEAD)
_UNFINISHED = (*_UNSCORED, FrameState.LEASED)
_UNDELIVERED = (OutboxState.WAITING, OutboxState.LEASED, OutboxState.DEAD)
_AT_ONCE = 500


class Absence(StrEnum):
    """Why an object's file is not in the spool."""

    REMOVED = "removed"
    """By retention, which may not have come to the file itself yet."""
    MISSING = "missing"


class Due(StrEnum):
    """What a study's images are still there for."""

    SLICES = "slices arrive or wait to be scored"
    REPORT = "a report is not built or not delivered"
    HELD = "a report is held back"
    CHANGED = "it changed just now"


@dataclass(frozen=True)
class StudyImages:
    """A study's objects whose files are in the spool. `newest_at`: when the last of all its objects
    came."""

    study_id: int
    study_instance_uid: str
    newest_at: float
    objects: int
    size_bytes: int


@dataclass(frozen=True)
class FiledObject:
    """An object and where its file lies, relative to the spool; `absent`: why it is not there, as
    known `since`."""

    object_id: int
    series_id: int
    sop_instance_uid: str
    path: str
    absent: Absence | None
    since: float


def stored_studies(database: Database) -> list[StudyImages]:
    """Studies of which files are in the spool, those that were quiet for longest first."""
    newest_at = func.max(SeriesRow.last_object_at)
    with database.read() as connection:
        rows = connection.execute(
            select(
                StudyRow.id,
                StudyRow.study_instance_uid,
                newest_at,
                func.count(ObjectRow.id),
                func.sum(ObjectRow.size_bytes),
            )
            .select_from(ObjectRow)
            .join(SeriesRow, SeriesRow.id == ObjectRow.series_id)
            .join(StudyRow, StudyRow.id == SeriesRow.study_id)
            .outerjoin(AbsentFileRow, AbsentFileRow.object_id == ObjectRow.id)
            .where(AbsentFileRow.object_id.is_(None))
            .group_by(StudyRow.id, StudyRow.study_instance_uid)
            .order_by(newest_at, StudyRow.id)
        )
        return [StudyImages(row[0], row[1], row[2], row[3], int(row[4])) for row in rows]


@retried
def mark_removed(
    database: Database, study: StudyImages, *, remove_held: bool, now: float
) -> list[str] | Due:
    """Mark a study's images as removed, for their files to be unlinked; the files' paths, or what
    the images are still due for, and then nothing is written."""
    with database.write() as connection:
        turns.take(connection, turns.study(study.study_instance_uid))
        due = _due(connection, study, remove_held)
        if due is not None:
            return due
        rows = connection.execute(
            select(ObjectRow.id, ObjectRow.path, ObjectRow.size_bytes)
            .join(SeriesRow, SeriesRow.id == ObjectRow.series_id)
            .outerjoin(AbsentFileRow, AbsentFileRow.object_id == ObjectRow.id)
            .where(SeriesRow.study_id == study.study_id, AbsentFileRow.object_id.is_(None))
        ).all()
        if rows:
            connection.execute(
                insert(AbsentFileRow),
                [{"object_id": row.id, "why": Absence.REMOVED, "at": now} for row in rows],
            )
        with tally.counting(connection) as counts:
            counts.count("removed_objects", by=len(rows))
            counts.count("removed_bytes", by=sum(row.size_bytes for row in rows))
    return [row.path for row in rows]


def filed(database: Database, shelf: str) -> list[FiledObject]:
    """All objects whose path begins with `shelf`, present or not."""
    with database.read() as connection:
        rows = connection.execute(
            select(
                ObjectRow.id,
                ObjectRow.series_id,
                ObjectRow.sop_instance_uid,
                ObjectRow.path,
                AbsentFileRow.why,
                AbsentFileRow.at,
            )
            .outerjoin(AbsentFileRow, AbsentFileRow.object_id == ObjectRow.id)
            .where(func.substr(ObjectRow.path, 1, len(shelf)) == shelf)
        )
        return [
            FiledObject(*row[:4], None if row.why is None else Absence(row.why), row.at or 0.0)
            for row in rows
        ]


def expects_files(database: Database) -> bool:
    """Whether any object's file should be in the spool."""
    present = (
        select(ObjectRow.id)
        .outerjoin(AbsentFileRow, AbsentFileRow.object_id == ObjectRow.id)
        .where(AbsentFileRow.object_id.is_(None))
        .limit(1)
    )
    with database.read() as connection:
        return connection.execute(present).one_or_none() is not None


def flag_missing(database: Database, objects: Sequence[FiledObject], now: float) -> int:
    """Mark objects whose file is gone, and leave their unscored frames out of the assessment; how
    many were not marked before. A frame that a worker holds is left to it."""
    return sum(
        _flag(database, series_id, some, now) for series_id, some in _by_series(objects).items()
    )


@retried
def _flag(database: Database, series_id: int, object_ids: Sequence[int], now: float) -> int:
    with database.write() as connection:
        turns.take_study_of_series(connection, series_id)
        fresh = 0
        for some in _portions(object_ids):
            marked = set(
                connection.execute(
                    select(AbsentFileRow.object_id).where(AbsentFileRow.object_id.in_(some))
                ).scalars()
            )
            values = [
                {"object_id": one, "why": Absence.MISSING, "at": now}
                for one in some
                if one not in marked
            ]
            if values:
                connection.execute(insert(AbsentFileRow), values)
            fresh += len(values)
            connection.execute(
                update(FrameRow)
                .where(FrameRow.object_id.in_(some), FrameRow.state.in_(_UNSCORED))
                .values(state=FrameState.EXCLUDED, reason=MISSING)
            )
        tally.count(connection, "swept_files", "missing", by=fresh)
        return fresh


def unmark(database: Database, objects: Sequence[FiledObject]) -> int:
    """Take marks back of objects whose file is there again; how many. Frames that were left out for
    the missing file are scored after all, and their series is open again."""
    return sum(
        _unmark(database, series_id, some) for series_id, some in _by_series(objects).items()
    )


@retried
def _unmark(database: Database, series_id: int, object_ids: Sequence[int]) -> int:
    with database.write() as connection:
        turns.take_study_of_series(connection, series_id)
        unmarked = 0
        left_out: list[int] = []
        for some in _portions(object_ids):
            unmarked += connection.execute(
                delete(AbsentFileRow).where(AbsentFileRow.object_id.in_(some))
            ).rowcount
            left_out += connection.execute(
                select(FrameRow.id).where(
                    FrameRow.object_id.in_(some),
                    FrameRow.state == FrameState.EXCLUDED,
                    FrameRow.reason == MISSING,
                )
            ).scalars()
        if scoring.requeue(connection, series_id, left_out):
            modality = connection.execute(
                update(SeriesRow)
                .where(SeriesRow.id == series_id)
                .values(state=SeriesState.OPEN)
                .returning(SeriesRow.modality)
            ).scalar_one()
            if modality == "PT":  # its CT may be another one by now
                for some in _portions(left_out):
                    connection.execute(
                        update(FrameRow)
                        .where(FrameRow.id.in_(some))
                        .values(state=FrameState.AWAITING_COMPANION)
                    )
        tally.count(connection, "swept_files", "returned", by=unmarked)
        return unmarked


def absences(connection: Connection, series_id: int) -> dict[Absence, tuple[int, float]]:
    """How many of a series' objects have no file, by the reason, and since when (the last one)."""
    rows = connection.execute(
        select(AbsentFileRow.why, func.count(), func.max(AbsentFileRow.at))
        .join(ObjectRow, ObjectRow.id == AbsentFileRow.object_id)
        .where(ObjectRow.series_id == series_id)
        .group_by(AbsentFileRow.why)
    )
    return {Absence(why): (count, at) for why, count, at in rows}


def _due(connection: Connection, study: StudyImages, remove_held: bool) -> Due | None:
    """What a study's images are still there for; None where everything is done and delivered."""
    series = connection.execute(
        select(SeriesRow.state, SeriesRow.last_object_at).where(
            SeriesRow.study_id == study.study_id
        )
    ).all()
    if any(row.last_object_at > study.newest_at for row in series):
        return Due.CHANGED
    unfinished = (
        select(FrameRow.id)
        .join(SeriesRow, SeriesRow.id == FrameRow.series_id)
        .where(SeriesRow.study_id == study.study_id, FrameRow.state.in_(_UNFINISHED))
        .limit(1)
    )
    if any(row.state == SeriesState.OPEN for row in series) or _any(connection, unfinished):
        return Due.SLICES
    report_due = select(StudyRow.id).where(StudyRow.id == study.study_id, StudyRow.report_due)
    parcels = (
        select(OutboxRow.id)
        .join(ReportRow, ReportRow.id == OutboxRow.report_id)
        .where(ReportRow.study_instance_uid == study.study_instance_uid)
        .limit(1)
    )
    if _any(connection, report_due) or _any(
        connection, parcels.where(OutboxRow.state.in_(_UNDELIVERED))
    ):
        return Due.REPORT
    if not remove_held and _any(connection, parcels.where(OutboxRow.state == OutboxState.HELD)):
        return Due.HELD
    return None


def _any(connection: Connection, query: Select[Any]) -> bool:
    return connection.execute(query).first() is not None


def _by_series(objects: Sequence[FiledObject]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for one in objects:
        found.setdefault(one.series_id, []).append(one.object_id)
    return found


def _portions(ids: Sequence[int]) -> list[Sequence[int]]:
    return [ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE)]
