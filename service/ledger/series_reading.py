"""One series or many as pages read them: verdicts, slices, pictures, reports; nothing writes.

Queries take an open connection, so that whatever is shown together is one consistent view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, exists, func, select
from sqlalchemy.orm import aliased

from service.judge.evidence import Assessment, SeriesFacts
from service.ledger import json_text
from service.ledger.tables import (
    AssessmentRow,
    FrameRow,
    FrameState,
    FrameWork,
    ObjectRow,
    OutboxRow,
    OutboxState,
    ReportAssessmentRow,
    ReportRow,
    SeriesRow,
    SeriesState,
    StudyRow,
    ThumbnailRow,
)


@dataclass(frozen=True)
class Patient:
    """Patient identity: read only for whoever may see it."""

    name: str
    patient_id: str
    study_date: str


@dataclass(frozen=True)
class SeriesReading:
    """One series and what is known of its quality, without its slices.

    `final` is the current assessment, of this or an earlier generation; `provisional` the verdict
    so far while slices arrive. `alarm` says that people are alarmed for `final`.
    """

    series_id: int
    study_id: int
    facts: SeriesFacts
    scanner: str
    acquisition: str
    is_open: bool
    generation: int
    first_object_at: float
    last_object_at: float
    closes_at: float
    provisional: Assessment | None
    provisional_at: float | None
    final: Assessment | None
    final_at: float | None
    alarm: bool
    patient: Patient | None
    companion: SeriesFacts | None = None
    """PET: the CT that it is fused with."""

    @property
    def assessment(self) -> Assessment | None:
        """The newest thing said of it."""
        if self.is_open and self.provisional is not None:
            return self.provisional
        return self.final

    @property
    def assessed_at(self) -> float | None:
        if self.is_open and self.provisional is not None:
            return self.provisional_at
        return self.final_at


@dataclass(frozen=True)
class SliceReading:
    """One frame as its row says; `reason` why it has no score."""

    frame_id: int
    sop_instance_uid: str
    frame_number: int
    instance_number: int | None
    stack: str
    position_mm: float | None
    state: FrameState
    score: float | None
    reason: str | None


@dataclass(frozen=True)
class ThumbnailReading:
    """Which picture there is of one of the worst slices; `picture` fetches its pixels."""

    frame_id: int
    frame_number: int
    instance_number: int | None
    score: float
    rows: int
    columns: int


@dataclass(frozen=True)
class PastAssessment:
    """One assessment of a series, current or superseded."""

    generation: int
    current: bool
    alarm: bool
    created_at: float
    assessment: Assessment


@dataclass(frozen=True)
class ReportReading:
    """One report on its way to one destination."""

    kind: str
    sop_instance_uid: str
    created_at: float
    destination: str
    state: OutboxState
    attempts: int
    next_attempt_at: float
    delivered_at: float | None
    last_error: str | None


def recent_series(
    connection: Connection,
    *,
    limit: int,
    offset: int = 0,
    scanner: str | None = None,
    with_patient: bool = False,
) -> list[SeriesReading]:
    """Series by their newest object, newest first."""
    query = _series(with_patient)
    if scanner is not None:
        query = query.where(SeriesRow.scanner == scanner)
    query = query.order_by(SeriesRow.last_object_at.desc(), SeriesRow.id.desc())
    return _read_series(connection, query.limit(limit).offset(offset))


def series_of_uid(
    connection: Connection,
    series_instance_uid: str,
    study_instance_uid: str | None = None,
    *,
    with_patient: bool = False,
) -> SeriesReading | None:
    """The series of this UID, the newest where several studies hold one."""
    query = _series(with_patient).where(SeriesRow.series_instance_uid == series_instance_uid)
    if study_instance_uid is not None:
        study = select(StudyRow.id).where(StudyRow.study_instance_uid == study_instance_uid)
        query = query.where(SeriesRow.study_id == study.scalar_subquery())
    query = query.order_by(SeriesRow.last_object_at.desc()).limit(1)
    return next(iter(_read_series(connection, query)), None)


def image_series(connection: Connection, scanner: str, limit: int) -> list[SeriesReading]:
    """A scanner's newest series that hold images: documents and reports are none of a room's
    business."""
    query = (
        _series(with_patient=False)
        .where(SeriesRow.scanner == scanner, _holds_images())
        .order_by(SeriesRow.last_object_at.desc(), SeriesRow.id.desc())
    )
    return _read_series(connection, query.limit(limit))


def acquisition_series(connection: Connection, one: SeriesReading) -> list[SeriesReading]:
    """All image series of one series' acquisition on its scanner, itself included."""
    query = _series(with_patient=False).where(
        SeriesRow.acquisition == one.acquisition, _holds_images()
    )
    found = _read_series(connection, query.order_by(SeriesRow.series_instance_uid))
    # not in SQL: without statistics SQLite would go by the scanner's index, and read all it sent
    return [each for each in found if each.scanner == one.scanner]


