"""MPPS and instance availability, sent by pynetdicom over associations of their own."""

from __future__ import annotations

import threading
from io import BytesIO

import pytest
from pydicom import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_context
from pynetdicom.dimse_primitives import N_CREATE
from pynetdicom.sop_class import (
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
)

from service.config import Complete
from service.ledger import announcing
from service.ledger.wake import Waiter
from tests.factories import SERIES, STUDY, ct_slice
from tests.receive.test_scp import associated, send
from tests.waiting import wait_for

QUIET_S, SETTLE_S = Complete().quiet_s, Complete().settle_s
STEP_UID = "1.2.826.0.1.3680043.10.1.77"
MPPS, IAN = ModalityPerformedProcedureStep, InstanceAvailabilityNotification


def item(**values):
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def images(*numbers, **more):
    return [
        item(
            ReferencedSOPClassUID=CTImageStorage,
            ReferencedSOPInstanceUID=f"{SERIES}.{number}",
            **more,
        )
        for number in numbers
    ]


def performed(*numbers, series=SERIES):
    return item(
        SeriesInstanceUID=series,
        ProtocolName="Chest routine",
        ReferencedImageSequence=images(*numbers),
        ReferencedNonImageCompositeSOPInstanceSequence=[],
    )


def new_step(**changes):
    """An N-CREATE's attributes; None removes one."""
    values = {
        "ScheduledStepAttributesSequence": [item(StudyInstanceUID=STUDY)],
        "PatientName": "Doe^Jane",
        "PatientID": "PID-1",
        "PerformedProcedureStepID": "P1",
        "PerformedStationAETitle": "CT1",
        "PerformedProcedureStepStartDate": "20260101",
        "PerformedProcedureStepStartTime": "080000",
        "PerformedProcedureStepStatus": "IN PROGRESS",
        "Modality": "CT",
        "PerformedSeriesSequence": [],
        **changes,
    }
    return item(**{keyword: value for keyword, value in values.items() if value is not None})


def end_of_step(*numbers, status="COMPLETED"):
    return item(
        PerformedProcedureStepStatus=status,
        PerformedProcedureStepEndDate="20260101",
        PerformedProcedureStepEndTime="081500",
        PerformedSeriesSequence=[performed(*numbers)],
    )


def available(*numbers, availability="ONLINE", series=SERIES):
    return item(
        ReferencedPerformedProcedureStepSequence=[],
        StudyInstanceUID=STUDY,
        ReferencedSeriesSequence=[
            item(
                SeriesInstanceUID=series,
                ReferencedSOPSequence=images(
                    *numbers, InstanceAvailability=availability, RetrieveAETitle="PACS"
                ),
            )
        ],
    )


def create(one, ds, uid=STEP_UID, sop_class=MPPS, calling="MODALITY_MPPS"):
    """N-CREATE on an association of its own; status and attributes."""
    with associated(one.port, build_context(sop_class), calling=calling) as association:
        return association.send_n_create(ds, sop_class, uid)


def change(one, ds, uid=STEP_UID):
    with associated(one.port, build_context(MPPS), calling="RIS") as association:
        return association.send_n_set(ds, MPPS, uid)[0]


def closes_at(one):
    ((at,),) = one.rows("SELECT closes_at FROM series")
    return at


def test_a_completed_step_closes_its_series_early(make_scp):
    one = make_scp()
    assert create(one, new_step())[0].Status == 0x0000
    for number in (1, 2):
        assert send(one.port, ct_slice(number)) == 0
    assert closes_at(one) == 1000 + QUIET_S
    one.now = 1005.0
    assert change(one, end_of_step(1, 2)).Status == 0x0000
    assert closes_at(one) == 1005 + SETTLE_S
    assert one.rows("SELECT sop_instance_uid, state, calling_ae_title FROM announcement") == [
        (STEP_UID, "COMPLETED", "MODALITY_MPPS")
    ]


