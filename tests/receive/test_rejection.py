"""Rejection notes: built with highdicom, sent with storescu."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import pytest
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.dsutils import encode

from service.errors import UnreadableObject
from service.ledger import closing, labels
from service.receive import rejection
from tests.factories import SERIES, ct_slice, write
from tests.ledger.test_closing import close, score_all
from tests.peers import storescu
from tests.receive.test_scp import send

KOS_UID = "1.2.826.0.1.3680043.10.1.88"


def rejection_note(
    *numbers, title=codes.DCM.RejectedForQualityReasons, reason=codes.DCM.MotionBlur, uid=KOS_UID
):
    """A Key Object Selection of some slices, its title modified by a reason (PS3.16 TID 2010)."""
    evidence = [ct_slice(number) for number in numbers]
    content = hd.ko.KeyObjectSelection(document_title=title, referenced_objects=evidence)
    note = hd.ko.KeyObjectSelectionDocument(
        evidence=evidence,
        content=content,
        series_instance_uid=f"{KOS_UID}.1",
        series_number=99,
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer="Archive",
    )
    if reason is not None:
        modifier = hd.sr.CodeContentItem(
            name=codes.DCM.DocumentTitleModifier,
            value=reason,
            relationship_type=hd.sr.RelationshipTypeValues.HAS_CONCEPT_MOD,
        )
        note.ContentSequence.insert(0, modifier)
    return note


def encoded(ds):
    return encode(ds, False, True)


def test_a_note_sent_over_dicom_labels_its_images(make_scp, tmp_path):
    one = make_scp()
    for number in (1, 2):
        assert send(one.port, ct_slice(number)) == 0
    one.now = 1010.0
    (path,) = write(tmp_path / "note", rejection_note(2))
    storescu(one.port, [path], calling="PACS1")
    assert one.rows(
        "SELECT series_instance_uid, sop_instance_uid, code, meaning, reason, calling_ae_title,"
        " labelled_at, note_uid FROM label"
    ) == [
        (SERIES, f"{SERIES}.2", "113001", "Rejected for Quality Reasons", "Motion blur", "PACS1",
         1010.0, KOS_UID)
    ]  # fmt: skip
    assert one.rows("SELECT state, reason FROM object WHERE state <> 'image'") == [
        ("set-aside", "Key Object Selection Document objects are not assessed")
    ]
    (kept,) = [Path(name) for (name,) in one.rows("SELECT path FROM object WHERE id = 3")]
    assert (one.spool.root / kept).exists(), "the note is durable like any other object"
    score_all(one.database, now=2000)
    seen = closing.snapshot(one.database, 1)
    words = "rejected by PACS1 (Rejected for Quality Reasons, Motion blur)"
    assert [slice_.excluded for slice_ in seen.slices] == [None, words]


def test_it_is_a_label_before_it_is_acknowledged(make_scp, monkeypatch):
    """A receiver killed between the two is sent the note again, and that changes nothing."""
    one = make_scp()
    send(one.port, ct_slice(1))
    recorded = labels.reject

    def killed(*_arguments, **_named):
        raise OSError(5, "killed here")

    monkeypatch.setattr(labels, "reject", killed)
    assert send(one.port, rejection_note(1)) != 0
    assert one.rows("SELECT count(*) FROM label") == [(0,)]
    monkeypatch.setattr(labels, "reject", recorded)
    for _ in range(2):
        assert send(one.port, rejection_note(1)) == 0
    assert one.rows("SELECT count(*) FROM label") == [(1,)]
    assert one.rows("SELECT count(*) FROM object WHERE state = 'set-aside'") == [(1,)]


def test_a_closed_series_is_opened_again_by_it(make_scp):
    one = make_scp()
    send(one.port, ct_slice(1))
    score_all(one.database, now=1040)
    assert close(one.database, now=1040)
    one.now = 1100.0
    assert send(one.port, rejection_note(1)) == 0
    assert one.rows("SELECT state, closes_at FROM series WHERE id = 1") == [("open", 1102.0)]


@pytest.mark.parametrize("switch", [{"rejection_notes": False}, {"other_objects": "refuse"}])
def test_a_site_may_do_without(make_scp, switch):
    one = make_scp(**switch)
    send(one.port, ct_slice(1))
    refused = "other_objects" in switch
    assert send(one.port, rejection_note(1)) == (0x0122 if refused else 0)
    assert one.rows("SELECT count(*) FROM label") == [(0,)]


def test_a_selection_of_another_title_says_nothing(make_scp):
    one = make_scp()
    send(one.port, ct_slice(1))
    assert send(one.port, rejection_note(1, title=codes.DCM.ForTeaching, reason=None)) == 0
    assert one.rows("SELECT count(*) FROM label") == [(0,)]


@pytest.mark.parametrize(
    ("title", "code"),
    [
        (codes.DCM.RejectedForQualityReasons, "113001"),
        (codes.DCM.RejectedForPatientSafetyReasons, "113037"),
        (codes.DCM.IncorrectModalityWorklistEntry, "113038"),
        (codes.DCM.DataRetentionPolicyExpired, "113039"),
    ],
)
def test_the_four_titles_that_reject(title, code):
    note = rejection.read_note(
        encoded(rejection_note(1, 2, title=title, reason=None)), ExplicitVRLittleEndian
    )
    assert (note.code, note.meaning, note.reason) == (code, title.meaning, "")
    assert note.images == ((SERIES, f"{SERIES}.1"), (SERIES, f"{SERIES}.2"))


def test_only_what_its_content_names_is_rejected():
    ds = rejection_note(1, 2)
    del ds.ContentSequence[-1]
    note = rejection.read_note(encoded(ds), ExplicitVRLittleEndian)
    assert note.images == ((SERIES, f"{SERIES}.1"),)


def test_a_private_code_of_the_same_value_does_not_reject():
    ds = rejection_note(1)
    ds.ConceptNameCodeSequence[0].CodingSchemeDesignator = "99SITE"
    assert rejection.read_note(encoded(ds), ExplicitVRLittleEndian) is None


def test_a_note_without_evidence_is_kept_as_a_document(make_scp):
    ds = rejection_note(1)
    del ds.CurrentRequestedProcedureEvidenceSequence
    with pytest.raises(UnreadableObject, match="evidence"):
        rejection.read_note(encoded(ds), ExplicitVRLittleEndian)
    one = make_scp()
    assert send(one.port, ds) == 0
    assert one.rows("SELECT state FROM object") == [("set-aside",)]
