"""The queue of frames: claims under a lease, results, and what happens to a claimant that dies.

A claim hands out a fencing token; whoever stores results must hold every lease still. Attempts
are counted at the claim, so a frame that kills its worker is counted too; from its second attempt
a frame is claimed alone, so that it takes no other with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, Select, delete, select, update

from service.errors import LeaseLost
from service.ledger import results, tally, thumbnails, turns
from service.ledger.database import Database, retried
from service.ledger.tables import (
    FrameRow,
    FrameState,
    FrameWork,
    ObjectRow,
    ObjectState,
    SeriesRow,
    ThumbnailRow,
)
from service.ledger.thumbnails import NewThumbnail

AT_ONCE = 1000
"""Rows named in one statement: drivers number its parameters with 15 bits."""


@dataclass(frozen=True)
class ClaimedFrame:
    """One leased piece of work. `path` is relative to the spool."""

    frame_id: int
    object_id: int
    series_id: int
    sop_instance_uid: str
    path: str
    frame_number: int
    work: FrameWork


@dataclass(frozen=True)
class Claim:
    """Frames leased together under one token, all at their first attempt or a single one."""

    token: str
    frames: tuple[ClaimedFrame, ...]
    first_attempt: bool


@dataclass(frozen=True)
class FrameOutcome:
    """What is written back for one frame: a score with its bundle, or the reason for none."""

    frame_id: int
    stack: str
    position_mm: float | None
    score: float | None
    spread: float | None
    noise_hu: float | None
    snr: float | None
    level: float | None
    drawn_at_level: float | None
    bundle_digest: str | None
    excluded: str | None
    thumbnail: tuple[int, int, bytes] | None
    """Rows, columns and pixels, grey or RGB."""


@retried
def claim(
    database: Database,
    *,
    limit: int,
    lease_s: float,
    max_attempts: int,
    now: float,
    first_attempts_only: bool = False,
) -> Claim | None:
    """Lease up to `limit` waiting frames, oldest first; None when nothing waits.

    first_attempts_only: leave those that were tried before to a later claim.
    """
    with database.write() as connection:
        rescue(connection, max_attempts, now)
        rows = connection.execute(
            select(
                FrameRow.id,
                FrameRow.object_id,
                FrameRow.series_id,
                FrameRow.frame_number,
                FrameRow.work,
                FrameRow.attempts,
                ObjectRow.path,
                ObjectRow.sop_instance_uid,
            )
            .join(ObjectRow, ObjectRow.id == FrameRow.object_id)
            .where(FrameRow.state == FrameState.WAITING)
            .order_by(FrameRow.received_at, FrameRow.id)
            .limit(limit)
            .with_for_update(of=FrameRow, skip_locked=True, key_share=True)
        ).all()
        if not rows:
            return None
        fresh = [row for row in rows if row.attempts == 0]
        if not fresh and first_attempts_only:
            return None
        chosen = fresh or rows[:1]
        token = uuid4().hex
        connection.execute(
            update(FrameRow)
            .where(FrameRow.id.in_([row.id for row in chosen]))
            .values(
                state=FrameState.LEASED,
                attempts=FrameRow.attempts + 1,
                lease_token=token,
                lease_expires_at=now + lease_s,
            )
        )
    return Claim(
        token,
        tuple(
            ClaimedFrame(
                row.id,
                row.object_id,
                row.series_id,
                row.sop_instance_uid,
                row.path,
                row.frame_number,
                FrameWork(row.work),
            )
            for row in chosen
        ),
        first_attempt=bool(fresh),
    )


@retried
def extend(database: Database, token: str, *, lease_s: float, now: float) -> None:
    """A claim's heartbeat. Raises LeaseLost when it holds nothing any more."""
    with database.write() as connection:
        # frames locked by others are being stored, or taken away, at this moment
        held = connection.execute(
            update(FrameRow)
            .where(FrameRow.id.in_(_unlocked(_of_token(token))))
            .values(lease_expires_at=now + lease_s)
        )
        if not held.rowcount:
            raise LeaseLost("another worker took the frames over")


