"""MR intensity in the ledger: what the slices of a stack said of its level, and frames that were
drawn before their stack's level was known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select

from models.intensity import levels_differ, stack_level
from service.ledger import turns
from service.ledger.database import Database, retried
from service.ledger.scoring import requeue
from service.ledger.tables import FrameRow, FrameState, FrameWork

Levels = Mapping[str, tuple[float, ...]]


def known_levels(database: Database, frame_ids: Sequence[int]) -> Mapping[int, Levels]:
    """What other frames of the same series said of their stacks' levels, by series and stack.

    frame_ids: those of a claim; what they said before, they are about to say again.
    """
    with database.read() as connection:
        of_series = select(FrameRow.series_id).where(FrameRow.id.in_(frame_ids))
        rows = connection.execute(
            select(FrameRow.series_id, FrameRow.stack, FrameRow.level)
            .where(
                FrameRow.series_id.in_(of_series),
                FrameRow.id.not_in(frame_ids),
                FrameRow.level.is_not(None),
            )
            .order_by(FrameRow.id)
        ).all()
    known: dict[int, dict[str, tuple[float, ...]]] = {}
    for row in rows:
        stacks = known.setdefault(row.series_id, {})
        stacks[row.stack] = (*stacks.get(row.stack, ()), row.level)
    return known


@retried
def requeue_drawn_at_other_level(database: Database, series_id: int) -> bool:
    """Have frames scored again that were drawn at another level than their stack's final one;
    whether there were any.

    Slices are scored as they arrive, at the level as known by then. Doing this before a series
    closes makes the result the same in whatever order they came.
    """
    with database.write() as connection:
        turns.take_study_of_series(connection, series_id)
        rows = connection.execute(
            select(FrameRow.id, FrameRow.stack, FrameRow.level, FrameRow.drawn_at_level).where(
                FrameRow.series_id == series_id,
                FrameRow.work == FrameWork.SCORE,
                FrameRow.state.in_([FrameState.SCORED, FrameState.EXCLUDED]),
                FrameRow.drawn_at_level.is_not(None),
            )
        ).all()
        votes: dict[str, list[float]] = {}
        for row in rows:
            if row.level is not None:
                votes.setdefault(row.stack, []).append(row.level)
        final = {stack: stack_level(levels) for stack, levels in votes.items()}
        other = [
            row.id
            for row in rows
            if row.stack in final and levels_differ(row.drawn_at_level, final[row.stack])
        ]
        return bool(requeue(connection, series_id, other))
