"""Closing, guarded by the generation; reports, predecessors, the outbox."""

from dataclasses import replace

import pytest

from service.judge.judging import judge
from service.judge.policy import parse_policy
from service.ledger import closing, issuing, json_text, outbox, scoring, tally
from service.ledger.issuing import Issue, NewReport
from tests.factories import BUNDLE, facts, receive
from tests.ledger.test_scoring import claim, store

POLICY = parse_policy('[[rule]]\nname = "ct"\nmodality = "CT"\nmeets = 2.5\nminimum_slices = 1\n')
TO_PACS = Issue(("pacs",), held="")


def score_all(database, now=0.0, score=3.0):
    while (claimed := claim(database, now=now)) is not None:
        store(database, claimed, score=score)


def report(uid, predecessor_id=None):
    return NewReport(
        kind="structured-report", scope_uid="1.2", study_instance_uid="1", sop_class_uid="1.1",
        sop_instance_uid=uid, series_instance_uid="1.9", predecessor_id=predecessor_id, body=b"sr",
    )  # fmt: skip


def close(database, seen=None, reports=(), to=TO_PACS, now=200.0, report_study=False, series=1):
    seen = seen or closing.snapshot(database, series)
    assessment = judge(seen.facts, seen.slices, BUNDLE, POLICY)
    return closing.close(
        database, seen, assessment, reports, to, report_study=report_study, now=now
    )


def rows(database, query):
    with database.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def test_a_series_is_due_when_quiet_and_nothing_waits(database):
    receive(database, 1, now=0)
    assert closing.due_series(database, 100) == []
    score_all(database)
    assert closing.due_series(database, 29) == []
    assert closing.next_closing_at(database, 29) == 30
    assert closing.due_series(database, 30) == [1]


def test_closing_leaves_one_current_assessment_and_its_parcel(database):
    receive(database, 1)
    score_all(database)
    assert close(database, reports=[report("1.1.1")])
    assert rows(database, "SELECT verdict, current, generation FROM assessment") == [
        ("meets", 1, 1)
    ]
    assert rows(database, "SELECT state, destination FROM outbox") == [("waiting", "pacs")]
    assert closing.due_series(database, 1e9) == []


def test_a_slice_in_between_makes_the_closing_fail_whole(database):
    receive(database, 1)
    score_all(database)
    seen = closing.snapshot(database, 1)
    receive(database, 2)
    assert not close(database, seen, [report("1.1.1")])
    assert rows(database, "SELECT count(*) FROM assessment") == [(0,)]
    assert rows(database, "SELECT count(*) FROM report") == [(0,)]
    score_all(database)
    assert not close(database, seen), "the generation differs though nothing waits"
    assert close(database)


def test_a_late_slice_supersedes_and_names_the_attempted_report(database):
    receive(database, 1)
    score_all(database)
    close(database, reports=[report("1.1.1")])
    parcel = outbox.claim(database, ["pacs"], lease_s=60, now=300)
    outbox.delivered(database, parcel, 301)
    receive(database, 2, now=400)
    score_all(database)
    last = issuing.last_attempted(database, "structured-report", "1.2")
    assert last.sop_instance_uid == "1.1.1"
    assert not close(database, reports=[report("1.1.2")]), "it must name its predecessor"
    assert close(database, reports=[report("1.1.2", last.report_id)])
    assert rows(database, "SELECT generation, current FROM assessment ORDER BY id") == [
        (1, 0),
        (2, 1),
    ]
    assert rows(database, "SELECT state FROM outbox ORDER BY id") == [("delivered",), ("waiting",)]


def test_a_report_never_attempted_is_cancelled_not_named(database):
    receive(database, 1)
    score_all(database)
    close(database, reports=[report("1.1.1")])
    receive(database, 2, now=400)
    score_all(database)
    assert issuing.last_attempted(database, "structured-report", "1.2") is None
    assert close(database, reports=[report("1.1.2")])
    assert rows(database, "SELECT state FROM outbox ORDER BY id") == [("cancelled",), ("waiting",)]


def test_the_same_report_is_issued_once(database):
    receive(database, 1)
    score_all(database)
    close(database, reports=[report("1.1.1")])
    receive(database, 1, now=400, sha256="e" * 64)
    claimed = claim(database)
    scoring.settle_contested(
        database, claimed, claimed.frames[0], same=True, reason="the same", now=401
    )
    assert rows(database, "SELECT state FROM object ORDER BY id") == [("image",), ("duplicate",)]
    assert close(database, reports=[report("1.1.1")])
    assert rows(database, "SELECT count(*) FROM report") == [(1,)]
    assert rows(database, "SELECT count(*) FROM outbox") == [(1,)]
    assert rows(database, "SELECT count(*) FROM report_assessment") == [(2,)]


def test_shadow_builds_and_holds(database):
    receive(database, 1)
    score_all(database)
    close(
        database,
        reports=[report("1.1.1")],
        to=Issue(("pacs",), held="the configuration's mode is shadow"),
    )
    assert rows(database, "SELECT state FROM outbox") == [("held",)]
    assert outbox.claim(database, ["pacs"], lease_s=60, now=1e9) is None


def test_a_study_waits_for_all_its_series(database):
    other = facts(series_instance_uid="1.2.3.4")
    receive(database, 1)
    receive(database, 2, facts=other)
    score_all(database)
    close(database, report_study=True)
    assert closing.due_studies(database) == []
    close(database, report_study=True, series=2)
    assert closing.due_studies(database) == [1]
    seen = closing.study_snapshots(database, 1)
    assert len(seen) == 2
    assert closing.report_study(database, 1, seen, [report("1.1.1")], TO_PACS, 300)
    assert closing.due_studies(database) == []
    receive(database, 3, now=400)
    assert not closing.report_study(database, 1, seen, [report("1.1.2")], TO_PACS, 500)


