"""How often a sender's series are opened again after their verdict, by calling AE title.

Whether a series is complete is a guess by quiet time, and whether the guess holds hangs on how its
sender sends. Two counters, raised in the transactions that make them true: series closed, a count
for each verdict, and of those the ones that a later object opened again.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, exists, func, select

from service.ledger import tally
from service.ledger.tables import (
    AssociationRow,
    AssociationSeriesRow,
    ObjectRow,
    ObjectState,
    TallyRow,
)
from service.ledger.tally import Counts

CLOSED, REOPENED = "sender_closed", "sender_reopened"
MOST_SENDERS = 256
"""AE titles counted by name: a peer may call itself anything."""
OTHER = "other"


@dataclass(frozen=True)
class Sender:
    """A calling AE title, the times its series closed, and how many of those were too early."""

    ae_title: str
    closed: int
    reopened: int

    @property
    def reopen_rate(self) -> float:
        """Share of verdicts that a late object overtook; 0 before there is any."""
        return self.reopened / self.closed if self.closed else 0.0


def count_closed(connection: Connection, counts: Counts, series_id: int) -> None:
    """A series that holds images closed: count it for everybody who sent part of it."""
    if _holds_images(connection, series_id):
        titles = connection.execute(
            select(AssociationRow.calling_ae_title)
            .join(AssociationSeriesRow, AssociationSeriesRow.association_id == AssociationRow.id)
            .where(AssociationSeriesRow.series_id == series_id)
            .distinct()
        ).scalars()
        for title in list(titles):
            counts.count(CLOSED, _counted_as(connection, CLOSED, title))


def count_reopened(
    connection: Connection, counts: Counts, series_id: int, association_id: int
) -> None:
    """An object came on this association for a closed series: count it for its sender, where the
    series holds images."""
    if _holds_images(connection, series_id):
        title = connection.execute(
            select(AssociationRow.calling_ae_title).where(AssociationRow.id == association_id)
        ).scalar_one()
        counts.count(REOPENED, _counted_as(connection, REOPENED, title))


def senders(connection: Connection) -> list[Sender]:
    """All that were counted, by AE title."""
    closed, reopened = tally.read(connection, CLOSED), tally.read(connection, REOPENED)
    return [
        Sender(title, int(closed.get((title,), 0)), int(reopened.get((title,), 0)))
        for (title,) in sorted({*closed, *reopened})
    ]


def _holds_images(connection: Connection, series_id: int) -> bool:
    return bool(
        connection.execute(
            select(
                exists().where(
                    ObjectRow.series_id == series_id, ObjectRow.state == ObjectState.IMAGE
                )
            )
        ).scalar_one()
    )


def _counted_as(connection: Connection, name: str, ae_title: str) -> str:
    """The title itself; all others together where it is blank, or once there are too many."""
    if not ae_title:
        return OTHER
    of_name = select(func.count()).select_from(TallyRow).where(TallyRow.name == name)
    known = connection.execute(of_name.where(TallyRow.labels == ae_title)).scalar_one()
    if known or connection.execute(of_name).scalar_one() < MOST_SENDERS:
        return ae_title
    return OTHER
