"""Claims, leases, fencing, rescue, dead letters, thumbnails."""

import pytest

from service.errors import LeaseLost
from service.ledger import closing, letters, scoring
from service.ledger.scoring import FrameOutcome
from tests.factories import receive


def claim(database, now=0.0, limit=16, max_attempts=3):
    return scoring.claim(database, limit=limit, lease_s=60, max_attempts=max_attempts, now=now)


def outcome(frame, score=3.0, thumbnail=None):
    return FrameOutcome(
        frame_id=frame.frame_id, stack="axial", position_mm=1.0, score=score, spread=0.1,
        noise_hu=9.0, snr=None, level=None, drawn_at_level=None, bundle_digest="b",
        excluded=None if score is not None else "why", thumbnail=thumbnail,
    )  # fmt: skip


def store(database, claimed, now=1.0, kept=2, **more):
    outcomes = [outcome(frame, **more) for frame in claimed.frames]
    return scoring.store(database, claimed, outcomes, thumbnails_kept=kept, now=now)


def states(database):
    with database.read() as connection:
        query = "SELECT state, attempts FROM frame ORDER BY id"
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def test_frames_are_claimed_oldest_first_and_once(database):
    receive(database, 2, now=20)
    receive(database, 1, now=10)
    claimed = claim(database, limit=1)
    assert [one.sop_instance_uid[-2:] for one in claimed.frames] == [".1"]
    assert len(claim(database).frames) == 1
    assert claim(database) is None


def test_results_are_stored_under_the_token(database):
    receive(database, 1)
    claimed = claim(database)
    assert store(database, claimed) == {1}
    assert states(database) == [("scored", 1)]
    with pytest.raises(LeaseLost):
        store(database, claimed)


def test_an_expired_lease_is_fenced_off(database):
    receive(database, 1)
    first = claim(database, now=0)
    second = claim(database, now=61)
    assert second.token != first.token
    with pytest.raises(LeaseLost):
        store(database, first)
    with pytest.raises(LeaseLost):
        scoring.extend(database, first.token, lease_s=60, now=62)
    store(database, second)
    assert states(database) == [("scored", 2)]


def test_a_heartbeat_keeps_the_lease(database):
    receive(database, 1)
    claimed = claim(database, now=0)
    scoring.extend(database, claimed.token, lease_s=60, now=50)
    assert claim(database, now=100) is None
    assert claim(database, now=111) is not None


def test_a_frame_that_kills_its_worker_dies_alone_after_its_attempts(database):
    for number in (1, 2):
        receive(database, number, now=number)
    assert len(claim(database, now=10).frames) == 2
    again = claim(database, now=100)
    assert len(again.frames) == 1, "a frame that failed before is claimed alone"
    claim(database, now=200)
    claim(database, now=300)
    claim(database, now=400)
    claim(database, now=500)
    assert ("dead", 3) in states(database)
    (letter, *_) = letters.dead(database)
    assert "failed 3 times" in letter.error


def test_a_dead_frame_can_be_retried_or_dropped(database):
    receive(database, 1)
    for now in (0, 100, 200, 300):
        claim(database, now=now)
    assert states(database) == [("dead", 3)]
    assert letters.retry(database, "frame-1", 400)
    assert states(database) == [("waiting", 0)]
    assert not letters.retry(database, "frame-1", 400)
    assert not letters.retry(database, "nonsense", 400)
    for now in (500, 600, 700, 800):
        claim(database, now=now)
    assert letters.drop(database, "frame-1")
    assert states(database) == [("excluded", 3)]


def test_a_fault_counts_and_giving_back_does_not(database):
    receive(database, 1)
    scoring.give_back(database, claim(database).token)
    assert states(database) == [("waiting", 0)]
    scoring.fail(database, claim(database).token)
    assert claim(database, now=1) is not None
    assert states(database) == [("leased", 2)]


def test_only_the_worst_thumbnails_are_kept(database):
    for number, score in enumerate((3.0, 1.0, 2.0, 4.0), 1):
        receive(database, number)
        claimed = claim(database)
        store(database, claimed, score=score, thumbnail=(1, 2, b"ab"))
    with database.read() as connection:
        kept = connection.exec_driver_sql("SELECT score FROM thumbnail ORDER BY score").fetchall()
    assert [row[0] for row in kept] == [1.0, 2.0]


def test_pictures_come_back_grey_or_in_colour_as_they_were_kept(database):
    for number, pixels in enumerate((bytes(range(6)), bytes(range(18)))):
        receive(database, number)
        store(database, claim(database), score=number, thumbnail=(2, 3, pixels))
    kept = closing.snapshot(database, 1).thumbnails
    assert sorted(one.shape for one in kept.values()) == [(2, 3), (2, 3, 3)]
    assert {one.pixels for one in kept.values()} == {bytes(range(6)), bytes(range(18))}
