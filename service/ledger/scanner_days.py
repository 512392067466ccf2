"""Statistics of each scanner by day: how many series, which verdicts, the median of their values.

A series counts on the day (UTC) its newest image came, with its current assessment, so a day is
counted again when one of its series was assessed since.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from sqlalchemy import Connection, delete, exists, insert, select

from service.judge.evidence import Verdict
from service.ledger import turns
from service.ledger.database import Database, retried
from service.ledger.keeping_tables import ScannerDayRow
from service.ledger.tables import AssessmentRow, FrameRow, FrameWork, SeriesRow


@dataclass(frozen=True)
class ScannerDay:
    """One scanner's day, `2026-01-31`, for one modality. `median_score` is over the values that
    verdicts rest on; None where no series has one."""

    day: str
    scanner: str
    modality: str
    series: int
    meets: int
    does_not_meet: int
    unusable: int
    not_assessed: int
    alarms: int
    median_score: float | None


def stale_days(database: Database, since: float) -> list[str]:
    """Days that a series assessed since then counts on, or counted on before."""
    assessed = select(AssessmentRow.series_id).where(AssessmentRow.created_at >= since)
    times = select(AssessmentRow.last_object_at).where(AssessmentRow.series_id.in_(assessed))
    with database.read() as connection:
        return sorted({day_of(at) for at in connection.execute(times).scalars()})


@retried
def count_day(database: Database, day: str) -> int:
    """Count a day anew; how many series there are."""
    with database.write() as connection:
        turns.take(connection, "scanner days")
        found = _counted(connection, day)
        connection.execute(delete(ScannerDayRow).where(ScannerDayRow.day == day))
        if found:
            names = [one.name for one in fields(ScannerDay)]
            connection.execute(
                insert(ScannerDayRow),
                [{name: getattr(one, name) for name in names} for one in found],
            )
    return sum(one.series for one in found)


def scanner_days(connection: Connection, since_day: str) -> list[ScannerDay]:
    """All days from this one on, oldest first."""
    rows = connection.execute(
        select(ScannerDayRow.__table__)
        .where(ScannerDayRow.day >= since_day)
        .order_by(ScannerDayRow.day, ScannerDayRow.scanner, ScannerDayRow.modality)
    )
    return [ScannerDay(**row._mapping) for row in rows]


def day_of(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _counted(connection: Connection, day: str) -> list[ScannerDay]:
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    holds_images = exists().where(
        FrameRow.series_id == SeriesRow.id, FrameRow.work == FrameWork.SCORE
    )
    rows = connection.execute(
        select(
            SeriesRow.scanner,
            SeriesRow.modality,
            AssessmentRow.verdict,
            AssessmentRow.alarm,
            AssessmentRow.score,
        )
        .join(AssessmentRow, (AssessmentRow.series_id == SeriesRow.id) & AssessmentRow.current)
        .where(
            SeriesRow.last_object_at >= start.timestamp(),
            SeriesRow.last_object_at < (start + timedelta(days=1)).timestamp(),
            holds_images,
        )
    )
    groups: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        groups.setdefault((row.scanner, row.modality), []).append(row)
    return [
        _scanner_day(day, scanner, modality, series)
        for (scanner, modality), series in sorted(groups.items())
    ]


def _scanner_day(day: str, scanner: str, modality: str, series: list[Any]) -> ScannerDay:
    verdicts = [row.verdict for row in series]
    scores = [row.score for row in series if row.score is not None]
    return ScannerDay(
        day,
        scanner,
        modality,
        len(series),
        verdicts.count(Verdict.MEETS),
        verdicts.count(Verdict.DOES_NOT_MEET),
        verdicts.count(Verdict.UNUSABLE),
        verdicts.count(Verdict.NOT_ASSESSED),
        sum(row.alarm for row in series),
        median(scores) if scores else None,
    )
