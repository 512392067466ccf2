"""A series' end: what is read to judge it, and the one transaction that makes it final.

Closing is guarded by the series' generation, which every stored object raises, and by no frame
of it waiting: whatever arrives in between makes the commit fail, and it is judged afresh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, exists, func, insert, or_, select, update

from service.companion import Companion, Fusing
from service.judge.evidence import Assessment, SeriesFacts, SliceScore
from service.judge.judging import alarming
from service.ledger import json_text, labels, senders, tally, turns
from service.ledger.database import Database, retried
from service.ledger.issuing import Issue, NewReport, issue, predecessor_holds
from service.ledger.pairing import companion_of, reconsider
from service.ledger.tables import (
    AssessmentRow,
    FrameRow,
    FrameState,
    FrameWork,
    ObjectRow,
    ObjectState,
    SeriesRow,
    SeriesState,
    StudyRow,
    ThumbnailRow,
)

_PENDING = (FrameState.AWAITING_COMPANION, FrameState.WAITING, FrameState.LEASED)


@dataclass(frozen=True)
class Thumbnail:
    """A picture: `pixels` are `rows` × `columns` bytes of grey, or three times as many of RGB."""

    rows: int
    columns: int
    pixels: bytes

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the pixels as an array."""
        grey = self.rows, self.columns
        return grey if len(self.pixels) == self.rows * self.columns else (*grey, 3)


@dataclass(frozen=True)
class SeriesSnapshot:
    """Everything known of one series at one generation.

    `slices` are in order of stack and position; those still waiting are left out, and counted in
    `pending` with contested objects that wait to be compared.
    `images` are (SOP Instance UID, digest) of every image, `paths` where each lies in the spool.
    `assessment` is the current one, of this generation or an earlier one. `companion` is the CT
    that a PET's slices were fused with.
    """

    series_id: int
    study_id: int
    facts: SeriesFacts
    generation: int
    last_object_at: float
    is_open: bool
    pending: int
    slices: tuple[SliceScore, ...]
    bundle_digests: frozenset[str]
    images: tuple[tuple[str, str], ...]
    paths: dict[str, str]
    set_aside: str | None
    conflicts: int
    thumbnails: dict[tuple[str, int], Thumbnail]
    assessment_id: int | None
    assessment: Assessment | None
    companion: Companion | None = None
    rejected: str = ""
    """Why all its images are rejected, in words. Where only some are, their slices are excluded and
    they are left out of `images`."""

    @property
    def images_used(self) -> tuple[tuple[str, str], ...]:
        """(SOP Instance UID, digest) of every image the assessment stands on."""
        return self.images + (() if self.companion is None else self.companion.images)


def due_series(database: Database, now: float) -> list[int]:
    """Open series whose quiet period is over and of which no frame waits."""
    waits = exists().where(FrameRow.series_id == SeriesRow.id, FrameRow.state.in_(_PENDING))
    with database.read() as connection:
        return list(
            connection.execute(
                select(SeriesRow.id)
                .where(SeriesRow.state == SeriesState.OPEN, SeriesRow.closes_at <= now, ~waits)
                .order_by(SeriesRow.closes_at)
            ).scalars()
        )


def next_closing_at(database: Database, now: float) -> float | None:
    """When the next open series' quiet period ends."""
    with database.read() as connection:
        return connection.execute(
            select(func.min(SeriesRow.closes_at)).where(
                SeriesRow.state == SeriesState.OPEN, SeriesRow.closes_at > now
            )
        ).scalar_one()


def snapshot(database: Database, series_id: int) -> SeriesSnapshot:
    """Read one series in one consistent view."""
    with database.read() as connection:
        return _snapshot(connection, series_id)


@retried
def keep_provisional(
    database: Database, seen: SeriesSnapshot, assessment: Assessment, now: float
) -> bool:
    """Store the verdict so far, for pages to show while slices still arrive; the time since the
    newest slice is counted where the verdict includes it.

    False, and nothing is written, where the series is closed, or where another worker has stored a
    verdict that rests on more: on a later generation, or on more slices of the same.
    """
    generation, slices = SeriesRow.provisional_generation, SeriesRow.provisional_slices
    facts = (seen.generation, len(seen.slices))
    with database.write() as connection:
        stored = connection.execute(
            update(SeriesRow)
            .where(
                SeriesRow.id == seen.series_id,
                SeriesRow.state == SeriesState.OPEN,
                or_(
                    generation.is_(None),
                    generation < facts[0],
                    and_(generation == facts[0], slices <= facts[1]),
                ),
            )
            .values(
                provisional=json_text.dump(assessment),
                provisional_at=now,
                provisional_generation=facts[0],
                provisional_slices=facts[1],
            )
        ).rowcount
        if stored and not seen.pending:
            waited_s = max(0.0, now - seen.last_object_at)
            with tally.counting(connection) as counts:
                counts.observe("verdict_seconds", waited_s, "provisional")
        return bool(stored)


