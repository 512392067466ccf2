"""PET and its CT: frames wait for a companion, get one, or go without; and a CT that comes or
changes later opens its PET again.

Each step is one transaction that decides anew on what it finds: whoever dies in between leaves
frames awaiting, and the next pass takes them up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, func, or_, select, update

from service.companion import (
    Companion,
    CtCandidate,
    CtFrame,
    Fusing,
    choose,
    fit_frames,
    nearest,
)
from service.ledger import json_text, turns
from service.ledger.database import Database, retried
from service.ledger.reception import quiet_s
from service.ledger.tables import (
    FrameRow,
    FrameState,
    FrameWork,
    ObjectRow,
    ObjectState,
    SeriesRow,
    SeriesState,
    ThumbnailRow,
)

GIVEN_UP = "given up by an operator"
NO_FRAME_OF_REFERENCE = "no CT can be found: Frame of Reference UID (0020,0052) is not stated"

_UNSCORED: dict[str, Any] = {
    "attempts": 0,
    "lease_token": None,
    "lease_expires_at": None,
    "score": None,
    "spread": None,
    "snr": None,
    "bundle_digest": None,
    "reason": None,
    "scored_at": None,
}
_REDRAWN = (FrameState.WAITING, FrameState.LEASED, FrameState.SCORED, FrameState.EXCLUDED)
"""States of frames that were drawn, or were to be, with the companion known until now."""


class Step(StrEnum):
    """What a PET series' awaiting frames are due for."""

    WAIT = "wait"
    RELEASE = "release"
    """They are scored with the companion the series has, or without one where none is needed."""
    PAIR = "pair"
    """The series gets another companion, so all its frames are drawn anew."""
    EXCLUDE = "exclude"


@dataclass(frozen=True)
class Unplaced:
    """An awaiting frame whose position has not been read. `path` is relative to the spool."""

    frame_id: int
    path: str
    frame_number: int


@dataclass(frozen=True)
class _Plan:
    step: Step
    companion_id: int | None = None
    companion_generation: int | None = None
    reason: str | None = None


def awaiting(database: Database) -> dict[int, list[Unplaced]]:
    """The series of which frames await a companion, with those frames that have no position."""
    with database.read() as connection:
        rows = connection.execute(
            select(
                FrameRow.series_id,
                FrameRow.id,
                FrameRow.frame_number,
                FrameRow.position_mm,
                ObjectRow.path,
            )
            .join(ObjectRow, ObjectRow.id == FrameRow.object_id)
            .where(FrameRow.state == FrameState.AWAITING_COMPANION)
            .order_by(FrameRow.object_id, FrameRow.frame_number)
        ).all()
    found: dict[int, list[Unplaced]] = {}
    for row in rows:
        unplaced = found.setdefault(row.series_id, [])
        if row.position_mm is None:
            unplaced.append(Unplaced(row.id, row.path, row.frame_number))
    return found


@retried
def pair(
    database: Database,
    series_id: int,
    positions_mm: Mapping[int, float | None],
    fusing: Fusing | None,
    now: float,
) -> bool:
    """Take a PET series' awaiting frames one step on; whether any of them moved.

    `positions_mm` are those just read, by frame id; a frame that has none is released, for scoring
    to say why. `fusing` is None where no bundle asks for a fused picture: nothing is waited for.
    """
    if not positions_mm:
        with database.read() as connection:
            if _plan(connection, series_id, fusing, now).step is Step.WAIT:
                return False
    with database.write() as connection:
        turns.take_study_of_series(connection, series_id)
        placed = _place_frames(connection, positions_mm)
        plan = _plan(connection, series_id, fusing, now)
        return _carry_out(connection, series_id, plan) or placed


def reconsider(connection: Connection, ct_series_id: int, fusing: Fusing, now: float) -> None:
    """Open the PET series again that a CT just closed is a new, a better or a changed companion of.

    Called in the very transaction that closes the CT, so that none is forgotten; it has the turn
    of the study.
    """
    ct = connection.execute(
        select(SeriesRow.study_id, SeriesRow.facts).where(SeriesRow.id == ct_series_id)
    ).one()
    frame_of_reference = json_text.load_facts(ct.facts).frame_of_reference_uid
    pets = _series(connection, ct.study_id, "PT", frame_of_reference)
    turns.take_scores(connection, [pet.id for pet in pets])
    for pet in pets:
        if _count(connection, pet.id, FrameRow.state == FrameState.AWAITING_COMPANION):
            continue  # the next pass decides for them anyway
        plan = _plan(connection, pet.id, fusing, now)
        if plan.step is not Step.PAIR:
            continue
        connection.execute(
            update(FrameRow)
            .where(FrameRow.series_id == pet.id, _drawn())
            .values(state=FrameState.AWAITING_COMPANION, **_UNSCORED)
        )
        connection.execute(delete(ThumbnailRow).where(ThumbnailRow.series_id == pet.id))
        reopened = pet.reopened + (pet.state == SeriesState.CLOSED)
        connection.execute(
            update(SeriesRow)
            .where(SeriesRow.id == pet.id)
            .values(
                state=SeriesState.OPEN,
                generation=SeriesRow.generation + 1,
                reopened=reopened,
                closes_at=now + quiet_s(fusing.complete, reopened),
            )
        )


