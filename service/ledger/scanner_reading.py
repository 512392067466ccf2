"""What is known of each scanner of late: when it sent last, how its series scored; nothing writes.

A scanner's name is what headers say of the device, and a header may say anything. So names are
given only of devices that sent images of several studies, and only of so many: metrics carry them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from service.judge.evidence import Verdict
from service.ledger.tables import AssessmentRow, SeriesRow

IMAGING = ("CT", "MR", "PT")
"""Modalities (0008,0060) of scanners; workstations that send documents are none."""

UNKNOWN = "unknown scanner"
"""What a series without any device attribute is filed under."""

SEEN_IN_STUDIES = 3
"""A device known from fewer studies has no name here."""

MOST_SCANNERS = 64

RECENT, EARLIER = "recent", "earlier"
RECENT_SERIES = 20
EARLIER_SERIES = 200


@dataclass(frozen=True)
class LastObject:
    """When a scanner's newest object came."""

    scanner: str
    at: float


@dataclass(frozen=True)
class Scores:
    """Scores of a scanner's series: the `RECENT_SERIES` newest, or the up to `EARLIER_SERIES`
    before them. `deviation` is their sample standard deviation, None of fewer than two."""

    scanner: str
    modality: str
    window: str
    series: int
    mean: float
    deviation: float | None


def scanners(connection: Connection, since: float) -> tuple[list[LastObject], int]:
    """Scanners that sent since then, those that sent last first, and how many more there are
    beyond `MOST_SCANNERS`."""
    newest = func.max(SeriesRow.last_object_at)
    rows = connection.execute(
        select(SeriesRow.scanner, newest)
        .where(
            SeriesRow.last_object_at >= since,
            SeriesRow.modality.in_(IMAGING),
            SeriesRow.scanner != UNKNOWN,
        )
        .group_by(SeriesRow.scanner)
        .having(func.count(SeriesRow.study_id.distinct()) >= SEEN_IN_STUDIES)
        .order_by(newest.desc(), SeriesRow.scanner)
    ).all()
    named = [LastObject(scanner, at) for scanner, at in rows[:MOST_SCANNERS]]
    return named, max(0, len(rows) - MOST_SCANNERS)


def scores(connection: Connection, names: Sequence[str], since: float) -> list[Scores]:
    """Scores of these scanners' series that sent since then, by modality, newest series apart.

    Where a rule decides by a share of slices, its value is no score and does not count.
    """
    newest_first = func.row_number().over(
        partition_by=(SeriesRow.scanner, SeriesRow.modality),
        order_by=(SeriesRow.last_object_at.desc(), SeriesRow.id.desc()),
    )
    ranked = (
        select(
            SeriesRow.scanner,
            SeriesRow.modality,
            AssessmentRow.id.label("assessment_id"),
            newest_first.label("rank"),
        )
        .join(AssessmentRow, AssessmentRow.series_id == SeriesRow.id)
        .where(
            AssessmentRow.current,
            AssessmentRow.score.is_not(None),
            SeriesRow.scanner.in_(names),
            SeriesRow.last_object_at >= since,
        )
        .subquery()
    )
    rows = connection.execute(
        select(ranked.c.scanner, ranked.c.modality, ranked.c.rank, AssessmentRow.score)
        .join(AssessmentRow, AssessmentRow.id == ranked.c.assessment_id)
        .where(
            ranked.c.rank <= RECENT_SERIES + EARLIER_SERIES,
            AssessmentRow.body.not_like('%"more_is_worse": true%'),
        )
    )
    gathered: dict[tuple[str, str, str], list[float]] = {}
    for scanner, modality, rank, score in rows:
        window = RECENT if rank <= RECENT_SERIES else EARLIER
        gathered.setdefault((scanner, modality, window), []).append(score)
    return [
        Scores(*key, len(values), sum(values) / len(values), _deviation(values))
        for key, values in sorted(gathered.items())
    ]


def verdicts(
    connection: Connection, names: Sequence[str], since: float
) -> dict[tuple[str, str, Verdict], int]:
    """Current verdicts on these scanners' series that sent since then, by modality."""
    rows = connection.execute(
        select(SeriesRow.scanner, SeriesRow.modality, AssessmentRow.verdict, func.count())
        .join(AssessmentRow, AssessmentRow.series_id == SeriesRow.id)
        .where(
            AssessmentRow.current,
            SeriesRow.scanner.in_(names),
            SeriesRow.modality.in_(IMAGING),
            SeriesRow.last_object_at >= since,
        )
        .group_by(SeriesRow.scanner, SeriesRow.modality, AssessmentRow.verdict)
    )
    return {(scanner, modality, Verdict(verdict)): n for scanner, modality, verdict, n in rows}


def _deviation(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    return float((sum((one - mean) ** 2 for one in values) / (len(values) - 1)) ** 0.5)