@retried
def close(
    database: Database,
    seen: SeriesSnapshot,
    assessment: Assessment,
    reports: Sequence[NewReport],
    outbox: Issue,
    *,
    report_study: bool,
    now: float,
    fusing: Fusing | None = None,
) -> bool:
    """Make the assessment current, with its reports and their outbox rows, in one transaction.

    With `report_study` the study is marked as due for a report instead. With `fusing`, a CT that
    changes what a PET is fused with opens it again. False, and nothing is written, when the series
    changed since `seen`.
    """
    if seen.pending:
        return False
    with database.write() as connection:
        turns.take(
            connection,
            turns.study(seen.facts.study_instance_uid),
            turns.acquisition(seen.facts.acquisition),
        )
        if not _still(connection, seen) or not predecessor_holds(connection, reports):
            return False
        connection.execute(
            update(SeriesRow)
            .where(SeriesRow.id == seen.series_id)
            .values(
                state=SeriesState.CLOSED,
                provisional=None,
                provisional_at=None,
                provisional_generation=None,
                provisional_slices=None,
            )
        )
        connection.execute(
            update(AssessmentRow)
            .where(AssessmentRow.series_id == seen.series_id)
            .values(current=False)
        )
        assessment_id = connection.execute(
            insert(AssessmentRow)
            .values(
                series_id=seen.series_id,
                generation=seen.generation,
                current=True,
                verdict=assessment.verdict,
                score=assessment.score,
                alarm=False,
                body=json_text.dump(assessment),
                last_object_at=seen.last_object_at,
                created_at=now,
            )
            .returning(AssessmentRow.id)
        ).scalar_one()
        _set_alarm(connection, seen.facts)
        for report in reports:
            issue(connection, report, [assessment_id], outbox, now)
        if report_study:
            connection.execute(
                update(StudyRow).where(StudyRow.id == seen.study_id).values(report_due=True)
            )
        if fusing is not None and seen.facts.modality == "CT":
            reconsider(connection, seen.series_id, fusing, now)
        with tally.counting(connection) as counts:
            senders.count_closed(connection, counts, seen.series_id)
            counts.count("verdicts", seen.facts.modality, assessment.verdict)
            counts.observe("verdict_seconds", now - seen.last_object_at, "final")
        return True


def due_studies(database: Database) -> list[int]:
    """Studies that wait for a report and of which no series is open."""
    open_series = exists().where(
        SeriesRow.study_id == StudyRow.id, SeriesRow.state == SeriesState.OPEN
    )
    with database.read() as connection:
        return list(
            connection.execute(
                select(StudyRow.id).where(StudyRow.report_due, ~open_series).order_by(StudyRow.id)
            ).scalars()
        )


def study_snapshots(database: Database, study_id: int) -> tuple[SeriesSnapshot, ...]:
    """All series of a study in one consistent view, in order of Series Instance UID."""
    with database.read() as connection:
        ids = connection.execute(
            select(SeriesRow.id)
            .where(SeriesRow.study_id == study_id)
            .order_by(SeriesRow.series_instance_uid)
        ).scalars()
        return tuple(_snapshot(connection, series_id) for series_id in list(ids))


@retried
def report_study(
    database: Database,
    study_id: int,
    seen: Sequence[SeriesSnapshot],
    reports: Sequence[NewReport],
    outbox: Issue,
    now: float,
) -> bool:
    """Issue a study's reports; False, and nothing is written, when any of its series changed, or
    another host has issued them."""
    with database.write() as connection:
        turns.take(connection, *{turns.study(one.facts.study_instance_uid) for one in seen})
        current = connection.execute(
            select(SeriesRow.id, SeriesRow.generation, SeriesRow.state).where(
                SeriesRow.study_id == study_id
            )
        ).all()
        expected = {(one.series_id, one.generation, str(SeriesState.CLOSED)) for one in seen}
        due = connection.execute(select(StudyRow.report_due).where(StudyRow.id == study_id))
        if not due.scalar_one() or {tuple(row) for row in current} != expected:
            return False
        if not predecessor_holds(connection, reports):
            return False
        assessments = [one.assessment_id for one in seen if one.assessment_id is not None]
        for report in reports:
            issue(connection, report, assessments, outbox, now)
        connection.execute(update(StudyRow).where(StudyRow.id == study_id).values(report_due=False))
        return True


