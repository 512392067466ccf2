"""PET finds its CT, waits for it, goes without it, and is opened again when it comes or changes."""

from __future__ import annotations

import pytest

from service.companion import Fusing
from service.config import Complete
from service.errors import LeaseLost
from service.judge.judging import judge
from service.judge.policy import parse_policy
from service.ledger import closing, letters, pairing, scoring
from service.ledger.issuing import Issue
from service.ledger.scoring import FrameOutcome
from tests.factories import BUNDLE, facts, receive

POLICY = parse_policy(
    '[[rule]]\nname = "ct"\nmodality = "CT"\nmeets = 2\nminimum_slices = 1\n'
    '[[rule]]\nname = "pt"\nmodality = "PT"\nmeets = 2\nminimum_slices = 1\n'
)
FUSING = Fusing(frozenset({"a localizer"}), Complete())
FRAME_OF_REFERENCE = "1.2.3.9"


def of(modality, uid, acquired_at="20260101080000", frame_of_reference=FRAME_OF_REFERENCE):
    return facts(
        modality=modality,
        series_instance_uid=uid,
        frame_of_reference_uid=frame_of_reference,
        acquired_at=acquired_at,
    )


CT, OTHER_CT, PET = of("CT", "1.2.1"), of("CT", "1.2.2", "20260101090000"), of("PT", "1.2.5")


def send(database, series, *numbers, now=0.0):
    for number in numbers:
        receive(database, number, facts=series, now=now, sha256=series_sha(series, number))


def series_sha(series, number):
    return f"{series.series_instance_uid}-{number}".rjust(64, "0")


def score(database, now=1.0, stack="axial", excluded=None):
    """Score everything that waits; slice n lies at n mm."""
    done = []
    while claimed := scoring.claim(database, limit=16, lease_s=60, max_attempts=3, now=now):
        outcomes = [
            FrameOutcome(
                frame_id=one.frame_id, stack=stack, position_mm=position(one.sop_instance_uid),
                score=None if excluded else 3.0, spread=None, noise_hu=None, snr=None, level=None,
                drawn_at_level=None, bundle_digest=None if excluded else "b", excluded=excluded,
                thumbnail=(1, 1, b"x"),
            )
            for one in claimed.frames
        ]  # fmt: skip
        scoring.store(database, claimed, outcomes, thumbnails_kept=2, now=now)
        done += [one.sop_instance_uid for one in claimed.frames]
    return done


def position(uid):
    return float(uid.rsplit(".", 1)[1])


def close_ct(database, now=40.0, **how):
    score(database, now, **how)
    return close_due(database, now)


def close_due(database, now):
    closed = []
    for series_id in closing.due_series(database, now):
        seen = closing.snapshot(database, series_id)
        assessment = judge(seen.facts, seen.slices, BUNDLE, POLICY)
        assert closing.close(
            database, seen, assessment, [], Issue((), held=""),
            report_study=False, now=now, fusing=FUSING,
        )  # fmt: skip
        closed.append(seen.facts.series_instance_uid)
    return closed


def step(database, now, fusing=FUSING):
    """One pass over what awaits, as the concluding thread makes it."""
    uids = dict(
        rows(
            database,
            "SELECT f.id, o.sop_instance_uid FROM frame f JOIN object o ON o.id = f.object_id",
        )
    )
    moved = []
    for series_id, unplaced in pairing.awaiting(database).items():
        positions = {one.frame_id: position(uids[one.frame_id]) for one in unplaced}
        moved.append(pairing.pair(database, series_id, positions, fusing, now))
    return any(moved)


def rows(database, query):
    with database.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def pet(database):
    """State, generation, CT and its generation, of the PET series."""
    (row,) = rows(
        database,
        "SELECT p.state, p.generation, c.series_instance_uid, p.companion_generation"
        " FROM series p LEFT JOIN series c ON c.id = p.companion_id WHERE p.modality = 'PT'",
    )
    return row


def frames(database):
    return rows(
        database,
        "SELECT f.state, count(*) FROM frame f JOIN series s ON s.id = f.series_id"
        " WHERE s.modality = 'PT' GROUP BY f.state ORDER BY f.state",
    )


def verdicts(database):
    return rows(
        database,
        "SELECT a.generation, a.verdict, a.current FROM assessment a"
        " JOIN series s ON s.id = a.series_id WHERE s.modality = 'PT' ORDER BY a.id",
    )


def test_ct_first(database):
    send(database, CT, 1, 2, 3)
    assert close_ct(database) == ["1.2.1"]
    send(database, PET, 1, 2, now=50)
    assert score(database) == [], "PET waits for its companion to be named"
    assert step(database, 51)
    assert pet(database) == ("open", 2, "1.2.1", 3)
    assert score(database, 52) == ["1.2.5.1", "1.2.5.2"]
    assert close_due(database, 100) == ["1.2.5"]
    assert verdicts(database) == [(2, "meets", 1)]
    assert not step(database, 101)


