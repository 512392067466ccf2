"""Announced series close early, whenever their announcement comes."""

import pytest

from service.config import Complete
from service.ledger import announcing, closing, reception
from service.ledger.announcing import AnnouncedSeries, Recorded, StepState
from tests.factories import SERIES, facts, receive
from tests.ledger.test_closing import close, rows, score_all

STEP = "1.2.840.10008.3.1.2.3.3"
OTHER_SERIES = f"{SERIES}9"
QUIET_S, SETTLE_S = Complete().quiet_s, Complete().settle_s


def uids(*numbers, series=SERIES):
    return tuple(f"{series}.{number}" for number in numbers)


def announce(database, *numbers, now, state=StepState.COMPLETED, uid="9.1", series=SERIES):
    return announcing.announce(
        database,
        sop_class_uid=STEP,
        sop_instance_uid=uid,
        state=state,
        series=[AnnouncedSeries(series, uids(*numbers, series=series))],
        calling_ae_title="RIS",
        settle_s=SETTLE_S,
        now=now,
    )


def amend(database, uid="9.1", *, state=None, listed=None, now=0.0):
    series = None if listed is None else [AnnouncedSeries(SERIES, uids(*listed))]
    return announcing.amend(database, uid, state=state, series=series, settle_s=SETTLE_S, now=now)


def closes_at(database, series=1):
    ((at,),) = rows(database, f"SELECT closes_at FROM series WHERE id = {series}")
    return at


def test_announced_after_its_images_it_closes_after_the_settling_time(database):
    for number in (1, 2, 3):
        receive(database, number, now=1000)
    assert announce(database, 1, 2, 3, now=1005) == (Recorded.NEW, True)
    assert closes_at(database) == 1005 + SETTLE_S
    score_all(database)
    assert closing.due_series(database, 1005 + SETTLE_S) == [1]


def test_announced_before_its_images_it_closes_with_the_last_of_them(database):
    assert announce(database, 1, 2, now=990) == (Recorded.NEW, False)
    receive(database, 1, now=1000)
    assert closes_at(database) == 1000 + QUIET_S, "it waits, with the quiet period behind it"
    receive(database, 2, now=1001)
    assert closes_at(database) == 1001 + SETTLE_S


def test_announced_between_its_images_it_waits_for_the_rest(database):
    receive(database, 1, now=1000)
    assert announce(database, 1, 2, 3, now=1001) == (Recorded.NEW, False)
    receive(database, 2, now=1002)
    assert closes_at(database) == 1002 + QUIET_S
    receive(database, 3, now=1003)
    assert closes_at(database) == 1003 + SETTLE_S


def test_an_image_that_never_comes_is_waited_for_no_longer_than_any(database):
    receive(database, 1, now=1000)
    announce(database, 1, 2, now=1001)
    score_all(database)
    assert closing.due_series(database, 1000 + QUIET_S) == [1]


def test_only_what_has_ended_counts_with_what_it_listed_before(database):
    receive(database, 1, now=1000)
    receive(database, 2, now=1000)
    assert announce(database, now=1001, state=StepState.IN_PROGRESS) == (Recorded.NEW, False)
    assert amend(database, listed=(1, 2), now=1002) == (Recorded.CHANGED, False)
    assert closes_at(database) == 1000 + QUIET_S
    assert amend(database, state=StepState.COMPLETED, now=1003) == (Recorded.CHANGED, True)
    assert closes_at(database) == 1003 + SETTLE_S


def test_a_discontinued_step_tells_what_was_made_until_then(database):
    receive(database, 1, now=1000)
    announce(database, now=999, state=StepState.IN_PROGRESS)
    changed = amend(database, state=StepState.DISCONTINUED, listed=(1,), now=1001)
    assert changed == (Recorded.CHANGED, True)


def test_what_has_ended_is_changed_no_more(database):
    announce(database, now=1, state=StepState.IN_PROGRESS)
    assert amend(database, state=StepState.COMPLETED, listed=(1,)) == (Recorded.CHANGED, False)
    assert amend(database, listed=(1, 2)) == (Recorded.ENDED, False)
    assert amend(database, "9.9", listed=()) == (Recorded.UNKNOWN, False)
    assert announce(database, 1, now=2) == (Recorded.KNOWN, False)
    assert rows(database, "SELECT state, instances FROM announcement, announced_series") == [
        ("COMPLETED", 1)
    ]