def _still(connection: Connection, seen: SeriesSnapshot) -> bool:
    row = connection.execute(
        select(SeriesRow.generation, SeriesRow.state).where(SeriesRow.id == seen.series_id)
    ).one()
    pending = connection.execute(
        select(func.count())
        .select_from(FrameRow)
        .where(FrameRow.series_id == seen.series_id, FrameRow.state.in_(_PENDING))
    ).scalar_one()
    return tuple(row) == (seen.generation, SeriesState.OPEN) and not pending


def _set_alarm(connection: Connection, facts: SeriesFacts) -> None:
    """Alarm on the one reconstruction of the acquisition that the policy calls primary."""
    rows = connection.execute(
        select(AssessmentRow.id, AssessmentRow.body, SeriesRow.series_instance_uid)
        .join(SeriesRow, SeriesRow.id == AssessmentRow.series_id)
        .where(SeriesRow.acquisition == facts.acquisition, AssessmentRow.current)
    ).all()
    uid = alarming([(row.series_instance_uid, json_text.load_assessment(row.body)) for row in rows])
    for row in rows:
        connection.execute(
            update(AssessmentRow)
            .where(AssessmentRow.id == row.id)
            .values(alarm=row.series_instance_uid == uid)
        )


def _snapshot(connection: Connection, series_id: int) -> SeriesSnapshot:
    series = connection.execute(select(SeriesRow.__table__).where(SeriesRow.id == series_id)).one()
    objects = connection.execute(
        select(ObjectRow.__table__).where(ObjectRow.series_id == series_id).order_by(ObjectRow.id)
    ).all()
    frames = connection.execute(
        select(FrameRow.__table__, ObjectRow.sop_instance_uid)
        .join(ObjectRow, ObjectRow.id == FrameRow.object_id)
        .where(FrameRow.series_id == series_id)
    ).all()
    current = connection.execute(
        select(AssessmentRow.id, AssessmentRow.body).where(
            AssessmentRow.series_id == series_id, AssessmentRow.current
        )
    ).one_or_none()
    thumbnails = connection.execute(
        select(
            ObjectRow.sop_instance_uid,
            FrameRow.frame_number,
            ThumbnailRow.rows,
            ThumbnailRow.columns,
            ThumbnailRow.pixels,
        )
        .join(FrameRow, FrameRow.id == ThumbnailRow.frame_id)
        .join(ObjectRow, ObjectRow.id == FrameRow.object_id)
        .where(ThumbnailRow.series_id == series_id)
    ).all()
    images = [one for one in objects if one.state == ObjectState.IMAGE]
    pending = sum(one.state in _PENDING for one in frames)
    done = [one for one in frames if one.work == FrameWork.SCORE and one.state not in _PENDING]
    slices = tuple(sorted((_slice(one) for one in done), key=_place))
    reasons = labels.rejected(connection, series.series_instance_uid)
    rejected = labels.wholly(reasons, [one.sop_instance_uid for one in images])
    if reasons and not rejected:
        images = [one for one in images if one.sop_instance_uid not in reasons]
        slices = tuple(labels.without_rejected(slices, reasons))
    return SeriesSnapshot(
        series_id=series_id,
        study_id=series.study_id,
        facts=json_text.load_facts(series.facts),
        generation=series.generation,
        last_object_at=series.last_object_at,
        is_open=series.state == SeriesState.OPEN,
        pending=pending,
        slices=slices,
        bundle_digests=frozenset(one.bundle_digest for one in done if one.bundle_digest),
        images=tuple((one.sop_instance_uid, one.sha256) for one in images),
        paths={one.sop_instance_uid: one.path for one in images},
        set_aside=next((one.reason for one in objects if one.state == ObjectState.SET_ASIDE), None),
        conflicts=sum(one.state == ObjectState.CONFLICT for one in objects),
        thumbnails={
            (one.sop_instance_uid, one.frame_number): Thumbnail(one.rows, one.columns, one.pixels)
            for one in thumbnails
        },
        assessment_id=None if current is None else current.id,
        assessment=None if current is None else json_text.load_assessment(current.body),
        companion=companion_of(connection, series.companion_id),
        rejected=rejected,
    )


def _slice(frame: Row[Any]) -> SliceScore:
    return SliceScore(
        sop_instance_uid=frame.sop_instance_uid,
        frame_number=frame.frame_number,
        instance_number=frame.instance_number,
        position_mm=frame.position_mm,
        stack=frame.stack,
        score=frame.score,
        spread=frame.spread,
        noise_hu=frame.noise_hu,
        snr=frame.snr,
        excluded=frame.reason if frame.score is None else None,
    )


def _place(one: SliceScore) -> tuple[str, float, int, str, int]:
    position = float("-inf") if one.position_mm is None else one.position_mm
    return one.stack, position, one.instance_number or 0, one.sop_instance_uid, one.frame_number
