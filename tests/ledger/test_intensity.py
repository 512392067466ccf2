"""MR levels in the ledger: what a stack is known by, and frames drawn before it was known."""

from __future__ import annotations

from dataclasses import replace

from models.intensity import grid_level, stack_level
from service.ledger import intensity, scoring
from service.ledger.scoring import ClaimedFrame
from tests.factories import facts, receive
from tests.ledger.test_scoring import claim, outcome, states


def drawn(frame: ClaimedFrame, level: float | None, at: float, *, scored=True, stack="axial"):
    base = outcome(frame, score=3.0 if scored else None, thumbnail=(1, 1, b"x"))
    return replace(base, stack=stack, level=level, drawn_at_level=at)


def stored(database, levels, at, **more):
    """Frames of one series in one claim, with their levels and what they were drawn at."""
    for number in range(1, len(levels) + 1):
        receive(database, number, facts=facts(modality="MR"))
    claimed = claim(database)
    outcomes = [
        drawn(frame, level, where, **more)
        for frame, level, where in zip(claimed.frames, levels, at, strict=True)
    ]
    scoring.store(database, claimed, outcomes, thumbnails_kept=9, now=1.0)
    return [one.frame_id for one in claimed.frames]


def test_frames_drawn_at_another_level_go_back_and_only_they(database):
    final = stack_level([800, 1000, 1100])
    ids = stored(database, [800.0, 1000.0, 1100.0], [grid_level(800), final, final])
    assert intensity.requeue_drawn_at_other_level(database, 1)
    assert states(database) == [("waiting", 0), ("scored", 1), ("scored", 1)]
    with database.read() as connection:
        left = connection.exec_driver_sql("SELECT frame_id FROM thumbnail").scalars().all()
    assert left == ids[1:], "pictures of what is drawn anew go too"
    again = claim(database)
    outcomes = [drawn(again.frames[0], 800.0, final)]
    scoring.store(database, again, outcomes, thumbnails_kept=9, now=2.0)
    assert not intensity.requeue_drawn_at_other_level(database, 1), "the second time nothing is"


def test_excluded_frames_are_looked_at_anew_as_well(database):
    stored(database, [900.0, 900.0], [grid_level(20), grid_level(900)], scored=False)
    assert intensity.requeue_drawn_at_other_level(database, 1)
    assert [state for state, _ in states(database)] == ["waiting", "excluded"]


def test_without_levels_nothing_goes_back(database):
    stored(database, [None, None], [100.0, 200.0])
    assert not intensity.requeue_drawn_at_other_level(database, 1), "no slice votes"
    assert not intensity.requeue_drawn_at_other_level(database, 99)


def test_what_is_known_leaves_the_claims_own_frames_out(database):
    ids = stored(database, [800.0, 1000.0, None], [1.0, 1.0, 1.0])
    assert intensity.known_levels(database, ids) == {}
    assert intensity.known_levels(database, ids[:1]) == {1: {"axial": (1000.0,)}}
    assert intensity.known_levels(database, ids[2:]) == {1: {"axial": (800.0, 1000.0)}}
