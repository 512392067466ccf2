"""Announced series: what a modality (MPPS) or an archive (availability) says that a series holds.

A series closes early, `settle_s` after everything that was announced of it has come. An
announcement may come before, between or after the images, from whomever; it is looked at when it
ends and with every image that arrives. It never delays the quiet period's end: should an announced
image not come, that stands behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from service.ledger import turns
from service.ledger.database import Database, retried
from service.ledger.hint_tables import AnnouncedSeriesRow, AnnouncementRow
from service.ledger.tables import ObjectRow, SeriesRow, SeriesState, StudyRow

FORGOTTEN_AT_ONCE = 500
"""Announcements removed in one transaction."""


class StepState(StrEnum):
    """Performed Procedure Step Status (0040,0252), PS3.3 C.4.14."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


class Recorded(StrEnum):
    """What became of an announcement or of a change to one."""

    NEW = "new"
    CHANGED = "changed"
    KNOWN = "known"
    """Its SOP Instance UID is taken."""
    UNKNOWN = "unknown"
    """There is none to change."""
    ENDED = "ended"
    """It may no longer be changed."""
    EMPTY = "empty"
    """It cannot be completed: it names no series."""


@dataclass(frozen=True)
class AnnouncedSeries:
    """A series and the instances that it is said to hold, possibly none."""

    series_instance_uid: str
    sop_instance_uids: tuple[str, ...]


@retried
def announce(
    database: Database,
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    state: StepState,
    series: Sequence[AnnouncedSeries],
    calling_ae_title: str,
    settle_s: float,
    now: float,
) -> tuple[Recorded, bool]:
    """Record an announcement, and whether it brought a closing forward: NEW or KNOWN."""
    ended = state is not StepState.IN_PROGRESS
    with database.write() as connection:
        announcement_id = connection.execute(
            _NEW[connection.dialect.name],
            {
                "sop_class_uid": sop_class_uid,
                "sop_instance_uid": sop_instance_uid,
                "state": state,
                "calling_ae_title": calling_ae_title,
                "created_at": now,
                "ended_at": now if ended else None,
            },
        ).scalar_one_or_none()
        if announcement_id is None:
            return Recorded.KNOWN, False
        _list(connection, announcement_id, series)
        return Recorded.NEW, ended and _ended(connection, announcement_id, settle_s, now)


@retried
def amend(
    database: Database,
    sop_instance_uid: str,
    *,
    state: StepState | None,
    series: Sequence[AnnouncedSeries] | None,
    settle_s: float,
    now: float,
) -> tuple[Recorded, bool]:
    """Change one that is in progress, and whether that brought a closing forward; None leaves
    things as they are. CHANGED, UNKNOWN, ENDED or EMPTY; nothing is written but by the first."""
    with database.write() as connection:
        ended = state not in (None, StepState.IN_PROGRESS)
        of_it = AnnouncementRow.sop_instance_uid == sop_instance_uid
        announcement_id = connection.execute(
            update(AnnouncementRow)
            .where(of_it, AnnouncementRow.state == StepState.IN_PROGRESS)
            .values(
                state=state or StepState.IN_PROGRESS,
                ended_at=now if ended else None,
            )
            .returning(AnnouncementRow.id)
        ).scalar_one_or_none()
        if announcement_id is None:
            known = connection.execute(select(exists().where(of_it))).scalar_one()
            return (Recorded.ENDED if known else Recorded.UNKNOWN), False
        if series is not None:
            _list(connection, announcement_id, series)
        if state is StepState.COMPLETED and not _names_series(connection, announcement_id):
            connection.rollback()  # it stays what it was
            return Recorded.EMPTY, False
        return Recorded.CHANGED, ended and _ended(connection, announcement_id, settle_s, now)


@retried
def forget(database: Database, before: float, most: int = FORGOTTEN_AT_ONCE) -> int:
    """Remove announcements that ended, or began and never ended, before then; how many of up to
    `most`. One that is being changed at this moment is left to the next time."""
    with database.write() as connection:
        old = list(
            connection.execute(
                select(AnnouncementRow.id)
                .where(func.coalesce(AnnouncementRow.ended_at, AnnouncementRow.created_at) < before)
                .order_by(AnnouncementRow.id)
                .limit(most)
                .with_for_update(skip_locked=True)
            ).scalars()
        )
        listed = AnnouncedSeriesRow.announcement_id.in_(old)
        connection.execute(delete(AnnouncedSeriesRow).where(listed))
        connection.execute(delete(AnnouncementRow).where(AnnouncementRow.id.in_(old)))
        return len(old)


def arrived(connection: Connection, series_ids: Iterable[int], settle_s: float, now: float) -> bool:
    """Bring forward the closing of those of these series that all has come of that was announced;
    whether there were any. In the transaction that recorded what came, under the turns of its
    studies."""
    hastened = False
    for series_id in series_ids:
        announced = connection.execute(_ANNOUNCED, {"series_id": series_id}).first()
        if announced is not None and _is_whole(connection, series_id):
            _hasten(connection, series_id, settle_s, now)
            hastened = True
    return hastened