def companion_of(connection: Connection, companion_id: int | None) -> Companion | None:
    """The CT of this row, as it is now."""
    if companion_id is None:
        return None
    facts = connection.execute(
        select(SeriesRow.facts).where(SeriesRow.id == companion_id)
    ).scalar_one()
    images = connection.execute(
        select(ObjectRow.sop_instance_uid, ObjectRow.sha256)
        .where(ObjectRow.series_id == companion_id, ObjectRow.state == ObjectState.IMAGE)
        .order_by(ObjectRow.id)
    )
    return Companion(
        json_text.load_facts(facts),
        tuple((row.sop_instance_uid, row.sha256) for row in images),
        tuple(_ct_frames(connection, companion_id)),
    )


def companions(
    database: Database, frame_ids: Collection[int], fusing: Fusing
) -> dict[int, CtFrame]:
    """For each of these frames whose series has a companion: the CT frame nearest to it."""
    with database.read() as connection:
        rows = connection.execute(
            select(FrameRow.id, FrameRow.position_mm, SeriesRow.companion_id)
            .join(SeriesRow, SeriesRow.id == FrameRow.series_id)
            .where(
                FrameRow.id.in_(frame_ids),
                FrameRow.position_mm.is_not(None),
                SeriesRow.companion_id.is_not(None),
            )
        ).all()
        fit = {
            one: fit_frames(_ct_frames(connection, one), fusing.unfit)
            for one in {row.companion_id for row in rows}
        }
    found = {row.id: nearest(row.position_mm, fit[row.companion_id]) for row in rows}
    return {frame_id: one for frame_id, one in found.items() if one is not None}


def _plan(connection: Connection, series_id: int, fusing: Fusing | None, now: float) -> _Plan:
    """What a PET series is due for, whether frames of it await a companion or not."""
    pet = connection.execute(select(SeriesRow.__table__).where(SeriesRow.id == series_id)).one()
    if fusing is None:
        return _Plan(Step.RELEASE)
    facts = json_text.load_facts(pet.facts)
    if not facts.frame_of_reference_uid:
        return _Plan(Step.EXCLUDE, reason=NO_FRAME_OF_REFERENCE)
    found = _series(connection, pet.study_id, "CT", facts.frame_of_reference_uid)
    wait_s = fusing.complete.companion_wait_s
    in_time = now < pet.closes_at + wait_s
    if in_time and any(one.state == SeriesState.OPEN for one in found):
        return _Plan(Step.WAIT)
    closed = {one.series_instance_uid: one for one in found if one.state == SeriesState.CLOSED}
    candidates = [
        _candidate(one, fit_frames(_ct_frames(connection, one.id), fusing.unfit))
        for one in closed.values()
    ]
    best = choose(_positions_mm(connection, series_id), facts.acquired_at, candidates)
    if best is not None:
        row = closed[best.series_instance_uid]
        same = (row.id, row.generation) == (pet.companion_id, pet.companion_generation)
        return _Plan(Step.RELEASE if same else Step.PAIR, row.id, row.generation)
    if in_time:
        return _Plan(Step.WAIT)
    if any(one.positions_mm for one in candidates):
        return _Plan(
            Step.EXCLUDE, reason="no CT of the same study and Frame of Reference overlaps it"
        )
    return _Plan(
        Step.EXCLUDE,
        reason=(
            "no CT of the same study and Frame of Reference came within "
            f"{wait_s / 60:.3g} min of the last slice"
        ),
    )