def test_pet_first_waits_while_its_ct_is_open(database):
    send(database, PET, 1, 2)
    assert not step(database, 1)
    send(database, CT, 1, 2, 3, now=5)
    score(database, 6)
    assert not step(database, 20), "the CT may grow still"
    assert closing.due_series(database, 31) == [], "PET is quiet and its frames wait"
    assert close_due(database, 40) == ["1.2.1"]
    assert step(database, 41)
    assert frames(database) == [("waiting", 2)]
    assert score(database, 42) == ["1.2.5.1", "1.2.5.2"]
    assert close_due(database, 43) == ["1.2.5"]
    assert verdicts(database) == [(2, "meets", 1)]


def test_no_ct_ever(database):
    send(database, PET, 1, 2)
    assert not step(database, 30 + 899)
    assert frames(database) == [("awaiting-companion", 2)]
    assert step(database, 30 + 900)
    assert frames(database) == [("excluded", 2)]
    assert close_due(database, 931) == ["1.2.5"]
    assert verdicts(database) == [(2, "not-assessed", 1)]
    seen = closing.snapshot(database, 1)
    assert seen.assessment.reason == (
        "No slice was scored: no CT of the same study and Frame of Reference came within "
        "15 min of the last slice."
    )


def test_a_ct_that_comes_after_the_verdict_opens_the_pet_again(database):
    send(database, PET, 1, 2)
    step(database, 930)
    close_due(database, 931)
    send(database, CT, 1, 2, 3, now=2000)
    assert close_ct(database, 2040) == ["1.2.1"]
    assert pet(database)[:2] == ("open", 3)
    assert step(database, 2041)
    assert pet(database) == ("open", 3, "1.2.1", 3)
    assert score(database, 2042) == ["1.2.5.1", "1.2.5.2"]
    assert close_due(database, 2050) == [], "opened again: the quiet period is doubled"
    assert close_due(database, 2100) == ["1.2.5"]
    assert verdicts(database) == [(2, "not-assessed", 0), (3, "meets", 1)]
    assert closing.snapshot(database, 1).companion.facts == CT


def test_a_ct_that_changes_has_its_pet_drawn_anew_once(database):
    send(database, CT, 1, 2)
    close_ct(database)
    send(database, PET, 1, 2, now=50)
    step(database, 51)
    score(database, 52)
    close_due(database, 100)
    send(database, CT, 3, now=200)
    assert pet(database)[:2] == ("closed", 2), "not before the CT is complete again"
    assert close_ct(database, 300) == ["1.2.1"]
    assert pet(database)[:2] == ("open", 3)
    assert frames(database) == [("awaiting-companion", 2)]
    assert step(database, 301)
    assert pet(database) == ("open", 3, "1.2.1", 3)
    score(database, 302)
    close_due(database, 400)
    assert verdicts(database) == [(2, "meets", 0), (3, "meets", 1)]
    assert not step(database, 401)
    with database.write() as connection:
        pairing.reconsider(connection, 1, FUSING, 500)
    assert pet(database) == ("closed", 3, "1.2.1", 3), "nothing changed since"


def test_the_same_ct_again_changes_nothing(database):
    send(database, CT, 1, 2)
    close_ct(database)
    send(database, PET, 1, now=50)
    step(database, 51)
    score(database, 52)
    close_due(database, 100)
    send(database, CT, 1, 2, now=200)
    assert close_due(database, 1000) == []
    assert pet(database)[:2] == ("closed", 1)


def test_a_worker_that_draws_with_the_old_ct_is_fenced_off(database):
    send(database, CT, 1, 2)
    close_ct(database)
    send(database, PET, 1, 2, now=50)
    step(database, 51)
    claimed = scoring.claim(database, limit=16, lease_s=1e6, max_attempts=3, now=52)
    send(database, CT, 3, now=60)
    late = scoring.claim(database, limit=16, lease_s=60, max_attempts=3, now=61)
    outcome = FrameOutcome(
        late.frames[0].frame_id, "axial", 3.0, 3.0, None, None, None, None, None,
        "b", None, None,
    )  # fmt: skip
    scoring.store(database, late, [outcome], thumbnails_kept=2, now=62)
    assert close_due(database, 200) == ["1.2.1"]
    assert pet(database)[:2] == ("open", 3)
    with pytest.raises(LeaseLost):
        scoring.store(database, claimed, [], thumbnails_kept=2, now=201)
    step(database, 202)
    assert score(database, 203) == ["1.2.5.1", "1.2.5.2"]


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