@retried
def store(
    database: Database,
    claim_: Claim,
    outcomes: Sequence[FrameOutcome],
    *,
    thumbnails_kept: int,
    now: float,
    spent_s: Mapping[str, float] | None = None,
) -> set[int]:
    """Write results under the claim's token; the ids of the series they belong to.

    spent_s: seconds that the worker spent, by stage, since it last stored.
    Raises LeaseLost, and writes nothing, when any of the frames is no longer held.
    """
    with database.write() as connection:
        series_of = {one.frame_id: one.series_id for one in claim_.frames}
        turns.take_scores(connection, set(series_of.values()))
        held = connection.execute(
            select(FrameRow.id)
            .where(_of_token(claim_.token))
            .order_by(FrameRow.id)
            .with_for_update(key_share=True)
        ).all()
        if len(held) != len(claim_.frames):
            raise LeaseLost("another worker took the frames over")
        results.write(
            connection,
            [
                {
                    "frame": one.frame_id,
                    "state": FrameState.SCORED if one.score is not None else FrameState.EXCLUDED,
                    "stack": one.stack[:200],
                    "position_mm": one.position_mm,
                    "score": one.score,
                    "spread": one.spread,
                    "noise_hu": one.noise_hu,
                    "snr": one.snr,
                    "level": one.level,
                    "drawn_at_level": one.drawn_at_level,
                    "bundle_digest": one.bundle_digest,
                    "reason": one.excluded,
                    "scored_at": now,
                }
                for one in outcomes
            ],
        )
        arrived: dict[int, list[NewThumbnail]] = {}
        for one in outcomes:
            if one.thumbnail is not None and one.score is not None:
                new = NewThumbnail(one.frame_id, one.score, one.thumbnail)
                arrived.setdefault(series_of[one.frame_id], []).append(new)
        for series_id, of_series in arrived.items():
            thumbnails.keep(connection, series_id, of_series, thumbnails_kept)
        scored = sum(one.score is not None for one in outcomes)
        with tally.counting(connection) as counts:
            counts.count("frames", "scored", by=scored)
            counts.count("frames", "excluded", by=len(outcomes) - scored)
            for stage, seconds in (spent_s or {}).items():
                counts.count("stage_seconds", stage, by=seconds)
        return set(series_of.values())


@retried
def settle_contested(
    database: Database, claim_: Claim, frame: ClaimedFrame, *, same: bool, reason: str, now: float
) -> None:
    """Record what the comparison of a contested object with the known one found.

    Raises LeaseLost when the frame is no longer held.
    """
    with database.write() as connection:
        done = connection.execute(
            update(FrameRow)
            .where(FrameRow.id == frame.frame_id, FrameRow.lease_token == claim_.token)
            .values(
                state=FrameState.EXCLUDED,
                reason=reason,
                scored_at=now,
                lease_token=None,
                lease_expires_at=None,
            )
        )
        if not done.rowcount:
            raise LeaseLost("another worker took the frame over")
        connection.execute(
            update(ObjectRow)
            .where(ObjectRow.id == frame.object_id)
            .values(state=ObjectState.DUPLICATE if same else ObjectState.CONFLICT, reason=reason)
        )
        tally.count(connection, "contested", "duplicate" if same else "conflict")


@retried
def give_back(database: Database, token: str) -> None:
    """Return claimed frames to the queue, as a worker does when it is told to stop: the attempt
    does not count."""
    with database.write() as connection:
        _take_turn_of(connection, token)
        connection.execute(
            update(FrameRow)
            .where(_of_token(token))
            .values(
                state=FrameState.WAITING,
                attempts=FrameRow.attempts - 1,
                lease_token=None,
                lease_expires_at=None,
            )
        )


@retried
def fail(database: Database, token: str, *, until: float = 0.0, counts: bool = True) -> None:
    """Return claimed frames to the queue after a fault, at a later time if need be. `counts`:
    whether the attempt does, because the fault may be theirs."""
    with database.write() as connection:
        _take_turn_of(connection, token)
        connection.execute(
            update(FrameRow)
            .where(_of_token(token))
            .values(lease_expires_at=until, attempts=FrameRow.attempts - (0 if counts else 1))
        )