def alarmed_series(connection: Connection, study_id: int, scanner: str) -> list[SeriesReading]:
    """A study's series, of one scanner, that people are alarmed for, newest first."""
    query = _series(with_patient=False).where(
        SeriesRow.study_id == study_id, SeriesRow.scanner == scanner, AssessmentRow.alarm
    )
    return _read_series(connection, query.order_by(SeriesRow.last_object_at.desc()))


def scanners(connection: Connection) -> list[tuple[str, float]]:
    """Scanners that sent images, with the time of their newest object, by name."""
    newest = (
        select(SeriesRow.scanner, func.max(SeriesRow.last_object_at))
        .where(_holds_images())
        .group_by(SeriesRow.scanner)
        .order_by(SeriesRow.scanner)
    )
    return [(row[0], row[1]) for row in connection.execute(newest)]


def slices(connection: Connection, series_ids: Sequence[int]) -> dict[int, list[SliceReading]]:
    """Every frame to be scored of these series, in order of stack and position."""
    found: dict[int, list[SliceReading]] = {one: [] for one in series_ids}
    rows = connection.execute(
        select(
            FrameRow.series_id,
            FrameRow.id,
            ObjectRow.sop_instance_uid,
            FrameRow.frame_number,
            FrameRow.instance_number,
            FrameRow.stack,
            FrameRow.position_mm,
            FrameRow.state,
            FrameRow.score,
            FrameRow.reason,
        )
        .join(ObjectRow, ObjectRow.id == FrameRow.object_id)
        .where(FrameRow.series_id.in_(series_ids), FrameRow.work == FrameWork.SCORE)
    )
    for series_id, *values in rows:
        frame_id, uid, number, instance, stack, position, state, score, reason = values
        found[series_id].append(
            SliceReading(
                frame_id, uid, number, instance, stack, position, FrameState(state), score, reason
            )
        )
    for members in found.values():
        members.sort(key=_place)
    return found


def thumbnails(connection: Connection, series_id: int) -> list[ThumbnailReading]:
    """Pictures kept of a series' worst slices, worst first."""
    rows = connection.execute(
        select(
            FrameRow.id,
            FrameRow.frame_number,
            FrameRow.instance_number,
            ThumbnailRow.score,
            ThumbnailRow.rows,
            ThumbnailRow.columns,
        )
        .join(FrameRow, FrameRow.id == ThumbnailRow.frame_id)
        .where(ThumbnailRow.series_id == series_id)
        .order_by(ThumbnailRow.score, FrameRow.id)
    )
    return [ThumbnailReading(*row) for row in rows]


def picture(connection: Connection, frame_id: int) -> tuple[int, int, bytes] | None:
    """Rows, columns and pixels, grey or RGB, of one thumbnail."""
    row = connection.execute(
        select(ThumbnailRow.rows, ThumbnailRow.columns, ThumbnailRow.pixels).where(
            ThumbnailRow.frame_id == frame_id
        )
    ).one_or_none()
    return None if row is None else (row[0], row[1], row[2])


