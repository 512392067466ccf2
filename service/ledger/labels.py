"""Labels: what people said of images, by rejection notes, and what that does to their series.

Images that a note rejects leave the judgement, and a series of which nothing else is left is not
reported: its assessment, the network's, stays and says so. Notes may come before their images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, case, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite

from service.judge.evidence import SliceScore
from service.ledger import tally, turns
from service.ledger.database import Database, retried
from service.ledger.hint_tables import LabelRow
from service.ledger.tables import (
    AssessmentRow,
    ObjectRow,
    ObjectState,
    OutboxRow,
    OutboxState,
    ReportAssessmentRow,
    ReportRow,
    SeriesRow,
    SeriesState,
    StudyRow,
)

WITHDRAWN = "its images were rejected"


@dataclass(frozen=True)
class RejectionNote:
    """A Key Object Selection that rejects images (IHE RAD TF-3, IOCM).

    `code` and `meaning` are its title, `reason` its Document Title Modifier in words, empty where
    it gives none. `images` are (Series Instance UID, SOP Instance UID).
    """

    sop_instance_uid: str
    code: str
    meaning: str
    reason: str
    images: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Label:
    """What one note says of a series, and of which of its images."""

    code: str
    meaning: str
    reason: str
    calling_ae_title: str
    labelled_at: float
    sop_instance_uids: tuple[str, ...]

    @property
    def words(self) -> str:
        """As reasons are written: it goes on after "3 slices not scored: "."""
        because = f", {self.reason}" if self.reason else ""
        return f"rejected by {self.calling_ae_title} ({self.meaning}{because})"


@retried
def reject(
    database: Database, note: RejectionNote, *, calling_ae_title: str, settle_s: float, now: float
) -> int:
    """Record a note's labels; of how many images nobody had said so before.

    Series that hold images newly rejected are judged anew: closed ones are opened again, to close
    after `settle_s`, and reports that tell of them and are not under way are cancelled. Whoever is
    about to close one on what it read before fails, for its generation is raised.
    """
    by_series: dict[str, set[str]] = {}
    for series_uid, instance_uid in note.images:
        by_series.setdefault(series_uid, set()).add(instance_uid)
    with database.write() as connection:
        _take_turns(connection, list(by_series))
        known = {uid: set(rejected(connection, uid)) for uid in by_series}
        for uid, instances in by_series.items():
            if instances:
                connection.execute(
                    _INSERT[connection.dialect.name],
                    [
                        {
                            "note_uid": note.sop_instance_uid,
                            "series_instance_uid": uid,
                            "sop_instance_uid": one,
                            "code": note.code,
                            "meaning": note.meaning,
                            "reason": note.reason,
                            "calling_ae_title": calling_ae_title,
                            "labelled_at": now,
                        }
                        for one in sorted(instances)
                    ],
                )
        fresh = {uid: instances - known[uid] for uid, instances in by_series.items()}
        for uid, instances in fresh.items():
            for series in _holding(connection, uid, instances):
                _judge_anew(connection, *series, now + settle_s)
        count = sum(map(len, fresh.values()))
        with tally.counting(connection) as counts:
            counts.count("rejected_images", note.code, by=count)
        return count


def labels(connection: Connection, series_instance_uid: str) -> list[Label]:
    """All that was said of a series' images, oldest first."""
    rows = connection.execute(
        select(LabelRow.__table__)
        .where(LabelRow.series_instance_uid == series_instance_uid)
        .order_by(LabelRow.labelled_at, LabelRow.id)
    ).all()
    notes: dict[str, list[str]] = {}
    for row in rows:
        notes.setdefault(row.note_uid, []).append(row.sop_instance_uid)
    first = {row.note_uid: row for row in reversed(rows)}
    return [
        Label(
            first[uid].code,
            first[uid].meaning,
            first[uid].reason,
            first[uid].calling_ae_title,
            first[uid].labelled_at,
            tuple(instances),
        )
        for uid, instances in notes.items()
    ]