@retried
def requeue_scored_by(database: Database, series_id: int, bundle_digests: Set[str]) -> int:
    """Have frames scored again whose bundle is not served any more; how many they are."""
    with database.write() as connection:
        turns.take_study_of_series(connection, series_id)
        stale = connection.execute(
            select(FrameRow.id)
            .where(FrameRow.series_id == series_id, FrameRow.bundle_digest.in_(bundle_digests))
            .order_by(FrameRow.id)
        ).scalars()
        return requeue(connection, series_id, list(stale))


def requeue(connection: Connection, series_id: int, frame_ids: Sequence[int]) -> int:
    """Have frames of a series scored anew, within a transaction that has the turns of its study
    and scores; how many they are.

    The series' generation grows: whoever judged it by their old scores must not close it.
    """
    if not frame_ids:
        return 0
    for start in range(0, len(frame_ids), AT_ONCE):
        some = frame_ids[start : start + AT_ONCE]
        connection.execute(delete(ThumbnailRow).where(ThumbnailRow.frame_id.in_(some)))
        connection.execute(
            update(FrameRow)
            .where(FrameRow.id.in_(some))
            .values(
                state=FrameState.WAITING, attempts=0, score=None, bundle_digest=None, reason=None
            )
        )
    connection.execute(
        update(SeriesRow)
        .where(SeriesRow.id == series_id)
        .values(generation=SeriesRow.generation + 1)
    )
    return len(frame_ids)


def known_object(database: Database, sop_instance_uid: str) -> tuple[int, str] | None:
    """The object (id, path) that a contested one of the same UID is compared with."""
    with database.read() as connection:
        row = connection.execute(
            select(ObjectRow.id, ObjectRow.path)
            .where(
                ObjectRow.sop_instance_uid == sop_instance_uid,
                ObjectRow.state.in_([ObjectState.IMAGE, ObjectState.SET_ASIDE]),
            )
            .order_by(ObjectRow.id)
            .limit(1)
        ).one_or_none()
    return None if row is None else (row.id, row.path)


@retried
def retry_dead(database: Database, frame_id: int) -> bool:
    """Put a dead frame back into the queue and open its series again; False if it is not dead."""
    with database.write() as connection:
        turns.take_study_of_frame(connection, frame_id)
        revived = connection.execute(
            update(FrameRow)
            .where(FrameRow.id == frame_id, FrameRow.state == FrameState.DEAD)
            .values(state=FrameState.WAITING, attempts=0, reason=None)
            .returning(FrameRow.series_id)
        ).scalar_one_or_none()
        if revived is None:
            return False
        connection.execute(
            update(SeriesRow)
            .where(SeriesRow.id == revived)
            .values(state="open", generation=SeriesRow.generation + 1)
        )
        return True


def rescue(connection: Connection, max_attempts: int, now: float) -> None:
    """Take over what dead workers held: back to the queue, or dead after too many attempts."""
    expired = (FrameRow.state == FrameState.LEASED) & (FrameRow.lease_expires_at <= now)
    connection.execute(
        update(FrameRow)
        .where(FrameRow.id.in_(_unlocked(expired & (FrameRow.attempts >= max_attempts))))
        .values(
            state=FrameState.DEAD,
            reason=f"its worker failed {max_attempts} times; see `iqgate letters`",
            lease_token=None,
            lease_expires_at=None,
        )
    )
    connection.execute(
        update(FrameRow)
        .where(FrameRow.id.in_(_unlocked(expired & (FrameRow.attempts < max_attempts))))
        .values(state=FrameState.WAITING, lease_token=None, lease_expires_at=None)
    )


def _of_token(token: str) -> ColumnElement[bool]:
    """Frames leased under this token."""
    return (FrameRow.lease_token == token) & (FrameRow.state == FrameState.LEASED)


def _unlocked(frames: ColumnElement[bool]) -> Select[Any]:
    """Ids of frames that no other transaction is writing; they are locked then."""
    return select(FrameRow.id).where(frames).with_for_update(skip_locked=True, key_share=True)


def _take_turn_of(connection: Connection, token: str) -> None:
    """Take the turns of the scores that a claim works on."""
    if turns.shared(connection):
        of_claim = select(FrameRow.series_id).where(_of_token(token)).distinct()
        turns.take_scores(connection, connection.execute(of_claim).scalars())
