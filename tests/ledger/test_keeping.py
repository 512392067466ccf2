"""Housekeeping's own transactions: leases, marks, series that never end, scanners' days."""

import pytest

from service.judge.judging import judge
from service.ledger import closing, jobs, keeping, outbox, overdue, scanner_days
from service.ledger.keeping import Absence, Due
from tests.factories import BUNDLE, facts, receive
from tests.ledger.test_closing import POLICY, TO_PACS, report, rows, score_all
from tests.ledger.test_scoring import claim, states

DAY_S = 86400.0


def hold(database, holder, now, lease_s=60):
    return jobs.hold(database, "keep", holder, f"token of {holder}", lease_s=lease_s, now=now)


def close(database, series=1, now=200.0, reports=()):
    seen = closing.snapshot(database, series)
    assessment = judge(seen.facts, seen.slices, BUNDLE, POLICY)
    assert closing.close(database, seen, assessment, reports, TO_PACS, report_study=False, now=now)


def deliver(database, now=300.0):
    while (parcel := outbox.claim(database, ["pacs"], lease_s=60, now=now)) is not None:
        outbox.delivered(database, parcel, now)


def test_the_lease_is_held_by_one_and_taken_over_when_its_holder_dies(database):
    assert hold(database, "a:1", now=0)
    assert not hold(database, "b:2", now=59)
    assert jobs.holder(database, "keep") == "a:1"
    assert hold(database, "a:1", now=50), "renewed"
    assert not hold(database, "b:2", now=109)
    assert hold(database, "b:2", now=110)
    assert not hold(database, "a:1", now=111), "it comes back and finds it taken"
    jobs.release(database, "keep", "token of a:1", now=112)
    assert not hold(database, "a:1", now=113), "only its holder can give it up"
    jobs.release(database, "keep", "token of b:2", now=114)
    assert hold(database, "a:1", now=114)


def test_a_job_s_last_run_is_put_down(database):
    jobs.begin(database, "sweep", "a:1", 100)
    jobs.end(database, "sweep", failed=False, detail="nothing", seconds=2, now=102)
    jobs.begin(database, "sweep", "b:2", 200)
    with database.read() as connection:
        (running,) = jobs.readings(connection)
    assert (running.process, running.ended_at, running.succeeded_at) == ("b:2", None, 102)
    assert jobs.status_lines(database, 205) == ["job sweep             began 5 s ago: nothing"]
    jobs.end(database, "sweep", failed=True, detail="no disk", seconds=1, now=201)
    with database.read() as connection:
        (failed,) = jobs.readings(connection)
    assert (failed.failed, failed.succeeded_at, failed.runs, failed.failures) == (True, 102, 2, 1)
    assert jobs.status_lines(database, 205) == [
        "job sweep             failed 4 s ago in 1.0 s: no disk"
    ]


def test_leases_of_the_dead_are_taken_back_without_a_claim(database):
    receive(database, 1)
    receive(database, 2, facts=facts(series_instance_uid="1.9"))
    score_all(database)
    close(database, 2, reports=[report("1.1.1")])
    receive(database, 3)
    claim(database, now=1000)
    assert outbox.claim(database, ["pacs"], lease_s=60, now=1000) is not None
    assert overdue.rescue_leases(database, 3, 1059) == overdue.Rescued(0, 0, 0)
    assert overdue.rescue_leases(database, 3, 1060) == overdue.Rescued(1, 0, 1)
    assert states(database)[-1] == ("waiting", 1)
    assert rows(database, "SELECT state, attempts FROM outbox") == [("waiting", 1)]
    claim(database, now=2000)
    claim(database, now=3000)
    assert overdue.rescue_leases(database, 3, 9000) == overdue.Rescued(0, 1, 0)
    assert states(database)[-1] == ("dead", 3)


def test_a_series_that_is_never_quiet_is_ended_after_its_time(database):
    for second in range(0, 101, 20):
        receive(database, second + 1, now=second)
    assert overdue.endless_series(database, 100, 99) == []
    ((series_id, uid),) = overdue.endless_series(database, 100, 101)
    assert uid == facts().series_instance_uid
    assert closing.due_series(database, 101) == []
    assert overdue.end_series(database, series_id, 101)
    assert closing.due_series(database, 101) == [], "slices wait"
    score_all(database)
    assert closing.due_series(database, 101) == [1]
    assert not overdue.end_series(database, series_id, 102), "it is ended already"
    assert overdue.endless_series(database, 100, 102) == []