def test_a_step_without_series_is_not_completed(database):
    announcing.announce(
        database, sop_class_uid=STEP, sop_instance_uid="9.1", state=StepState.IN_PROGRESS,
        series=[], calling_ae_title="CT1", settle_s=SETTLE_S, now=1.0,
    )  # fmt: skip
    assert amend(database, state=StepState.COMPLETED) == (Recorded.EMPTY, False)
    assert rows(database, "SELECT state FROM announcement") == [("IN PROGRESS",)]
    assert amend(database, state=StepState.COMPLETED, listed=()) == (Recorded.CHANGED, False)


def test_a_series_without_announced_instances_keeps_its_quiet_period(database):
    receive(database, 1, now=1000)
    assert announce(database, now=1001) == (Recorded.NEW, False)
    assert closes_at(database) == 1000 + QUIET_S


def test_every_announcement_must_be_fulfilled(database):
    receive(database, 1, now=1000)
    announce(database, 1, 2, now=1000, uid="9.1")
    assert announce(database, 1, now=1001, uid="9.2") == (Recorded.NEW, False)


@pytest.mark.parametrize(
    ("listed", "here", "reopened", "whole"),
    [
        ([{"a", "b"}], {"a", "b"}, False, True),
        ([{"a", "b"}], {"a"}, False, False),
        ([{"a", "b"}], {"a", "c"}, False, False),
        ([{"a", "b"}], {"x", "y"}, False, True),
        ([{"a", "b"}], {"x"}, False, False),
        ([{"a"}, {"b"}], {"a"}, False, False),
        ([{"a"}], {"a", "b"}, False, True),
        ([{"a"}], {"a", "b"}, True, False),
        ([{"a", "b"}], {"a", "b"}, True, True),
        ([], {"a"}, False, False),
    ],
    ids=[
        "all here", "one missing", "one missing, another instead", "all under new UIDs",
        "too few under new UIDs", "one of two lists", "more than listed",
        "opened again by what nobody listed", "opened again by what is listed", "nothing listed",
    ],
)  # fmt: skip
def test_when_all_has_come(listed, here, reopened, whole):
    assert announcing.is_whole(listed, here, reopened=reopened) is whole


def test_images_that_come_after_the_verdict_close_with_the_last_announced(database):
    receive(database, 1, now=1000)
    score_all(database)
    assert close(database, now=1100)
    announce(database, 1, 2, 3, now=1101)
    receive(database, 2, now=1102)
    assert closes_at(database) == 1102 + 2 * QUIET_S
    receive(database, 3, now=1103)
    assert closes_at(database) == 1103 + SETTLE_S


def test_a_late_image_that_nobody_announced_is_waited_out(database):
    receive(database, 1, now=1000)
    announce(database, 1, now=1001)
    score_all(database)
    assert close(database, now=1003)
    receive(database, 2, now=1010)
    assert closes_at(database) == 1010 + 2 * QUIET_S


def test_the_end_of_an_association_does_not_close_what_more_is_announced_of(database):
    def ended(number, series):
        association = reception.start_association(
            database, calling_ae_title="CT1", address="::1", receiver="host:1", now=1000
        )
        receive(
            database, number, association_id=association, facts=facts(series_instance_uid=series)
        )
        return reception.end_association(
            database, association, "released", settle_s=SETTLE_S, now=1001
        )

    announce(database, 1, 2, now=999)
    assert not ended(1, SERIES)
    assert ended(1, OTHER_SERIES)


def test_other_series_are_left_alone(database):
    receive(database, 1, now=1000)
    receive(database, 1, now=1000, facts=facts(series_instance_uid=OTHER_SERIES))
    assert announce(database, 1, now=1001, series=OTHER_SERIES) == (Recorded.NEW, True)
    assert closes_at(database, 1) == 1000 + QUIET_S
    assert closes_at(database, 2) == 1001 + SETTLE_S


def test_announcements_are_forgotten_once_they_are_old(database):
    announce(database, 1, 2, now=100, uid="9.1")
    announce(database, 1, now=50, uid="9.2", state=StepState.IN_PROGRESS)
    announce(database, 1, now=60, uid="9.3", state=StepState.IN_PROGRESS)
    amend(database, "9.3", state=StepState.COMPLETED, now=150)
    announce(database, 1, now=200, uid="9.4")
    assert announcing.forget(database, 101, most=1) == 1
    assert announcing.forget(database, 101) == 1
    assert announcing.forget(database, 101) == 0
    left = "SELECT a.sop_instance_uid, s.instances FROM announcement a"
    joined = f"{left} JOIN announced_series s ON s.announcement_id = a.id ORDER BY a.id"
    assert rows(database, joined) == [("9.3", 1), ("9.4", 1)]
    assert rows(database, "SELECT count(*) FROM announced_series") == [(2,)]
    assert amend(database, "9.2", listed=(1,)) == (Recorded.UNKNOWN, False)
