"""Sign-offs of limits, and the series that shadow mode has gathered for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import insert, select

from service.judge.commissioning import Record
from service.ledger import closing
from service.ledger.closing import SeriesSnapshot
from service.ledger.database import Database
from service.ledger.tables import CommissioningRow, SeriesRow, SeriesState


def sign(database: Database, record: Record) -> None:
    """Write a record; it takes the place of earlier ones for the same scanner and rule."""
    evidence = {
        "acquisitions": record.acquisitions,
        "provisional": record.provisional,
        **json.loads(record.evidence),
    }
    with database.write() as connection:
        connection.execute(
            insert(CommissioningRow).values(
                scanner=record.scanner,
                rule=record.rule,
                bundle_digest=record.bundle_digest,
                limits=record.terms,
                signed_by=record.signed_by,
                signed_at=record.signed_at,
                evidence=json.dumps(evidence, ensure_ascii=False, allow_nan=False),
            )
        )


def records(database: Database, scanner: str | None = None) -> tuple[Record, ...]:
    """The record signed last for each scanner and rule, in order of both."""
    latest: dict[tuple[str, str], Record] = {}
    query = select(CommissioningRow.__table__).order_by(CommissioningRow.id)
    if scanner is not None:
        query = query.where(CommissioningRow.scanner == scanner)
    with database.read() as connection:
        for row in connection.execute(query):
            latest[row.scanner, row.rule] = _record(row)
    return tuple(latest[key] for key in sorted(latest))


def _record(row: Any) -> Record:
    evidence = json.loads(row.evidence)
    return Record(
        scanner=row.scanner,
        rule=row.rule,
        bundle_digest=row.bundle_digest,
        terms=row.limits,
        signed_by=row.signed_by,
        signed_at=row.signed_at,
        acquisitions=int(evidence["acquisitions"]),
        provisional=bool(evidence["provisional"]),
        evidence=row.evidence,
    )


def gathered(database: Database) -> Iterator[SeriesSnapshot]:
    """Every closed series as it was last seen, the newest last."""
    with database.read() as connection:
        ids = connection.execute(
            select(SeriesRow.id)
            .where(SeriesRow.state == SeriesState.CLOSED)
            .order_by(SeriesRow.last_object_at, SeriesRow.id)
        ).scalars()
        closed = list(ids)
    for series_id in closed:
        yield closing.snapshot(database, series_id)