def test_a_straggler_of_an_old_series_has_its_quiet_period(database):
    receive(database, 1, now=0)
    score_all(database)
    close(database, now=40)
    receive(database, 2, now=9000)
    assert overdue.endless_series(database, 100, 9010) == []
    receive(database, 3, now=9099)
    assert [one for one, _ in overdue.endless_series(database, 100, 9100)] == [1]


def test_images_are_marked_once_and_only_when_all_is_delivered(database):
    receive(database, 1)
    score_all(database)
    close(database, reports=[report("1.1.1")])
    (study,) = keeping.stored_studies(database)
    assert (study.objects, study.size_bytes) == (1, 1000)

    def mark():
        return keeping.mark_removed(database, study, remove_held=False, now=500)

    # this factory's report names a study "1"
    with database.write() as connection:
        connection.exec_driver_sql(
            f"UPDATE report SET study_instance_uid = '{study.study_instance_uid}'"
        )
    assert mark() is Due.REPORT
    deliver(database)
    assert mark() == [f"aa/{facts().series_instance_uid}.1.dcm"]
    assert mark() == []
    assert keeping.stored_studies(database) == []
    with database.read() as connection:
        assert keeping.absences(connection, 1) == {Absence.REMOVED: (1, 500)}


def test_flags_come_and_go_with_the_file(database):
    receive(database, 1)
    receive(database, 2)
    one = next(one for one in keeping.filed(database, "a") if one.path.endswith(".1.dcm"))
    assert keeping.filed(database, "b") == []
    assert keeping.flag_missing(database, [one], 50) == 1
    assert keeping.flag_missing(database, [one], 60) == 0
    assert states(database) == [("excluded", 0), ("waiting", 0)]
    assert keeping.unmark(database, [one]) == 1
    assert keeping.unmark(database, [one]) == 0
    assert states(database) == [("waiting", 0), ("waiting", 0)]
    assert rows(database, "SELECT state, generation FROM series") == [("open", 3)]


def test_a_slice_a_worker_holds_is_left_to_it(database):
    receive(database, 1)
    claim(database, now=0)
    keeping.flag_missing(database, keeping.filed(database, "a"), 50)
    assert states(database) == [("leased", 1)]


def test_days_are_counted_by_scanner_and_modality(database):
    other = facts(series_instance_uid="1.8", device_serial_number="777")
    for number, (series, score) in enumerate(
        ((facts(), 3.0), (facts(series_instance_uid="1.7"), 2.0), (other, 2.8)), 1
    ):
        receive(database, 1, facts=series, now=DAY_S + number)
        score_all(database, now=DAY_S + number, score=score)
        close(database, number, now=DAY_S + 40)
    assert scanner_days.stale_days(database, DAY_S + 40) == ["1970-01-02"]
    assert scanner_days.stale_days(database, DAY_S + 41) == []
    for _ in range(2):
        assert scanner_days.count_day(database, "1970-01-02") == 3
    with database.read() as connection:
        first, second = scanner_days.scanner_days(connection, "1970-01-01")
        assert scanner_days.scanner_days(connection, "1970-01-03") == []
    assert (first.scanner, first.modality, first.series) == ("Maker Model 12345", "CT", 2)
    assert (first.meets, first.does_not_meet, first.alarms) == (1, 1, 1)
    assert first.median_score == pytest.approx(2.5)
    assert (second.scanner, second.median_score) == ("Maker Model 777", pytest.approx(2.8))


def test_a_series_that_moves_to_another_day_leaves_the_first_one(database):
    receive(database, 1, now=10)
    score_all(database, now=10)
    close(database, now=50)
    scanner_days.count_day(database, "1970-01-01")
    receive(database, 2, now=DAY_S + 10)
    score_all(database, now=DAY_S + 10)
    close(database, now=DAY_S + 100)
    days = scanner_days.stale_days(database, DAY_S)
    assert days == ["1970-01-01", "1970-01-02"]
    assert [scanner_days.count_day(database, day) for day in days] == [0, 1]


def test_documents_are_no_series_of_a_scanner(database):
    receive(database, 1, now=10, set_aside="documents are not assessed")
    close(database, now=50)
    assert scanner_days.count_day(database, "1970-01-01") == 0
