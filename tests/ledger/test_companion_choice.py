"""Which CT a PET is fused with, and what is none."""

from __future__ import annotations

import pytest

from service.ledger import closing, letters, pairing, scoring
from tests.factories import facts, receive
from tests.ledger.pet_and_ct import (
    CT,
    FRAME_OF_REFERENCE,
    FUSING,
    OTHER_CT,
    PET,
    close_ct,
    frames,
    of,
    pet,
    rows,
    score,
    send,
    step,
)


def test_two_cts_the_one_with_more_in_common_wins(database):
    send(database, CT, 1, 2)
    send(database, OTHER_CT, 1, 2, 3, 4, 5, 6)
    close_ct(database)
    send(database, PET, 1, 3, 6, now=50)
    step(database, 51)
    assert pet(database)[2] == "1.2.2"


def test_of_two_alike_the_nearer_in_time_wins(database):
    later = of("PT", "1.2.5", "20260101084500")
    for series in (CT, OTHER_CT):
        send(database, series, 1, 2, 3)
    close_ct(database)
    send(database, later, 1, 3, now=50)
    step(database, 51)
    assert pet(database)[2] == "1.2.2"


def test_a_better_ct_that_comes_later_takes_the_other_s_place(database):
    send(database, CT, 1, 2)
    close_ct(database)
    send(database, PET, 1, 2, 6, now=50)
    step(database, 51)
    score(database, 52)
    send(database, OTHER_CT, 1, 2, 3, 4, 5, 6, now=60)
    assert close_ct(database, 200) == ["1.2.5", "1.2.2"]
    step(database, 201)
    assert pet(database) == ("open", 4, "1.2.2", 6)
    assert frames(database) == [("waiting", 3)]


def test_slices_that_come_while_others_are_scored_join_them(database):
    send(database, CT, 1, 2, 3)
    close_ct(database)
    send(database, PET, 1, now=50)
    step(database, 51)
    score(database, 52)
    send(database, PET, 2, now=53)
    step(database, 54)
    assert pet(database) == ("open", 2, "1.2.1", 3), "nothing drawn before has to be drawn anew"
    assert frames(database) == [("scored", 1), ("waiting", 1)]


@pytest.mark.parametrize(
    ("scout", "how"),
    [
        (CT, {"excluded": "a localizer"}),
        (CT, {"stack": "coronal"}),
        (CT, {"stack": "axial [0.0, -0.6, 0.8]"}),
    ],
)
def test_a_scout_is_no_companion(database, scout, how):
    send(database, scout, 1, 2, 3)
    close_ct(database, **how)
    send(database, PET, 1, 2, now=50)
    assert not step(database, 60)
    assert step(database, 50 + 930)
    assert pet(database)[2] is None
    assert frames(database) == [("excluded", 2)]


def test_a_ct_that_no_bundle_scores_can_be_fused(database):
    send(database, CT, 1, 2, 3)
    close_ct(database, excluded="no bundle for CT is installed")
    send(database, PET, 1, 2, now=50)
    assert step(database, 51)
    assert pet(database)[2] == "1.2.1"


@pytest.mark.parametrize(
    "ct",
    [
        of("CT", "1.2.1", frame_of_reference="1.2.3.8"),
        facts(
            modality="CT",
            study_instance_uid="1.9",
            series_instance_uid="1.2.1",
            frame_of_reference_uid=FRAME_OF_REFERENCE,
        ),
    ],
    ids=["another Frame of Reference", "another study"],
)
def test_a_ct_of_something_else_is_no_companion(database, ct):
    send(database, ct, 1, 2, 3)
    close_ct(database)
    send(database, PET, 1, 2, now=50)
    assert not step(database, 51)
    assert step(database, 2000)
    assert frames(database) == [("excluded", 2)]


def test_a_ct_of_elsewhere_in_the_body_is_named_as_the_reason(database):
    send(database, CT, 1, 2, 3)
    close_ct(database)
    send(database, PET, 8, 9, now=50)
    assert not step(database, 51)
    step(database, 2000)
    assert rows(database, "SELECT DISTINCT reason FROM frame WHERE state = 'excluded'") == [
        ("no CT of the same study and Frame of Reference overlaps it",)
    ]


def test_no_frame_of_reference_no_waiting(database):
    send(database, of("PT", "1.2.5", frame_of_reference=""), 1)
    assert step(database, 1)
    ((reason,),) = rows(database, "SELECT reason FROM frame")
    assert "Frame of Reference UID (0020,0052)" in reason


def test_where_nothing_is_fused_nothing_waits(database):
    send(database, PET, 1, 2)
    assert step(database, 1, fusing=None)
    assert frames(database) == [("waiting", 2)]


def test_a_frame_without_a_position_is_left_to_scoring_to_explain(database):
    send(database, PET, 1, 2)
    assert pairing.pair(database, 1, {1: None, 2: 2.0}, FUSING, 1)
    assert rows(database, "SELECT state, position_mm FROM frame ORDER BY id") == [
        ("waiting", None),
        ("awaiting-companion", 2.0),
    ]
    assert pairing.awaiting(database) == {1: []}, "positions are read once"


def test_a_conflicting_object_is_no_slice_to_fuse_with(database):
    send(database, CT, 1, 2)
    receive(database, 2, facts=CT, now=1, sha256="e" * 64)
    (contested,) = rows(database, "SELECT id FROM frame WHERE work = 'compare'")
    claimed = scoring.claim(database, limit=16, lease_s=60, max_attempts=3, now=2)
    frame = next(one for one in claimed.frames if one.frame_id == contested[0])
    scoring.settle_contested(database, claimed, frame, same=False, reason="differs", now=3)
    scoring.give_back(database, claimed.token)
    close_ct(database)
    companion = closing.snapshot(database, 1)
    assert len(companion.images) == 2
    send(database, PET, 1, 2, now=50)
    step(database, 51)
    found = closing.snapshot(database, 2).companion
    assert [one.sop_instance_uid for one in found.frames] == ["1.2.1.1", "1.2.1.2"]
    assert [uid for uid, _ in found.images] == ["1.2.1.1", "1.2.1.2"]


def test_the_ct_slice_nearest_to_a_pet_slice(database):
    send(database, CT, 1, 4, 8)
    close_ct(database)
    send(database, PET, 3, 7, 9, now=50)
    step(database, 51)
    ids = [row[0] for row in rows(database, "SELECT id FROM frame WHERE series_id = 2 ORDER BY id")]
    found = pairing.companions(database, ids, FUSING)
    assert [found[each].position_mm for each in ids] == [4, 8, 8]
    assert pairing.companions(database, [1, 2, 3], FUSING) == {}, "a CT has none"


def test_frames_an_operator_gave_up_stay_given_up(database):
    send(database, CT, 1, 2)
    close_ct(database)
    send(database, PET, 1, 2, now=50)
    step(database, 51)
    for now in (52, 200, 400, 600, 800, 1000, 1200, 1400):
        scoring.claim(database, limit=16, lease_s=60, max_attempts=3, now=now)
    (letter, *_) = letters.dead(database)
    assert letters.drop(database, letter.name)
    score(database, 2000)
    before = frames(database)
    send(database, CT, 3, now=2100)
    close_ct(database, 2300)
    step(database, 2301)
    assert dict(before)["excluded"] == dict(frames(database))["excluded"] == 1
