"""PET finds its CT, waits for it, goes without it, and is opened again when it comes or changes."""

from __future__ import annotations

import pytest

from service.errors import LeaseLost
from service.ledger import closing, pairing, scoring
from service.ledger.scoring import FrameOutcome
from tests.ledger.pet_and_ct import (
    CT,
    FUSING,
    PET,
    close_ct,
    close_due,
    frames,
    pet,
    score,
    send,
    step,
    verdicts,
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
