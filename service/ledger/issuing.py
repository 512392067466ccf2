"""Reports as rows: what a new one replaces, and where it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from service.ledger import turns
from service.ledger.database import Database
from service.ledger.tables import OutboxRow, OutboxState, ReportAssessmentRow, ReportRow


@dataclass(frozen=True)
class IssuedReport:
    """The last report on a subject that delivery was attempted for."""

    report_id: int
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str


@dataclass(frozen=True)
class NewReport:
    """A built DICOM object. `kind` is `structured-report` or `summary-image`.

    `scope_uid` is the study or series it is on; `predecessor_id` the report whose place
    it takes, as `last_attempted` gave it.
    """

    kind: str
    scope_uid: str
    study_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    predecessor_id: int | None
    body: bytes


@dataclass(frozen=True)
class Issue:
    """Where reports go, and why they are kept back; empty where they are not."""

    destinations: tuple[str, ...]
    held: str


def last_attempted(database: Database, kind: str, scope_uid: str) -> IssuedReport | None:
    """The newest report of this kind on this subject that delivery was attempted for."""
    with database.read() as connection:
        return _last_attempted(connection, kind, scope_uid)


def predecessor_holds(connection: Connection, reports: Sequence[NewReport]) -> bool:
    """Whether each report names the report it would have to name at this moment.

    It stays so until the transaction ends: parcels of older reports cannot be claimed meanwhile.
    """
    for report in reports:
        _hold_parcels(connection, report)
        last = _last_attempted(connection, report.kind, report.scope_uid)
        if last is not None and last.sop_instance_uid == report.sop_instance_uid:
            continue
        if (None if last is None else last.report_id) != report.predecessor_id:
            return False
    return True


def issue(
    connection: Connection,
    report: NewReport,
    assessment_ids: Sequence[int],
    outbox: Issue,
    now: float,
) -> None:
    """Write a report and its outbox rows, cancelling older ones never attempted.

    A report of the same UID says the same of the same images: it is only linked.
    """
    report_id = _known(connection, report.sop_instance_uid)
    if report_id is None:
        _cancel_unattempted(connection, report)
        report_id = connection.execute(
            insert(ReportRow)
            .values(
                kind=report.kind,
                scope_uid=report.scope_uid,
                study_instance_uid=report.study_instance_uid,
                sop_class_uid=report.sop_class_uid,
                sop_instance_uid=report.sop_instance_uid,
                series_instance_uid=report.series_instance_uid,
                predecessor_id=report.predecessor_id,
                body=report.body,
                created_at=now,
            )
            .returning(ReportRow.id)
        ).scalar_one()
        for destination in outbox.destinations:
            connection.execute(
                insert(OutboxRow).values(
                    report_id=report_id,
                    destination=destination,
                    state=OutboxState.HELD if outbox.held else OutboxState.WAITING,
                    attempts=0,
                    next_attempt_at=now,
                    last_error=outbox.held or None,
                    created_at=now,
                )
            )
    told = connection.execute(
        select(ReportAssessmentRow.assessment_id).where(ReportAssessmentRow.report_id == report_id)
    ).scalars()
    # one that is known may tell of some already: a study's other series did not change
    for assessment_id in sorted({*assessment_ids} - {*told}):
        connection.execute(
            insert(ReportAssessmentRow).values(report_id=report_id, assessment_id=assessment_id)
        )


def _known(connection: Connection, sop_instance_uid: str) -> int | None:
    return connection.execute(
        select(ReportRow.id).where(ReportRow.sop_instance_uid == sop_instance_uid)
    ).scalar_one_or_none()


def _last_attempted(connection: Connection, kind: str, scope_uid: str) -> IssuedReport | None:
    row = connection.execute(
        select(
            ReportRow.id,
            ReportRow.sop_class_uid,
            ReportRow.sop_instance_uid,
            ReportRow.series_instance_uid,
            ReportRow.study_instance_uid,
        )
        .join(OutboxRow, OutboxRow.report_id == ReportRow.id)
        .where(ReportRow.kind == kind, ReportRow.scope_uid == scope_uid, OutboxRow.attempts > 0)
        .order_by(ReportRow.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else IssuedReport(*row)


def _hold_parcels(connection: Connection, report: NewReport) -> None:
    """Lock what `outbox.claim` would take; it passes over locked rows."""
    if turns.shared(connection):
        connection.execute(
            select(OutboxRow.id)
            .join(ReportRow, ReportRow.id == OutboxRow.report_id)
            .where(ReportRow.kind == report.kind, ReportRow.scope_uid == report.scope_uid)
            .order_by(OutboxRow.id)
            .with_for_update(of=OutboxRow, key_share=True)
        )


def _cancel_unattempted(connection: Connection, report: NewReport) -> None:
    older = select(ReportRow.id).where(
        ReportRow.kind == report.kind, ReportRow.scope_uid == report.scope_uid
    )
    connection.execute(
        update(OutboxRow)
        .where(
            OutboxRow.report_id.in_(older),
            OutboxRow.attempts == 0,
            OutboxRow.state.in_([OutboxState.HELD, OutboxState.WAITING]),
        )
        .values(state=OutboxState.CANCELLED)
    )
