"""Turns: who goes first where several transactions would read what another is writing.

SQLite lets one writer in at a time (BEGIN IMMEDIATE), so whatever a transaction read still holds
when it writes. On PostgreSQL transactions run side by side; there, one that decides on what it has
read first takes a turn under the name of what it decides on, and whoever wants the same turn waits
until it has committed. Every statement after that sees what the others committed.

Turns are advisory locks of the transaction, so a row that does not exist yet has one, too. A
transaction takes them in this order, those of one kind in one call, so that none wait in a circle:

    sender          whose associations ended                    (`settling`)
    study, object, acquisition   what arrives, closes, pairs, is reported
    scores          of a series: frames, thumbnails being written
    rows            counters last (`tally`)

Claims take no turn: they lock the rows they lease, and pass over those that are locked.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection, Select, select, text

from service.ledger.tables import FrameRow, SeriesRow, StudyRow

_TAKE = text("SELECT pg_advisory_xact_lock(key) FROM unnest(CAST(:keys AS bigint[])) AS key")


def key(name: str) -> int:
    """The lock's number. Two names that share one merely wait for each other."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), signed=True)


def take(connection: Connection, *names: str) -> None:
    """Wait for these turns and hold them until the transaction ends."""
    if shared(connection) and names:
        # sorted: two that want the same turns get them in the same order
        connection.execute(_TAKE, {"keys": sorted({key(name) for name in names})})


def shared(connection: Connection) -> bool:
    """Whether other writers may be at work during this transaction."""
    return connection.dialect.name == "postgresql"


def study(study_instance_uid: str) -> str:
    return f"study {study_instance_uid}"


def object_(sop_instance_uid: str) -> str:
    return f"object {sop_instance_uid}"


def acquisition(name: str) -> str:
    return f"acquisition {name}"


def sender(calling_ae_title: str) -> str:
    return f"sender {calling_ae_title}"


def take_study_of_series(connection: Connection, series_id: int) -> None:
    """Take the turns of a series' study and of its scores."""
    of_series = select(StudyRow.study_instance_uid).where(
        StudyRow.id == SeriesRow.study_id, SeriesRow.id == series_id
    )
    _take_study(connection, of_series)
    take_scores(connection, [series_id])


def take_study_of_frame(connection: Connection, frame_id: int) -> None:
    """Take the turn of a frame's study."""
    _take_study(
        connection,
        select(StudyRow.study_instance_uid).where(
            StudyRow.id == SeriesRow.study_id,
            SeriesRow.id == FrameRow.series_id,
            FrameRow.id == frame_id,
        ),
    )


def take_scores(connection: Connection, series_ids: Iterable[int]) -> None:
    """Take the turns of these series' scores."""
    take(connection, *(f"scores {one}" for one in series_ids))


def _take_study(connection: Connection, query: Select[Any]) -> None:
    if shared(connection):
        take(connection, *map(study, connection.execute(query).scalars()))
