"""Rejected images: labels, series judged anew, reports called back before they leave."""

from dataclasses import replace

import pytest

from service.ledger import closing, labels, outbox
from service.ledger.issuing import Issue
from service.ledger.labels import RejectionNote
from tests.factories import SERIES, STUDY, facts, receive
from tests.ledger.test_closing import close, report, rows, score_all

WORDS = "rejected by PACS1 (Rejected for Quality Reasons, Motion blur)"
OTHER = f"{SERIES}9"


def note(*numbers, uid="7.1", series=SERIES):
    return RejectionNote(
        uid,
        "113001",
        "Rejected for Quality Reasons",
        "Motion blur",
        tuple((series, f"{series}.{number}") for number in numbers),
    )


def reject(database, one, now=500.0):
    return labels.reject(database, one, calling_ae_title="PACS1", settle_s=2.0, now=now)


def images(database, *numbers, **changes):
    for number in numbers:
        receive(database, number, **changes)
    score_all(database)


def reports(of=SERIES):
    return [
        replace(report("1.1.1"), scope_uid=STUDY, study_instance_uid=STUDY),
        replace(report("1.1.2"), kind="summary-image", scope_uid=of, study_instance_uid=STUDY),
    ]


def series(database, series_id=1):
    query = "SELECT state, generation, reopened, closes_at FROM series WHERE id = "
    (row,) = rows(database, f"{query}{series_id}")
    return row


def test_a_label_says_what_of_which_image_when_and_from_whom(database):
    images(database, 1, 2)
    assert reject(database, note(2)) == 1
    columns = "series_instance_uid, sop_instance_uid, code, meaning, reason, calling_ae_title"
    assert rows(database, f"SELECT {columns}, labelled_at FROM label") == [
        (SERIES, f"{SERIES}.2", "113001", "Rejected for Quality Reasons", "Motion blur", "PACS1",
         500.0)
    ]  # fmt: skip
    assert rows(database, "SELECT labels, value FROM tally WHERE name = 'rejected_images'") == [
        ("113001", 1.0)
    ]


def test_the_rejected_leave_the_judgement_and_their_scores_stay(database):
    images(database, 1, 2)
    reject(database, note(2))
    seen = closing.snapshot(database, 1)
    assert [(one.score, one.excluded) for one in seen.slices] == [(3.0, None), (None, WORDS)]
    assert seen.rejected == ""
    assert [uid for uid, _ in seen.images] == [f"{SERIES}.1"]
    assert rows(database, "SELECT score FROM frame ORDER BY id") == [(3.0,), (3.0,)]


def test_a_series_rejected_as_a_whole_keeps_its_network_s_judgement(database):
    images(database, 1, 2)
    reject(database, note(1, 2))
    seen = closing.snapshot(database, 1)
    assert seen.rejected == WORDS
    assert [one.score for one in seen.slices] == [3.0, 3.0]


def test_a_note_that_comes_first_is_kept_for_its_images(database):
    assert reject(database, note(1)) == 1
    images(database, 1)
    assert closing.snapshot(database, 1).rejected == WORDS


def test_a_closed_series_is_opened_again_and_its_reports_are_called_back(database):
    images(database, 1, 2)
    assert close(database, reports=reports())
    reject(database, note(1, 2))
    assert series(database) == ("open", 3, 0, 502.0)
    assert rows(database, "SELECT DISTINCT state, last_error FROM outbox") == [
        ("cancelled", "its images were rejected")
    ]
    assert rows(database, "SELECT report_due FROM study") == [(True,)]
    assert outbox.claim(database, ["pacs"], lease_s=60, now=1e6) is None


def test_whoever_was_about_to_close_it_has_to_look_again(database):
    images(database, 1)
    before = closing.snapshot(database, 1)
    reject(database, note(1))
    assert not close(database, before)
    assert series(database)[:2] == ("open", 2)
    assert close(database)


def test_a_series_still_open_closes_when_it_would_have(database):
    images(database, 1, now=1000.0)
    reject(database, note(1))
    assert series(database)[3] == 1030.0


def test_what_is_delivered_or_on_its_way_stays(database):
    images(database, 1)
    assert close(database, reports=reports(), to=Issue(("pacs", "folder"), held=""))
    parcel = outbox.claim(database, ["pacs"], lease_s=60, now=300.0)
    outbox.delivered(database, parcel, 300.0)
    assert outbox.claim(database, ["pacs"], lease_s=60, now=300.0) is not None
    reject(database, note(1))
    states = rows(database, "SELECT destination, state FROM outbox ORDER BY destination, state")
    assert states == [
        ("folder", "cancelled"), ("folder", "cancelled"),
        ("pacs", "delivered"), ("pacs", "leased"),
    ]  # fmt: skip


def test_another_series_picture_of_the_same_report_is_not_called_back(database):
    images(database, 1)
    images(database, 1, facts=facts(series_instance_uid=OTHER))
    assert close(database)
    assert close(database, reports=reports(of=SERIES), series=2)
    reject(database, note(1, series=OTHER))
    states = rows(database, "SELECT state FROM outbox ORDER BY id")
    assert states == [("cancelled",), ("waiting",)]
    assert series(database, 1)[0] == "closed"
    assert series(database, 2)[0] == "open"


def test_the_same_note_again_changes_nothing(database):
    images(database, 1)
    assert reject(database, note(1)) == 1
    assert close(database)
    assert reject(database, note(1)) == 0
    assert reject(database, note(1, uid="7.2")) == 0, "nor does another that says the same"
    assert series(database)[0] == "closed"
    assert rows(database, "SELECT count(*) FROM label") == [(2,)]


def test_documents_of_a_series_are_no_images_to_reject(database):
    receive(database, 1, set_aside="Encapsulated PDF objects are not assessed")
    assert close(database)
    reject(database, note(1))
    assert series(database)[0] == "closed"


@pytest.mark.parametrize(
    ("reasons", "uids", "words"),
    [({"a": "x", "b": "y"}, ["a", "b"], "x; y"), ({"a": "x"}, ["a", "b"], ""), ({}, [], "")],
)
def test_wholly_is_every_one(reasons, uids, words):
    assert labels.wholly(reasons, uids) == words