def awaits_announced() -> ColumnElement[bool]:
    """Of a SeriesRow: fewer objects have come than an announcement lists."""
    here = (
        select(func.count(ObjectRow.sop_instance_uid.distinct()))
        .where(ObjectRow.series_id == SeriesRow.id)
        .correlate(SeriesRow)
        .scalar_subquery()
    )
    return exists().where(
        AnnouncedSeriesRow.series_instance_uid == SeriesRow.series_instance_uid,
        AnnouncedSeriesRow.announcement_id == AnnouncementRow.id,
        AnnouncementRow.state != StepState.IN_PROGRESS,
        AnnouncedSeriesRow.instances > here,
    )


def is_whole(listed: Sequence[set[str]], here: set[str], *, reopened: bool) -> bool:
    """Whether all has come that announcements list of a series.

    A router may have given images new UIDs: where none of those listed is here, their number
    counts. A series that was opened again by something nobody announced is not hastened any more:
    its announcements do not tell all of it.
    """
    announced = set().union(*listed)
    if not announced or (reopened and len(here) > len(announced)):
        return False
    return announced <= here or (announced.isdisjoint(here) and len(here) >= len(announced))


def _list(connection: Connection, announcement_id: int, series: Sequence[AnnouncedSeries]) -> None:
    """Write what an announcement lists, in place of what it listed before."""
    connection.execute(
        delete(AnnouncedSeriesRow).where(AnnouncedSeriesRow.announcement_id == announcement_id)
    )
    listed: dict[str, set[str]] = {}
    for one in series:
        listed.setdefault(one.series_instance_uid, set()).update(one.sop_instance_uids)
    if listed:
        connection.execute(
            insert(AnnouncedSeriesRow),
            [
                {
                    "announcement_id": announcement_id,
                    "series_instance_uid": uid,
                    "instances": len(instances),
                    "sop_instance_uids": " ".join(sorted(instances)),
                }
                for uid, instances in listed.items()
            ],
        )


def _names_series(connection: Connection, announcement_id: int) -> bool:
    return bool(
        connection.execute(
            select(exists().where(AnnouncedSeriesRow.announcement_id == announcement_id))
        ).scalar_one()
    )


def _ended(connection: Connection, announcement_id: int, settle_s: float, now: float) -> bool:
    """Look at the series that an announcement lists, now that it counts."""
    found = connection.execute(
        select(SeriesRow.id, StudyRow.study_instance_uid)
        .join(StudyRow, StudyRow.id == SeriesRow.study_id)
        .join(
            AnnouncedSeriesRow,
            AnnouncedSeriesRow.series_instance_uid == SeriesRow.series_instance_uid,
        )
        .where(
            AnnouncedSeriesRow.announcement_id == announcement_id,
            SeriesRow.state == SeriesState.OPEN,
        )
    ).all()
    if not found:
        return False
    # what arrives at this very moment is seen by us, or sees us
    turns.take(connection, *{turns.study(one.study_instance_uid) for one in found})
    return arrived(connection, [one.id for one in found], settle_s, now)


def _is_whole(connection: Connection, series_id: int) -> bool:
    reopened = connection.execute(
        select(SeriesRow.reopened).where(SeriesRow.id == series_id)
    ).scalar_one()
    lists = connection.execute(
        select(AnnouncedSeriesRow.sop_instance_uids)
        .join(AnnouncementRow, AnnouncementRow.id == AnnouncedSeriesRow.announcement_id)
        .join(SeriesRow, SeriesRow.series_instance_uid == AnnouncedSeriesRow.series_instance_uid)
        .where(
            SeriesRow.id == series_id,
            AnnouncementRow.state != StepState.IN_PROGRESS,
            AnnouncedSeriesRow.instances > 0,
        )
    ).scalars()
    here = connection.execute(
        select(ObjectRow.sop_instance_uid).where(ObjectRow.series_id == series_id)
    ).scalars()
    return is_whole([set(one.split()) for one in lists], set(here), reopened=reopened > 0)


def _hasten(connection: Connection, series_id: int, settle_s: float, now: float) -> None:
    connection.execute(
        update(SeriesRow)
        .where(SeriesRow.id == series_id, SeriesRow.closes_at > now + settle_s)
        .values(closes_at=now + settle_s)
    )


def _inserting(
    inserted: sqlite.Insert | postgresql.Insert,
) -> sqlite.Insert | postgresql.Insert:
    return inserted.on_conflict_do_nothing(index_elements=["sop_instance_uid"])


_NEW = {
    "sqlite": _inserting(sqlite.insert(AnnouncementRow)).returning(AnnouncementRow.id),
    "postgresql": _inserting(postgresql.insert(AnnouncementRow)).returning(AnnouncementRow.id),
}
# built once, for it runs with every object: each stored one raises a series' generation, so that
# one with fewer than were announced is not whole
_ANNOUNCED = (
    select(SeriesRow.id)
    .join(
        AnnouncedSeriesRow, AnnouncedSeriesRow.series_instance_uid == SeriesRow.series_instance_uid
    )
    .join(AnnouncementRow, AnnouncementRow.id == AnnouncedSeriesRow.announcement_id)
    .where(
        SeriesRow.id == bindparam("series_id"),
        SeriesRow.state == SeriesState.OPEN,
        SeriesRow.generation >= AnnouncedSeriesRow.instances,
        AnnouncedSeriesRow.instances > 0,
        AnnouncementRow.state != StepState.IN_PROGRESS,
    )
)
