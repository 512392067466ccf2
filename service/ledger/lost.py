"""Associations whose receiver died before it could record their end."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import select, update

from service.ledger import turns
from service.ledger.database import Database, retried
from service.ledger.roles import SEEN_WITHIN_S
from service.ledger.tables import AssociationRow, RoleRow

LOST_AFTER_S = 10 * SEEN_WITHIN_S
"""Where nothing else is known of a receiver, it is dead when it has not been seen for so long."""


@retried
def end_lost_associations(
    database: Database, *, runs: Callable[[str], bool | None], now: float
) -> int:
    """End the open associations of dead receivers; returns how many.

    A receiver lives while it has a receive role's row (another role's under the same name means
    that its process id was given away) and `runs` says that its process runs; where `runs` cannot
    tell, because it is on another host, it lives while it is seen.
    """
    with database.write() as connection:
        turns.take(connection, "lost associations")
        still_open = select(AssociationRow.receiver).where(AssociationRow.ended_at.is_(None))
        receivers = set(connection.execute(still_open.distinct()).scalars())
        known = {
            row.process: row
            for row in connection.execute(
                select(RoleRow.process, RoleRow.role, RoleRow.seen_at).where(
                    RoleRow.process.in_(receivers)
                )
            )
        }

        def lives(receiver: str) -> bool:
            row = known.get(receiver)
            if row is None or row.role != "receive":
                return False
            running = runs(receiver)
            return now - row.seen_at <= LOST_AFTER_S if running is None else running

        dead = [receiver for receiver in receivers if not lives(receiver)]
        ended = connection.execute(
            update(AssociationRow)
            .where(AssociationRow.ended_at.is_(None), AssociationRow.receiver.in_(dead))
            .values(ended_at=now, end="lost")
        )
        return ended.rowcount
