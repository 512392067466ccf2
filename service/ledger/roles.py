"""Which role processes run, and since when they were last seen."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import delete, insert, select, update

from service.ledger.database import Database
from service.ledger.tables import RoleRow

SEEN_WITHIN_S = 15
"""A role not seen for longer is taken to be gone."""


def enter(
    database: Database,
    process: str,
    role: str,
    now: float,
    runs: Callable[[str], bool | None] = lambda _: None,
) -> None:
    """A role process starts; rows of processes long gone are cleared away, and of those before it.

    runs: whether the process of a row runs; None where that cannot be told.
    """
    with database.write() as connection:
        others = connection.execute(select(RoleRow.process).where(RoleRow.role == role)).scalars()
        dead = [one for one in others if runs(one) is False]
        connection.execute(delete(RoleRow).where(RoleRow.process.in_([process, *dead])))
        gone = (
            select(RoleRow.process)
            .where(RoleRow.seen_at < now - 10 * SEEN_WITHIN_S)
            .with_for_update(skip_locked=True)
        )
        connection.execute(delete(RoleRow).where(RoleRow.process.in_(gone)))
        connection.execute(
            insert(RoleRow).values(
                process=process, role=role, started_at=now, seen_at=now, ready=False, detail=""
            )
        )


def see(
    database: Database,
    process: str,
    role: str,
    *,
    started_at: float,
    ready: bool,
    detail: str,
    now: float,
) -> None:
    """A role process lives. Its row is written anew where another cleared it away, which takes a
    ledger that was away for long for a process that was."""
    standing = {"seen_at": now, "ready": ready, "detail": detail}
    with database.write() as connection:
        seen = connection.execute(
            update(RoleRow).where(RoleRow.process == process).values(**standing)
        )
        if not seen.rowcount:
            connection.execute(
                insert(RoleRow).values(
                    process=process, role=role, started_at=started_at, **standing
                )
            )


def leave(database: Database, process: str) -> None:
    with database.write() as connection:
        connection.execute(delete(RoleRow).where(RoleRow.process == process))
