"""A sender that sends whole series on one association: its release brings their closing forward."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, exists, func, select, update
from sqlalchemy.orm import aliased

from service.ledger import turns
from service.ledger.announcing import awaits_announced
from service.ledger.tables import (
    AssociationRow,
    AssociationSeriesRow,
    SeriesRow,
    SeriesState,
    StudyRow,
)


def calling_ae_title(connection: Connection, association_id: int) -> str:
    """The association's sender, whose turn this takes: two that end at once see each other."""
    title = connection.execute(
        select(AssociationRow.calling_ae_title).where(AssociationRow.id == association_id)
    ).scalar_one()
    turns.take(connection, turns.sender(title))
    return title


def settle(connection: Connection, title: str, settle_s: float, now: float) -> bool:
    """Bring forward the closing of every series that only released associations of this sender
    carried, unless the sender has one open, or more of the series is announced; whether there was
    any."""
    still_open = connection.execute(
        select(func.count())
        .select_from(AssociationRow)
        .where(AssociationRow.calling_ae_title == title, AssociationRow.ended_at.is_(None))
    ).scalar_one()
    if still_open:
        return False
    carried = aliased(AssociationSeriesRow)
    carrier = aliased(AssociationRow)

    def carried_by(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
        return exists().where(
            carried.series_id == SeriesRow.id,
            carried.association_id == carrier.id,
            *conditions,
        )

    ready = (
        SeriesRow.state == SeriesState.OPEN,
        SeriesRow.reopened == 0,
        SeriesRow.closes_at > now + settle_s,
        carried_by(carrier.calling_ae_title == title),
        ~carried_by((carrier.calling_ae_title != title) | (carrier.end != "released")),
        ~awaits_announced(),
    )
    if turns.shared(connection):
        studies = connection.execute(
            select(StudyRow.study_instance_uid)
            .join(SeriesRow, SeriesRow.study_id == StudyRow.id)
            .where(*ready)
        ).scalars()
        turns.take(connection, *map(turns.study, studies))
    hastened = connection.execute(update(SeriesRow).where(*ready).values(closes_at=now + settle_s))
    return bool(hastened.rowcount)