def _carry_out(connection: Connection, series_id: int, plan: _Plan) -> bool:
    """Whether frames moved; each step leaves none awaiting."""
    frames = (FrameRow.series_id == series_id) & (FrameRow.state == FrameState.AWAITING_COMPANION)
    match plan.step:
        case Step.WAIT:
            return False
        case Step.RELEASE:
            connection.execute(update(FrameRow).where(frames).values(state=FrameState.WAITING))
        case Step.EXCLUDE:
            connection.execute(
                update(FrameRow).where(frames).values(state=FrameState.EXCLUDED, reason=plan.reason)
            )
        case Step.PAIR:
            # whoever judged the frames drawn with another CT must not close the series by them
            redrawn = _count(connection, series_id, _drawn()) > 0
            connection.execute(
                update(FrameRow)
                .where(FrameRow.series_id == series_id, _drawn())
                .values(state=FrameState.WAITING, **_UNSCORED)
            )
            connection.execute(update(FrameRow).where(frames).values(state=FrameState.WAITING))
            connection.execute(delete(ThumbnailRow).where(ThumbnailRow.series_id == series_id))
            connection.execute(
                update(SeriesRow)
                .where(SeriesRow.id == series_id)
                .values(
                    companion_id=plan.companion_id,
                    companion_generation=plan.companion_generation,
                    generation=SeriesRow.generation + int(redrawn),
                )
            )
    return True


def _place_frames(connection: Connection, positions_mm: Mapping[int, float | None]) -> bool:
    """Store positions; whether frames without one were released."""
    if not positions_mm:
        return False
    connection.execute(
        update(FrameRow).where(
            FrameRow.id == bindparam("frame"), FrameRow.state == FrameState.AWAITING_COMPANION
        ),
        [
            {
                "frame": frame_id,
                "position_mm": position_mm,
                "state": FrameState.AWAITING_COMPANION
                if position_mm is not None
                else FrameState.WAITING,
            }
            for frame_id, position_mm in positions_mm.items()
        ],
        execution_options={"synchronize_session": False},
    )
    return None in positions_mm.values()


def _drawn() -> ColumnElement[bool]:
    """Frames to be scored that were drawn, or were to be, with the companion known until now."""
    return (
        (FrameRow.work == FrameWork.SCORE)
        & FrameRow.state.in_(_REDRAWN)
        & or_(FrameRow.reason.is_(None), FrameRow.reason != GIVEN_UP)
    )


def _count(connection: Connection, series_id: int, frames: ColumnElement[bool]) -> int:
    return connection.execute(
        select(func.count()).select_from(FrameRow).where(FrameRow.series_id == series_id, frames)
    ).scalar_one()


def _series(
    connection: Connection, study_id: int, modality: str, frame_of_reference_uid: str
) -> Sequence[Row[Any]]:
    """A study's series of one modality and one Frame of Reference, which must be stated."""
    rows = connection.execute(
        select(SeriesRow.__table__)
        .where(SeriesRow.study_id == study_id, SeriesRow.modality == modality)
        .order_by(SeriesRow.series_instance_uid)
    ).all()
    return [
        row
        for row in rows
        if frame_of_reference_uid
        and json_text.load_facts(row.facts).frame_of_reference_uid == frame_of_reference_uid
    ]


def _candidate(ct: Row[Any], fit: Sequence[CtFrame]) -> CtCandidate:
    return CtCandidate(
        ct.series_instance_uid,
        json_text.load_facts(ct.facts).acquired_at,
        tuple(one.position_mm for one in fit if one.position_mm is not None),
    )


def _positions_mm(connection: Connection, series_id: int) -> list[float]:
    return [
        position
        for position in connection.execute(
            select(FrameRow.position_mm).where(
                FrameRow.series_id == series_id,
                FrameRow.work == FrameWork.SCORE,
                FrameRow.position_mm.is_not(None),
            )
        ).scalars()
        if position is not None
    ]


def _ct_frames(connection: Connection, series_id: int) -> list[CtFrame]:
    """Frames of a CT's images that scoring has seen."""
    rows = connection.execute(
        select(
            ObjectRow.sop_instance_uid,
            FrameRow.frame_number,
            ObjectRow.path,
            FrameRow.position_mm,
            FrameRow.stack,
            FrameRow.reason,
        )
        .join(ObjectRow, ObjectRow.id == FrameRow.object_id)
        .where(
            FrameRow.series_id == series_id,
            ObjectRow.state == ObjectState.IMAGE,
            FrameRow.work == FrameWork.SCORE,
            FrameRow.state.in_([FrameState.SCORED, FrameState.EXCLUDED]),
        )
        .order_by(FrameRow.id)
    )
    return [CtFrame(*row) for row in rows]
