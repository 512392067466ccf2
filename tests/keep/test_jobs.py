"""Jobs as the scheduler runs them: what they leave in the ledger, and how a failure is told."""

import time

import pytest

from service.keep import jobs
from service.keep.role import Keeper
from service.ledger import jobs as ledger_jobs
from tests.waiting import wait_for


def test_every_job_has_its_interval():
    from service.config import Every

    assert set(jobs.JOBS) == set(Every.model_fields)


def test_a_series_is_ended_and_counted(house):
    house.receive(1, 1)
    house.now += 20
    house.receive(1, 2)
    house.score()
    house.close()
    assert house.rows("SELECT state FROM series") == [("open",)]
    assert jobs.run(house.set(longest_open_s=20), "series")
    house.close()
    assert house.rows("SELECT state FROM series") == [("closed",)]
    assert house.rows("SELECT value FROM tally WHERE name = 'series_ended_by_age'") == [(1,)]
    assert house.rows("SELECT detail FROM job") == [("1 series ended",)]


def test_leases_are_taken_back(house):
    house.receive(1, 1)
    house.claim()
    house.now += 61
    assert jobs.run(house.keeping, "leases")
    assert house.rows("SELECT state, attempts FROM frame") == [("waiting", 1)]
    assert house.rows("SELECT detail FROM job") == [
        ("1 slices and 0 reports taken back, 0 slices given up",)
    ]


def test_days_are_counted_since_the_last_run(house):
    house.done(1, 1)
    house.done(2, 1, score=2.0)
    assert jobs.run(house.keeping, "statistics")
    query = "SELECT day, scanner, modality, series, meets, does_not_meet, median_score"
    counted = house.rows(f"{query} FROM scanner_day")
    assert counted == [("2020-09-13", "Maker Model 12345", "CT", 2, 1, 1, 2.5)]
    house.now += 2 * 86400
    house.done(3, 1)
    assert jobs.run(house.keeping, "statistics")
    assert house.rows("SELECT detail FROM job") == [("2 days counted, 3 series",)]
    house.now += 2 * 86400
    assert jobs.run(house.keeping, "statistics")
    assert house.rows("SELECT detail FROM job") == [("1 days counted, 1 series",)]
    assert house.rows(f"{query} FROM scanner_day ORDER BY day")[0] == counted[0]


def test_a_failure_is_told_without_what_it_may_quote(house, monkeypatch):
    def failing(_):
        raise ValueError("Doe^Jane")

    monkeypatch.setitem(jobs.JOBS, "leases", failing)
    assert not jobs.run(house.keeping, "leases")
    assert house.rows("SELECT failed, detail, failures FROM job") == [(True, "ValueError", 1)]


def keeper(house, process):
    return Keeper(house.settings, house.database, house.keeping.wake, process, lambda: house.now)


@pytest.fixture
def two_keepers(house):
    two = keeper(house, "a:1"), keeper(house, "b:2")
    yield two
    for one in two:
        one.stop()


def test_one_keeper_runs_the_jobs_and_another_takes_over_when_it_dies(house, two_keepers):
    first, second = two_keepers

    def ran_by(process):
        rows = house.rows("SELECT process FROM job WHERE ended_at IS NOT NULL")
        return len(rows) == len(jobs.JOBS) and {row[0] for row in rows} == {process}

    assert first.turn()
    assert second.turn()
    assert (first.standing(), second.standing()) == ("runs the jobs", "stands by for a:1")
    wait_for("the jobs", lambda: ran_by("a:1"))
    house.now += 7 * 86400  # the first one hangs, or its host is gone: nobody renews
    assert second.turn()
    wait_for("the jobs of the second", lambda: ran_by("b:2"))
    assert first.turn()
    assert first.standing() == "stands by for b:2"
    second.stop()
    assert first.turn(), "what is given up is taken at once"


def test_jobs_are_not_run_again_before_they_are_due(house):
    house.now += 10
    for name in jobs.JOBS:
        ledger_jobs.begin(house.database, name, "a:1", house.now - 10)
    one = keeper(house, "b:2")
    one.turn()
    due = {job.id: job.next_run_time.timestamp() for job in one._scheduler.get_jobs()}
    one.stop()
    every_s = house.settings.keep.every_s
    expected = {name: time.time() + getattr(every_s, name) - 10 for name in jobs.JOBS}
    assert due == pytest.approx(expected, abs=5)