def rejected(connection: Connection, series_instance_uid: str) -> dict[str, str]:
    """Why each rejected image of a series is, in words, by SOP Instance UID; the first to say so
    counts."""
    found: dict[str, str] = {}
    for label in labels(connection, series_instance_uid):
        for uid in label.sop_instance_uids:
            found.setdefault(uid, label.words)
    return found


def wholly(reasons: Mapping[str, str], sop_instance_uids: Sequence[str]) -> str:
    """Why all of these images are rejected, in words; empty where one of them is not."""
    if not sop_instance_uids or any(uid not in reasons for uid in sop_instance_uids):
        return ""
    return "; ".join(dict.fromkeys(reasons[uid] for uid in sop_instance_uids))


def without_rejected(
    slices: Sequence[SliceScore], reasons: Mapping[str, str]
) -> Iterator[SliceScore]:
    """The slices with those of rejected images excluded, for that reason."""
    for one in slices:
        reason = reasons.get(one.sop_instance_uid)
        if reason is None:
            yield one
        else:
            yield replace(one, score=None, spread=None, noise_hu=None, snr=None, excluded=reason)


def _take_turns(connection: Connection, series_uids: Sequence[str]) -> None:
    if turns.shared(connection):
        studies = connection.execute(
            select(StudyRow.study_instance_uid)
            .join(SeriesRow, SeriesRow.study_id == StudyRow.id)
            .where(SeriesRow.series_instance_uid.in_(series_uids))
        ).scalars()
        turns.take(connection, *{turns.study(one) for one in studies})


def _holding(
    connection: Connection, series_instance_uid: str, instances: set[str]
) -> list[tuple[int, int]]:
    """Series of this UID that hold any of these images, with their study."""
    rows = connection.execute(
        select(SeriesRow.id, SeriesRow.study_id, ObjectRow.sop_instance_uid)
        .join(ObjectRow, ObjectRow.series_id == SeriesRow.id)
        .where(
            SeriesRow.series_instance_uid == series_instance_uid,
            ObjectRow.state == ObjectState.IMAGE,
        )
    )
    return sorted({(row.id, row.study_id) for row in rows if row.sop_instance_uid in instances})


def _judge_anew(connection: Connection, series_id: int, study_id: int, closes_at: float) -> None:
    told = (
        select(ReportRow.id)
        .join(ReportAssessmentRow, ReportAssessmentRow.report_id == ReportRow.id)
        .join(AssessmentRow, AssessmentRow.id == ReportAssessmentRow.assessment_id)
        .join(SeriesRow, SeriesRow.id == AssessmentRow.series_id)
        .join(StudyRow, StudyRow.id == SeriesRow.study_id)
        .where(SeriesRow.id == series_id)
    )
    of_study = ReportRow.scope_uid == StudyRow.study_instance_uid
    # a summary image of another series is linked as well, and stays what it is
    of_series = ReportRow.scope_uid == SeriesRow.series_instance_uid
    connection.execute(
        update(OutboxRow)
        .where(
            OutboxRow.report_id.in_(told.where(of_study | of_series)),
            OutboxRow.state.in_([OutboxState.HELD, OutboxState.WAITING]),
        )
        .values(state=OutboxState.CANCELLED, last_error=WITHDRAWN)
    )
    connection.execute(
        update(StudyRow)
        .where(StudyRow.id == study_id, exists(told.where(of_study).correlate(None)))
        .values(report_due=True)
    )
    connection.execute(
        update(SeriesRow)
        .where(SeriesRow.id == series_id)
        .values(
            generation=SeriesRow.generation + 1,
            closes_at=case(
                (SeriesRow.state == SeriesState.CLOSED, closes_at), else_=SeriesRow.closes_at
            ),
            state=SeriesState.OPEN,
        )
    )


def _inserting(
    inserted: sqlite.Insert | postgresql.Insert,
) -> sqlite.Insert | postgresql.Insert:
    return inserted.on_conflict_do_nothing(index_elements=["note_uid", "sop_instance_uid"])


_INSERT = {
    "sqlite": _inserting(sqlite.insert(LabelRow)),
    "postgresql": _inserting(postgresql.insert(LabelRow)),
}