def assessments(connection: Connection, series_id: int) -> list[PastAssessment]:
    """Every assessment of a series, newest first."""
    rows = connection.execute(
        select(AssessmentRow.__table__)
        .where(AssessmentRow.series_id == series_id)
        .order_by(AssessmentRow.id.desc())
    )
    return [
        PastAssessment(
            row.generation,
            row.current,
            row.alarm,
            row.created_at,
            json_text.load_assessment(row.body),
        )
        for row in rows
    ]


def reports(connection: Connection, one: SeriesReading) -> list[ReportReading]:
    """Reports that tell of a series, newest first, a line for each destination."""
    told = exists().where(
        ReportAssessmentRow.report_id == ReportRow.id,
        ReportAssessmentRow.assessment_id == AssessmentRow.id,
        AssessmentRow.series_id == one.series_id,
    )
    rows = connection.execute(
        select(
            ReportRow.kind,
            ReportRow.sop_instance_uid,
            ReportRow.created_at,
            OutboxRow.destination,
            OutboxRow.state,
            OutboxRow.attempts,
            OutboxRow.next_attempt_at,
            OutboxRow.delivered_at,
            OutboxRow.last_error,
        )
        .join(OutboxRow, OutboxRow.report_id == ReportRow.id)
        .where(ReportRow.study_instance_uid == one.facts.study_instance_uid, told)
        .order_by(ReportRow.id.desc(), OutboxRow.destination)
    )
    return [ReportReading(*row[:4], OutboxState(row.state), *row[5:]) for row in rows]


def _series(with_patient: bool) -> Select[Any]:
    """Series with their current assessment; patient identity is not even read unless asked for."""
    companion = aliased(SeriesRow)
    query = (
        select(
            SeriesRow.__table__,
            AssessmentRow.body,
            AssessmentRow.created_at,
            AssessmentRow.alarm,
            companion.facts.label("companion_facts"),
        )
        .outerjoin(AssessmentRow, (AssessmentRow.series_id == SeriesRow.id) & AssessmentRow.current)
        .outerjoin(companion, companion.id == SeriesRow.companion_id)
    )
    if not with_patient:
        return query
    return query.join(StudyRow, StudyRow.id == SeriesRow.study_id).add_columns(
        StudyRow.patient_name, StudyRow.patient_id, StudyRow.study_date
    )


def _read_series(connection: Connection, query: Select[Any]) -> list[SeriesReading]:
    return [_reading(row) for row in connection.execute(query)]


def _reading(row: Row[Any]) -> SeriesReading:
    columns = row._mapping
    return SeriesReading(
        series_id=row.id,
        study_id=row.study_id,
        facts=json_text.load_facts(row.facts),
        scanner=row.scanner,
        acquisition=row.acquisition,
        is_open=row.state == SeriesState.OPEN,
        generation=row.generation,
        first_object_at=row.first_object_at,
        last_object_at=row.last_object_at,
        closes_at=row.closes_at,
        provisional=_assessment(row.provisional),
        provisional_at=row.provisional_at,
        final=_assessment(row.body),
        final_at=row.created_at,
        alarm=bool(row.alarm),
        patient=(
            Patient(row.patient_name, row.patient_id, row.study_date)
            if "patient_name" in columns
            else None
        ),
        companion=(
            None if row.companion_facts is None else json_text.load_facts(row.companion_facts)
        ),
    )


def _assessment(text: str | None) -> Assessment | None:
    return None if text is None else json_text.load_assessment(text)


def _holds_images() -> ColumnElement[bool]:
    return exists().where(FrameRow.series_id == SeriesRow.id, FrameRow.work == FrameWork.SCORE)


def _place(one: SliceReading) -> tuple[str, float, int, str, int]:
    position = float("-inf") if one.position_mm is None else one.position_mm
    return one.stack, position, one.instance_number or 0, one.sop_instance_uid, one.frame_number
