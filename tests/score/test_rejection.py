"""Rejected images and reports: none for a series of them, another where some are left."""

from __future__ import annotations

from io import BytesIO

import pytest
from pydicom import dcmread

from service.config import Report, Settings
from service.judge.policy import parse_policy
from service.ledger import closing, labels, outbox
from service.ledger.labels import RejectionNote
from service.score.conclude import Concluder
from tests.factories import BUNDLE, SERIES, ct_slice, facts, receive, spooled
from tests.ledger.test_closing import rows, score_all

OTHER = f"{SERIES}9"
POLICY = parse_policy('[[rule]]\nname = "ct"\nmodality = "CT"\nmeets = 2.5\nminimum_slices = 1\n')
REJECTED = "rejected by PACS1 (Rejected for Quality Reasons)"


def text(report):
    """All that a report says in words."""
    return "\n".join(str(one.value) for one in report.iterall() if one.keyword == "TextValue")


class Room:
    """A ledger whose series are concluded as the score role does it."""

    def __init__(self, database, folder, scope):
        self.database = database
        self.settings = Settings(
            mode="report",
            commissioning="waived",
            data_dir=folder,
            report=Report(scope=scope, summary_image="always"),
        )
        self.concluder = Concluder(self.settings, database, POLICY, lambda _: BUNDLE)
        self.notes = 0

    def images(self, *numbers, series=SERIES):
        for number in numbers:
            path = spooled(self.settings.spool, ct_slice(number, SeriesInstanceUID=series))
            of_series = facts(series_instance_uid=series)
            receive(self.database, number, facts=of_series, path=path)
        score_all(self.database)

    def reject(self, *numbers, series=SERIES):
        self.notes += 1
        note = RejectionNote(
            f"7.{self.notes}",
            "113001",
            "Rejected for Quality Reasons",
            "",
            tuple((series, f"{series}.{number}") for number in numbers),
        )
        labels.reject(self.database, note, calling_ae_title="PACS1", settle_s=2.0, now=500.0)

    def conclude(self):
        """Close what is due and report studies that are."""
        for one in closing.due_series(self.database, 1e6):
            assert self.concluder.conclude(one, 2000.0)
        if self.settings.report.scope == "study":
            for one in closing.due_studies(self.database):
                assert self.concluder.report_study(one, 2000.0)

    def deliver(self):
        """Bring all that waits to its destination; the structured reports among it."""
        delivered = []
        while (
            parcel := outbox.claim(self.database, ["folder"], lease_s=9, now=3000.0)
        ) is not None:
            outbox.delivered(self.database, parcel, 3000.0)
            delivered.append(dcmread(BytesIO(parcel.body)))
        return [one for one in delivered if one.Modality == "SR"]

    def verdicts(self):
        return rows(
            self.database,
            "SELECT series_id, verdict, score FROM assessment WHERE current ORDER BY series_id",
        )


@pytest.fixture(params=["study", "series"])
def room(request, database, tmp_path):
    return Room(database, tmp_path, request.param)


@pytest.fixture
def study_room(database, tmp_path):
    return Room(database, tmp_path, "study")


def test_a_rejected_series_is_judged_and_not_reported(room):
    room.images(1, 2)
    room.reject(1, 2)
    room.conclude()
    assert room.verdicts() == [(1, "meets", 3.0)]
    assert rows(room.database, "SELECT count(*) FROM report") == [(0,)]
    seen = closing.snapshot(room.database, 1)
    assert seen.assessment.warnings[-1] == f"Not reported: all its images were {REJECTED}."
    assert rows(room.database, "SELECT report_due FROM study") == [(0,)]


def test_a_report_that_has_not_left_yet_never_does(room):
    room.images(1, 2)
    room.conclude()
    room.reject(1, 2)
    assert room.deliver() == []
    room.conclude()
    assert room.deliver() == []
    assert rows(room.database, "SELECT DISTINCT state FROM outbox") == [("cancelled",)]


def test_a_report_that_has_left_stays_without_a_successor(room):
    room.images(1, 2)
    room.conclude()
    assert len(room.deliver()) == 1
    room.reject(1, 2)
    room.conclude()
    assert room.deliver() == []
    assert rows(room.database, "SELECT DISTINCT state FROM outbox") == [("delivered",)]


def test_where_some_images_are_left_they_are_judged_anew(room):
    room.images(1, 2)
    room.conclude()
    (first,) = room.deliver()
    room.reject(2)
    room.conclude()
    seen = closing.snapshot(room.database, 1)
    assert (seen.assessment.slices_scored, seen.assessment.slices_total) == (1, 2)
    assert f"1 of 2 slices not scored: {REJECTED}." in seen.assessment.warnings
    (second,) = room.deliver()
    (predecessor,) = second.PredecessorDocumentsSequence
    named = predecessor.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert REJECTED in text(second)


def test_the_rest_of_the_study_is_reported_without_it(study_room):
    room = study_room
    room.images(1)
    room.images(1, series=OTHER)
    room.reject(1, series=OTHER)
    room.conclude()
    (report,) = room.deliver()
    assert SERIES in str(report)
    assert OTHER not in str(report).replace(SERIES + ".1", "")
    assert [verdict for _, verdict, _ in room.verdicts()] == ["meets", "meets"]


def test_a_study_report_is_superseded_by_one_without_the_rejected_series(study_room):
    room = study_room
    room.images(1)
    room.conclude()
    (alone,) = room.deliver()
    room.images(1, series=OTHER)
    room.conclude()
    (both,) = room.deliver()
    room.reject(1, series=OTHER)
    room.conclude()
    (again,) = room.deliver()
    assert again.SOPInstanceUID not in (alone.SOPInstanceUID, both.SOPInstanceUID)
    named = again.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    assert named.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == both.SOPInstanceUID


def test_a_picture_that_says_the_same_again_does_not_hold_the_study_up(study_room):
    room = study_room
    room.images(1)
    room.conclude()
    room.images(1, series=OTHER)
    room.conclude()
    assert len(room.deliver()) == 1
    kinds = rows(room.database, "SELECT kind, count(*) FROM report GROUP BY kind ORDER BY kind")
    assert kinds == [("structured-report", 2), ("summary-image", 2)]


def test_an_image_that_comes_after_all_others_were_rejected_is_reported(room):
    room.images(1)
    room.reject(1)
    room.conclude()
    room.images(2)
    room.conclude()
    (report,) = room.deliver()
    assert f"1 of 2 slices not scored: {REJECTED}." in text(report)
