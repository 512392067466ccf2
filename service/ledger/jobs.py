"""The keep role's jobs as they last ran, and the lease that lets one process run them at a time."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert, or_, select, update

from service.ledger import turns
from service.ledger.database import Database, retried
from service.ledger.keeping_tables import JobRow, LeaseRow


@dataclass(frozen=True)
class JobReading:
    """A job's last run. `ended_at` None: it runs, or its process died before it ended; `seconds`
    and `detail` then tell of the run before."""

    name: str
    process: str
    started_at: float
    ended_at: float | None
    succeeded_at: float | None
    seconds: float | None
    failed: bool
    detail: str
    runs: int
    failures: int


@retried
def begin(database: Database, name: str, process: str, now: float) -> None:
    """A job starts."""
    with database.write() as connection:
        started = {"process": process, "started_at": now, "ended_at": None}
        if not connection.execute(
            update(JobRow).where(JobRow.name == name).values(runs=JobRow.runs + 1, **started)
        ).rowcount:
            connection.execute(
                insert(JobRow).values(
                    name=name, failed=False, detail="", runs=1, failures=0, **started
                )
            )


@retried
def end(
    database: Database, name: str, *, failed: bool, detail: str, seconds: float, now: float
) -> None:
    """It ended; `detail` is what it did, or why it failed."""
    ended = {"ended_at": now, "failed": failed, "detail": detail, "seconds": seconds}
    outcome = {"failures": JobRow.failures + 1} if failed else {"succeeded_at": now}
    with database.write() as connection:
        connection.execute(update(JobRow).where(JobRow.name == name).values(**ended, **outcome))


def readings(connection: Connection) -> list[JobReading]:
    """All jobs that ever ran, by name."""
    rows = connection.execute(select(JobRow.__table__).order_by(JobRow.name))
    return [JobReading(**row._mapping) for row in rows]


def status_lines(database: Database, now: float) -> list[str]:
    """The jobs' last runs, as `iqgate status` prints them."""
    with database.read() as connection:
        return [_line(one, now) for one in readings(connection)]


@retried
def hold(
    database: Database, name: str, holder: str, token: str, *, lease_s: float, now: float
) -> bool:
    """Take the lease `name`, or keep it; False while somebody else holds it."""
    with database.write() as connection:
        turns.take(connection, f"lease {name}")
        mine = {"holder": holder, "token": token, "expires_at": now + lease_s}
        renewed = connection.execute(
            update(LeaseRow)
            .where(LeaseRow.name == name, or_(LeaseRow.token == token, LeaseRow.expires_at <= now))
            .values(**mine)
        )
        if renewed.rowcount:
            return True
        known = select(LeaseRow.name).where(LeaseRow.name == name)
        if connection.execute(known).one_or_none() is not None:
            return False
        connection.execute(insert(LeaseRow).values(name=name, **mine))
        return True


@retried
def release(database: Database, name: str, token: str, now: float) -> None:
    """Give the lease up, for another to take at once; nothing happens where it is not held."""
    with database.write() as connection:
        connection.execute(
            update(LeaseRow)
            .where(LeaseRow.name == name, LeaseRow.token == token)
            .values(expires_at=now)
        )


def holder(database: Database, name: str) -> str:
    """Who holds the lease, or held it last; empty where nobody ever did."""
    with database.read() as connection:
        found = connection.execute(select(LeaseRow.holder).where(LeaseRow.name == name))
        return found.scalar_one_or_none() or ""


def _line(one: JobReading, now: float) -> str:
    if one.ended_at is None:
        standing = f"began {max(0.0, now - one.started_at):.0f} s ago"
    else:
        said = "failed" if one.failed else "done"
        standing = f"{said} {max(0.0, now - one.ended_at):.0f} s ago in {one.seconds or 0:.1f} s"
    return f"job {one.name:<18}{standing}: {one.detail}".rstrip(": ")