def test_a_study_is_reported_by_one_host_alone(database):
    receive(database, 1)
    receive(database, 2, facts=facts(series_instance_uid="1.2.3.4"))
    score_all(database)
    for series in (1, 2):
        close(database, report_study=True, series=series)
    seen = closing.study_snapshots(database, 1)
    assert closing.report_study(database, 1, seen, [report("1.1.1")], TO_PACS, 300)
    assert not closing.report_study(database, 1, seen, [report("1.1.1")], TO_PACS, 300)
    assert rows(database, "SELECT count(*) FROM outbox") == [(1,)]
    assert rows(database, "SELECT count(*) FROM report_assessment") == [(2,)]


def test_nothing_closes_on_a_snapshot_that_waited_for_scores(database):
    receive(database, 1)
    receive(database, 2)
    seen = closing.snapshot(database, 1)
    score_all(database)
    assert not close(database, seen), "it lacks their scores, though nothing waits now"
    assert close(database)


def test_requeued_frames_make_a_closing_fail_that_was_judged_by_their_old_scores(database):
    receive(database, 1)
    score_all(database)
    seen = closing.snapshot(database, 1)
    scoring.requeue_scored_by(database, 1, {"b"})
    score_all(database, now=50)
    assert not close(database, seen)
    assert close(database)


def test_one_acquisition_alarms_once(database):
    acquisition = {"irradiation_event_uid": "1.7.7"}
    for number, uid in enumerate(("1.2.3.4", "1.2.3.5"), 1):
        receive(database, number, facts=facts(series_instance_uid=uid, **acquisition))
    score_all(database, score=1.0)
    close(database)
    assert rows(database, "SELECT alarm FROM assessment") == [(1,)]
    close(database, series=2)
    assert sorted(rows(database, "SELECT alarm FROM assessment")) == [(0,), (1,)]


def test_a_refused_parcel_waits_then_dies_then_is_retried(database):
    receive(database, 1)
    score_all(database)
    close(database, reports=[report("1.1.1")], now=200)
    parcel = outbox.claim(database, ["pacs"], lease_s=60, now=200)
    assert parcel.attempts == 1
    outbox.postponed(database, parcel, "down", outcome="unavailable", next_attempt_at=210)
    assert outbox.claim(database, ["pacs"], lease_s=60, now=209) is None
    assert outbox.next_attempt_at(database, ["pacs"]) == 210
    parcel = outbox.claim(database, ["pacs"], lease_s=60, now=210)
    outbox.died(database, parcel, "refused")
    assert outbox.claim(database, ["pacs"], lease_s=60, now=1e9) is None
    assert outbox.retry_dead(database, parcel.outbox_id, 300)
    assert outbox.claim(database, ["pacs"], lease_s=60, now=300) is not None


def test_a_courier_that_died_is_replaced_when_its_lease_ends(database):
    receive(database, 1)
    score_all(database)
    close(database, reports=[report("1.1.1")], now=200)
    first = outbox.claim(database, ["pacs"], lease_s=60, now=200)
    assert outbox.claim(database, ["pacs"], lease_s=60, now=259) is None
    second = outbox.claim(database, ["pacs"], lease_s=60, now=260)
    outbox.delivered(database, first, 261)
    assert rows(database, "SELECT state FROM outbox") == [("leased",)], "fenced off"
    outbox.delivered(database, second, 262)
    assert rows(database, "SELECT state, attempts FROM outbox") == [("delivered", 2)]


@pytest.mark.parametrize("name", ["report-99", "frame-99", "x"])
def test_letters_that_are_not_there(database, name):
    from service.ledger import letters

    assert not letters.retry(database, name, 0)
    assert not letters.drop(database, name)


def test_frames_of_a_bundle_no_longer_served_are_scored_again(database):
    for number in (1, 2):
        receive(database, number)
    score_all(database)
    assert closing.snapshot(database, 1).bundle_digests == {"b"}
    assert scoring.requeue_scored_by(database, 1, {"a"}) == 0
    assert scoring.requeue_scored_by(database, 1, {"b"}) == 2
    assert closing.due_series(database, 1e9) == []
    score_all(database, now=50)
    assert closing.due_series(database, 1e9) == [1]


def test_a_provisional_verdict_gives_way_to_newer_facts_alone(database):
    def keep(seen, score):
        assessment = replace(judge(seen.facts, seen.slices, BUNDLE, POLICY), score=score)
        return closing.keep_provisional(database, seen, assessment, 50.0)

    def kept():
        ((body,),) = rows(database, "SELECT provisional FROM series")
        return json_text.load_assessment(body).score

    for number in (1, 2, 3):
        receive(database, number)
    store(database, claim(database, limit=1))
    one_slice = closing.snapshot(database, 1)
    store(database, claim(database, limit=1))
    two_slices = closing.snapshot(database, 1)
    assert keep(two_slices, 2.0)
    assert not keep(one_slice, 1.0), "another worker judged more"
    assert kept() == 2.0
    assert keep(two_slices, 2.5), "the same slices by a policy read later"
    scoring.requeue_scored_by(database, 1, {"b"})
    none_left = closing.snapshot(database, 1)
    assert keep(none_left, 0.5), "fewer slices of a later generation"
    assert not keep(two_slices, 2.0)
    assert kept() == 0.5
    score_all(database)
    assert close(database)
    assert not keep(closing.snapshot(database, 1), 3.0), "it is closed"
    receive(database, 4, now=400)
    score_all(database)
    assert keep(closing.snapshot(database, 1), 3.5)
    with database.read() as connection:
        assert tally.read(connection, "verdict_seconds_bucket")["provisional", "+Inf"] == 1
