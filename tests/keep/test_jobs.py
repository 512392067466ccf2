"""Jobs as the scheduler runs them: what they leave in the ledger, and how a failure is told."""

import time
from dataclasses import replace

import pytest

from service.errors import LedgerUnavailable
from service.keep import jobs
from service.keep.role import Keeper
from service.ledger import announcing
from service.ledger import jobs as ledger_jobs
from service.ledger.announcing import AnnouncedSeries, StepState
from service.role import Patience
from tests.away import Outage, away
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


def test_a_job_that_the_ledger_fails_runs_again_when_it_is_back(house, monkeypatch):
    ran = []

    def job(keeping):
        ran.append(len(ran))
        if len(ran) == 1:
            outage.begin()
        with keeping.database.read():
            return "all done"

    outage = Outage(house.database)
    monkeypatch.setitem(jobs.JOBS, "leases", job)
    assert jobs.run(replace(house.keeping, patiently=outage.patience()), "leases")
    assert (ran, outage.waits) == ([0, 1], 1)
    assert house.rows("SELECT failed, detail, runs FROM job") == [(False, "all done", 1)]


def test_a_job_is_given_up_where_the_role_ends_while_the_ledger_is_away(house):
    with away(house.database):
        ending = replace(house.keeping, patiently=Patience(lambda _: True))
        assert not jobs.run(ending, "leases")
    assert house.rows("SELECT count(*) FROM job") == [(0,)]


def test_a_keeper_that_could_not_start_its_jobs_starts_them_when_the_ledger_is_back(house):
    one = keeper(house, "a:1")
    outage = Outage(house.database)

    def then_away(*_, **__):
        outage.begin()
        return result

    result = ledger_jobs.hold(house.database, "keep", "a:1", one._token, lease_s=60, now=house.now)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ledger_jobs, "hold", then_away)
        with pytest.raises(LedgerUnavailable):
            one.turn()
    outage.end()
    assert one.turn()
    assert one._scheduler is not None
    one.stop()


def test_old_announcements_are_removed(house):
    for number, age_s in enumerate((8, 6)):
        announcing.announce(
            house.database, sop_class_uid="1", sop_instance_uid=f"9.{number}",
            state=StepState.COMPLETED, series=[AnnouncedSeries("1.2", ("1.2.1",))],
            calling_ae_title="RIS", settle_s=2, now=house.now - age_s * 86400,
        )  # fmt: skip
    assert jobs.run(house.keeping, "announcements")
    assert house.rows("SELECT detail FROM job") == [("1 announcements removed",)]
    assert house.rows("SELECT sop_instance_uid FROM announcement") == [("9.1",)]