def test_a_step_completed_first_closes_with_its_last_image(make_scp):
    one = make_scp()
    create(one, new_step())
    assert change(one, end_of_step(1, 2)).Status == 0
    send(one.port, ct_slice(1))
    assert closes_at(one) == 1000 + QUIET_S
    one.now = 1003.0
    send(one.port, ct_slice(2))
    assert closes_at(one) == 1003 + SETTLE_S


def test_a_discontinued_step_counts_and_may_be_without_series(make_scp):
    one = make_scp()
    send(one.port, ct_slice(1))
    create(one, new_step())
    assert change(one, end_of_step(1, status="DISCONTINUED")).Status == 0
    assert closes_at(one) == 1000 + SETTLE_S
    create(one, new_step(), "1.2.3")
    without = item(PerformedProcedureStepStatus="DISCONTINUED", PerformedSeriesSequence=[])
    assert change(one, without, "1.2.3").Status == 0


def test_it_wakes_whoever_closes_series(make_scp):
    one = make_scp()
    send(one.port, ct_slice(1))
    waiter = Waiter(one.wake, "conclude")
    woken = threading.Thread(target=waiter.wait, args=(20,))
    woken.start()
    assert create(one, available(1), sop_class=IAN)[0].Status == 0
    woken.join(10)
    assert not woken.is_alive()
    waiter.close()


def test_what_has_ended_may_no_longer_be_updated(make_scp):
    one = make_scp()
    create(one, new_step())
    assert change(one, end_of_step(1)).Status == 0
    refused = change(one, end_of_step(1, 2))
    assert (refused.Status, refused.ErrorID) == (0x0110, 0xA710)
    assert refused.ErrorComment == "Performed Procedure Step Object may no longer be updated"
    assert one.rows("SELECT instances FROM announced_series") == [(1,)]


@pytest.mark.parametrize(
    ("changes", "status", "comment"),
    [
        ({"PerformedProcedureStepStatus": None}, 0x0120, "missing: PerformedProcedureStepStatus"),
        ({"PerformedProcedureStepID": None}, 0x0120, "missing: PerformedProcedureStepID"),
        ({"PerformedStationAETitle": ""}, 0x0121, "empty: PerformedStationAETitle"),
        (
            {"ScheduledStepAttributesSequence": []},
            0x0121,
            "empty: ScheduledStepAttributesSequence",
        ),
        ({"ScheduledStepAttributesSequence": [item()]}, 0x0120, "missing: StudyInstanceUID"),
        ({"PerformedSeriesSequence": [item()]}, 0x0120, "missing: SeriesInstanceUID"),
        ({"PerformedProcedureStepStatus": "COMPLETED"}, 0x0106, "a step begins IN PROGRESS"),
        (
            {"PerformedProcedureStepStatus": "DONE"},
            0x0106,
            "Performed Procedure Step Status is not known",
        ),
    ],
)
def test_a_step_that_is_not_as_it_must_be_is_refused(make_scp, changes, status, comment):
    one = make_scp()
    refused, _ = create(one, new_step(**changes))
    assert refused.Status == status
    assert refused.ErrorComment == comment
    assert one.rows("SELECT count(*) FROM announcement") == [(0,)]


def test_a_uid_that_is_taken_and_one_that_is_not(make_scp):
    one = make_scp()
    create(one, new_step())
    assert create(one, new_step())[0].Status == 0x0111
    assert change(one, end_of_step(1), "1.2.3").Status == 0x0112
    assert change(one, item(PerformedProcedureStepStatus="DONE")).Status == 0x0106
    assert change(one, item(PerformedProcedureStepStatus="COMPLETED")).Status == 0x0121


def test_without_a_uid_the_step_is_given_one(make_scp):
    one = make_scp()
    status, given = create(one, new_step(), uid=None)
    assert status.Status == 0
    assert "PatientName" not in (given or Dataset())
    ((uid,),) = one.rows("SELECT sop_instance_uid FROM announcement")
    assert uid.startswith("2.25.")


