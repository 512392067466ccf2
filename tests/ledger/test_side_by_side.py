"""Several processes' transactions at the same moment: threads stand for processes here, each with
a connection of its own. What holds on SQLite, where writers take turns, holds on PostgreSQL."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service.config import Complete
from service.ledger import closing, outbox, reception, scoring, tally, turns
from service.ledger.reception import Outcome
from tests.factories import facts, receive
from tests.ledger.test_closing import close, report, score_all
from tests.ledger.test_scoring import claim, outcome
from tests.waiting import wait_for

AT_ONCE = 4


def at_once(*steps):
    """What each step returns, all begun at the same moment."""
    barrier = threading.Barrier(len(steps))

    def begin(step):
        barrier.wait(20)
        return step()

    with ThreadPoolExecutor(len(steps)) as threads:
        return [one.result(60) for one in [threads.submit(begin, step) for step in steps]]


def rows(database, query):
    with database.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def test_one_object_at_several_receivers_is_stored_once(database):
    outcomes = at_once(*[lambda: receive(database, 1)] * AT_ONCE)
    assert sorted(outcomes) == sorted([Outcome.STORED] + [Outcome.REPEATED] * (AT_ONCE - 1))
    assert rows(database, "SELECT generation FROM series") == [(1,)]
    assert rows(database, "SELECT count(*) FROM frame") == [(1,)]


def test_of_different_objects_under_one_uid_one_is_the_image(database):
    studies = [facts(), facts(study_instance_uid="1.2.3")]
    outcomes = at_once(
        *(
            lambda digit=digit: receive(
                database, 1, sha256=f"{digit}" * 64, facts=studies[digit % 2]
            )
            for digit in range(AT_ONCE)
        )
    )
    assert sorted(outcomes) == sorted([Outcome.STORED] + [Outcome.CONTESTED] * (AT_ONCE - 1))
    images = "SELECT count(*) FROM object WHERE state = 'image'"
    assert rows(database, images) == [(1,)]


def test_a_series_that_grows_from_all_sides_counts_every_object(database):
    def send(first):
        for number in range(first, first + 5):
            receive(database, number)

    at_once(*(lambda first=first: send(first) for first in range(0, 5 * AT_ONCE, 5)))
    assert rows(database, "SELECT generation FROM series") == [(5 * AT_ONCE,)]
    assert rows(database, "SELECT count(*) FROM study") == [(1,)]
    with database.read() as connection:
        assert tally.read(connection, "received") == {("CT", "stored"): 5 * AT_ONCE}


def test_a_frame_has_one_worker_and_the_worst_pictures_stay(database):
    scores = [float(number * 7 % 20) for number in range(20)]
    for number in range(20):
        receive(database, number)

    def work():
        done = []
        while (claimed := claim(database, limit=2)) is not None:
            outcomes = [
                outcome(one, scores[int(one.sop_instance_uid.rsplit(".", 1)[1])], (1, 1, b"x"))
                for one in claimed.frames
            ]
            scoring.store(database, claimed, outcomes, thumbnails_kept=3, now=1.0)
            done += [one.frame_id for one in claimed.frames]
        return done

    done = [frame for frames in at_once(*[work] * AT_ONCE) for frame in frames]
    left = claim(database)  # a worker rests when the others are just claiming all it sees
    assert left is None or not set(done) & {one.frame_id for one in left.frames}
    assert len(done) == len(set(done))
    kept = rows(database, "SELECT score FROM thumbnail ORDER BY score")
    assert kept == [(one,) for one in sorted(scores)[:3]] or left is not None
    with database.read() as connection:
        assert tally.read(connection, "frames") == {("scored",): len(done)}


def test_a_closing_and_an_arrival_never_miss_each_other(database):
    for number in range(5):
        of_series = facts(series_instance_uid=f"1.2.3.{number}")
        receive(database, 0, facts=of_series, sha256=f"{number}a".rjust(64, "0"))
        score_all(database)
        seen = closing.snapshot(database, number + 1)
        closed, _ = at_once(
            lambda seen=seen: close(database, seen),
            lambda of_series=of_series, number=number: receive(
                database, 1, facts=of_series, sha256=f"{number}b".rjust(64, "0")
            ),
        )
        series = f"SELECT state, generation, reopened FROM series WHERE id = {number + 1}"
        assert rows(database, series) == [("open", 2, int(closed))], "it is judged again"
        score_all(database)


def test_of_several_that_close_a_series_one_does(database):
    receive(database, 1)
    score_all(database)
    seen = closing.snapshot(database, 1)
    closed = at_once(*[lambda: close(database, seen, [report("1.1.1")])] * AT_ONCE)
    assert sorted(closed) == [False] * (AT_ONCE - 1) + [True]
    assert rows(database, "SELECT count(*) FROM assessment") == [(1,)]
    assert rows(database, "SELECT count(*) FROM outbox") == [(1,)]


def test_a_parcel_has_one_courier_and_a_report_its_predecessor(database):
    """Whether a courier or the next report comes first: a report that was attempted is named, one
    that was not is cancelled."""
    receive(database, 1)
    score_all(database)
    close(database, reports=[report("1.1.0")])
    for number in range(1, 5):
        receive(database, number + 1, now=400)
        score_all(database)
        seen = closing.snapshot(database, 1)
        closed, *parcels = at_once(
            lambda seen=seen, number=number: close(database, seen, [report(f"1.1.{number}")]),
            *[lambda: outbox.claim(database, ["pacs"], lease_s=60, now=1000)] * 2,
        )
        taken = [one for one in parcels if one is not None]
        assert len({one.outbox_id for one in taken}) == len(taken)
        attempted = [one for one in taken if one.sop_instance_uid == f"1.1.{number - 1}"]
        if attempted:
            assert not closed or [one.sop_instance_uid for one in taken] == [
                f"1.1.{number - 1}",
                f"1.1.{number}",
            ]
            return  # the closing, had it come later, would have had to name it
        assert closed
    states = rows(database, "SELECT state FROM outbox ORDER BY id")
    assert all(state != ("waiting",) for state in states[:-1])


def test_the_last_of_two_associations_that_end_at_once_settles(database):
    for number in range(4):
        ids = [
            reception.start_association(
                database, calling_ae_title="CT1", address="::1", receiver="host:1", now=0
            )
            for _ in range(2)
        ]
        series = facts(series_instance_uid=f"1.2.3.{number}", study_instance_uid=f"1.2.{number}")
        receive(database, number, facts=series, now=10, association_id=ids[0])
        hastened = at_once(
            *(
                lambda one=one: reception.end_association(
                    database, one, "released", settle_s=2, now=11
                )
                for one in ids
            )
        )
        assert sorted(hastened) == [False, True]
        assert rows(database, f"SELECT closes_at FROM series WHERE id = {number + 1}") == [(13.0,)]


def test_who_is_alone_is_told_so(postgresql_ledger):
    with postgresql_ledger.alone("a") as first, postgresql_ledger.alone("b") as another:
        assert (first, another) == (True, True)
        with postgresql_ledger.alone("a") as second:
            assert not second
    with postgresql_ledger.alone("a") as again:
        assert again


def test_locked_frames_are_passed_over_not_waited_for(postgresql_ledger):
    for number in (1, 2):
        receive(postgresql_ledger, number)
    with postgresql_ledger.write() as connection:
        connection.execute(text("SELECT id FROM frame WHERE id = 1 FOR UPDATE"))
        claimed = claim(postgresql_ledger)
    assert [one.frame_id for one in claimed.frames] == [2]


def test_what_was_rolled_back_for_another_runs_again(postgresql_ledger):
    """A deadlock, which turns prevent, forced here by taking them the wrong way round."""
    receive(postgresql_ledger, 1)
    own = turns.study(facts().study_instance_uid)
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with ThreadPoolExecutor(1) as threads, postgresql_ledger.write() as connection:
        # it holds the series' row, then wants the turn that the arrival below has
        connection.execute(text("UPDATE series SET reopened = 0"))
        arrival = threads.submit(receive, postgresql_ledger, 2)
        wait_for("the arrival", lambda: rows(postgresql_ledger, waits) == [(1,)])
        with suppress(DBAPIError):  # unless the arrival is the one to be rolled back
            turns.take(connection, own)
        connection.rollback()
        assert arrival.result(30) is Outcome.STORED
    assert rows(postgresql_ledger, "SELECT generation FROM series") == [(2,)]


@pytest.fixture
def postgresql_ledger(database):
    """For what PostgreSQL alone does."""
    if not database.shared:
        pytest.skip("SQLite lets one writer in at a time")
    return database


def test_the_quiet_period_is_the_latest_arrival_s(database):
    """Groups of two receivers may commit in another order than their objects came in."""
    arrivals = at_once(
        *(
            lambda now=now: receive(database, now, now=float(now), complete=Complete(quiet_s=30))
            for now in (100, 101, 102)
        )
    )
    assert arrivals == [Outcome.STORED] * 3
    assert rows(database, "SELECT last_object_at, closes_at FROM series") == [(102.0, 132.0)]
