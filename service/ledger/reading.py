"""The gate's standing: what runs, what waits, what is held back, what died; nothing here writes.

For metrics, pages and the command line; `series_reading` reads the series themselves. Queries
take an open connection, so that whatever is shown together is one consistent view. States that
end (scored, delivered, cancelled) are never counted row by row: their rows are many, and counters
in `tally` tell how many there were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from service.ledger import senders
from service.ledger.database import Database
from service.ledger.roles import SEEN_WITHIN_S
from service.ledger.tables import (
    AssessmentRow,
    FrameRow,
    FrameState,
    OutboxRow,
    OutboxState,
    RoleRow,
    SeriesRow,
    SeriesState,
)

UNFINISHED_FRAMES = (
    FrameState.AWAITING_COMPANION,
    FrameState.WAITING,
    FrameState.LEASED,
    FrameState.DEAD,
)
UNFINISHED_OUTBOX = (
    OutboxState.HELD,
    OutboxState.WAITING,
    OutboxState.LEASED,
    OutboxState.DEAD,
)
_PENDING = (FrameState.WAITING, FrameState.LEASED)


@dataclass(frozen=True)
class RoleReading:
    """A role process. `fresh`: it was seen within `SEEN_WITHIN_S`."""

    process: str
    role: str
    started_at: float
    seen_at: float
    ready: bool
    detail: str
    fresh: bool


@dataclass(frozen=True)
class Backlog:
    """What waits and what died. Ages in seconds; 0 where nothing waits. `held`: reports kept back,
    by the reason."""

    frames: dict[FrameState, int]
    outbox: dict[tuple[str, OutboxState], int]
    oldest_frame_s: float
    oldest_report_s: float
    open_series: int
    held: dict[str, int]

    @property
    def held_reports(self) -> int:
        return sum(self.held.values())

    @property
    def dead_letters(self) -> int:
        return self.frames.get(FrameState.DEAD, 0) + self.reports(OutboxState.DEAD)

    def reports(self, *states: OutboxState) -> int:
        """Outbox rows in these states, whatever their destination."""
        return sum(count for (_, state), count in self.outbox.items() if state in states)


def roles(connection: Connection, now: float) -> list[RoleReading]:
    """Role processes that are known, those gone silent included."""
    rows = connection.execute(select(RoleRow.__table__).order_by(RoleRow.role, RoleRow.started_at))
    return [
        RoleReading(
            row.process,
            row.role,
            row.started_at,
            row.seen_at,
            row.ready,
            row.detail,
            fresh=now - row.seen_at <= SEEN_WITHIN_S,
        )
        for row in rows
    ]


def backlog(connection: Connection, now: float) -> Backlog:
    """What waits, what is held back, what died."""
    frames = connection.execute(
        select(FrameRow.state, func.count(), func.min(FrameRow.received_at))
        .where(FrameRow.state.in_(UNFINISHED_FRAMES))
        .group_by(FrameRow.state)
    ).all()
    parcels = connection.execute(
        select(OutboxRow.destination, OutboxRow.state, func.count(), func.min(OutboxRow.created_at))
        .where(OutboxRow.state.in_(UNFINISHED_OUTBOX))
        .group_by(OutboxRow.destination, OutboxRow.state)
    ).all()
    under_way = (OutboxState.WAITING, OutboxState.LEASED)
    open_series = connection.execute(
        select(func.count()).select_from(SeriesRow).where(SeriesRow.state == SeriesState.OPEN)
    ).scalar_one()
    return Backlog(
        frames={FrameState(state): count for state, count, _ in frames},
        outbox={(name, OutboxState(state)): count for name, state, count, _ in parcels},
        oldest_frame_s=_age(now, [at for state, _, at in frames if state in _PENDING]),
        oldest_report_s=_age(now, [at for _, state, _, at in parcels if state in under_way]),
        open_series=open_series,
        held=_held(connection),
    )


def held_reports(database: Database) -> dict[str, int]:
    """Reports that are built and kept back, by the reason."""
    with database.read() as connection:
        return _held(connection)


def changes(connection: Connection, since: int) -> tuple[dict[int, tuple[Any, ...]], int]:
    """What may have changed on a page: open series by id as (scanner, generation, last verdict),
    and the newest assessment's id; `since` is the last such id seen.

    Series assessed since then are included under their id as (scanner,), whatever their state.
    """
    newest = connection.execute(select(func.max(AssessmentRow.id))).scalar_one() or 0
    marks: dict[int, tuple[Any, ...]] = {}
    if newest > since:
        assessed = select(SeriesRow.id, SeriesRow.scanner).join(
            AssessmentRow, AssessmentRow.series_id == SeriesRow.id
        )
        for series_id, scanner in connection.execute(assessed.where(AssessmentRow.id > since)):
            marks[series_id] = (scanner,)
    still_open = select(
        SeriesRow.id, SeriesRow.scanner, SeriesRow.generation, SeriesRow.provisional_at
    ).where(SeriesRow.state == SeriesState.OPEN)
    for series_id, *mark in connection.execute(still_open):
        marks[series_id] = tuple(mark)
    return marks, newest


def status_lines(database: Database, now: float) -> list[str]:
    """What runs, waits and died, as `iqgate status` prints it."""
    with database.read() as connection:
        processes, waiting = roles(connection, now), backlog(connection, now)
        by_sender = senders.senders(connection)
    lines = [
        f"{one.role:<9}{_standing(one):<10}{one.process}  {one.detail}".rstrip()
        for one in processes
    ] or ["no role process runs"]
    pending = sum(waiting.frames.get(state, 0) for state in _PENDING)
    under_way = waiting.reports(OutboxState.WAITING, OutboxState.LEASED)
    lines += [
        f"open series           {waiting.open_series}",
        f"slices waiting        {pending}" + _oldest(waiting.oldest_frame_s, pending),
        f"slices awaiting a CT  {waiting.frames.get(FrameState.AWAITING_COMPANION, 0)}",
        f"reports under way     {under_way}" + _oldest(waiting.oldest_report_s, under_way),
        f"reports held back     {waiting.held_reports}",
        *(f"  {count:>5}  {reason}" for reason, count in waiting.held.items()),
        f"dead letters          {waiting.dead_letters}",
        *(
            f"sender {one.ae_title:<16} series closed {one.closed}, of these opened again "
            f"{one.reopened} ({one.reopen_rate:.1%})"
            for one in by_sender
        ),
    ]
    return lines


def _held(connection: Connection) -> dict[str, int]:
    counts = connection.execute(
        select(OutboxRow.last_error, func.count(OutboxRow.report_id.distinct()))
        .where(OutboxRow.state == OutboxState.HELD)
        .group_by(OutboxRow.last_error)
        .order_by(OutboxRow.last_error)
    )
    return {reason or "no reason is recorded": count for reason, count in counts}


def _age(now: float, since: Sequence[float]) -> float:
    return max(0.0, now - min(since)) if since else 0.0


def _oldest(age_s: float, count: int) -> str:
    return f" (oldest {age_s:.0f} s)" if count else ""


def _standing(one: RoleReading) -> str:
    if not one.fresh:
        return "silent"
    return "ready" if one.ready else "starting"