def test_what_an_archive_holds_online_closes_a_series(make_scp):
    one = make_scp()
    send(one.port, ct_slice(1))
    offline = available(1, availability="UNAVAILABLE")
    assert create(one, offline, "1.2.1", sop_class=IAN)[0].Status == 0
    assert closes_at(one) == 1000 + QUIET_S
    assert create(one, available(1), "1.2.2", sop_class=IAN, calling="PACS")[0].Status == 0
    assert closes_at(one) == 1000 + SETTLE_S
    assert create(one, available(1), "1.2.2", sop_class=IAN)[0].Status == 0x0111
    empty = item(StudyInstanceUID=STUDY, ReferencedSeriesSequence=[])
    assert create(one, empty, "1.2.3", sop_class=IAN)[0].Status == 0x0121


def test_bytes_that_do_not_parse_are_refused_and_the_daemon_goes_on(make_scp):
    one = make_scp()
    with associated(one.port, build_context(MPPS, ExplicitVRLittleEndian)) as association:
        request = N_CREATE()
        request.MessageID = 1
        request.AffectedSOPClassUID = MPPS
        request.AffectedSOPInstanceUID = STEP_UID
        nested = b"\x40\x00\x40\x03SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
        request.AttributeList = BytesIO(nested * 20_000)
        # as send_n_create does: else the association's own thread takes the answer
        association._reactor_checkpoint.clear()
        wait_for("the pause", lambda: association._is_paused)
        association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
        _, answer = association.dimse.get_msg(block=True)
        association._reactor_checkpoint.set()
        assert answer.Status == 0x0110
    assert create(one, new_step())[0].Status == 0


def test_a_ledger_that_cannot_be_written_is_said(make_scp):
    one = make_scp()
    with one.database.write() as connection:
        connection.exec_driver_sql("DROP TABLE announced_series")
        connection.exec_driver_sql("DROP TABLE announcement")
    assert create(one, new_step())[0].Status == 0x0213


def test_an_association_for_steps_alone_carries_no_objects(make_scp):
    one = make_scp()
    create(one, new_step())
    assert one.rows("SELECT count(*) FROM association") == [(0,)]


def test_a_killed_receiver_forgets_no_step_it_acknowledged(make_scp, monkeypatch):
    """Its row is committed before the answer: a receiver that dies in between is asked again."""
    first = make_scp()
    create(first, new_step())
    second = make_scp()  # another process on the same ledger
    assert create(second, new_step())[0].Status == 0x0111
    assert change(second, end_of_step(1)).Status == 0
    order = []
    announce = announcing.announce

    def spied(*arguments, **named):
        outcome = announce(*arguments, **named)
        order.append(first.rows("SELECT count(*) FROM announcement"))
        return outcome

    monkeypatch.setattr(announcing, "announce", spied)
    assert create(first, new_step(), "1.2.3")[0].Status == 0
    assert order == [[(2,)]]


def test_contexts_and_their_syntaxes(make_scp):
    proposed = [ImplicitVRLittleEndian, ExplicitVRLittleEndian]
    contexts = [build_context(one, proposed) for one in (MPPS, IAN)]
    with associated(make_scp().port, *contexts) as association:
        accepted = {
            one.abstract_syntax: one.transfer_syntax for one in association.accepted_contexts
        }
    assert accepted == {MPPS: [ExplicitVRLittleEndian], IAN: [ExplicitVRLittleEndian]}
    refusing = make_scp(announcements=False)
    association = AE().associate("127.0.0.1", refusing.port, contexts, ae_title="IQGATE")
    assert not association.is_established


def test_a_notification_cannot_be_set(make_scp):
    one = make_scp()
    with associated(one.port, build_context(IAN)) as association:
        association.send_n_set(end_of_step(1), IAN, "1.2.3")
        wait_for("the abort", lambda: not association.is_established)
    assert create(one, new_step())[0].Status == 0
