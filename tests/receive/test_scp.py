"""The Storage SCP, over real associations on loopback."""

from __future__ import annotations

import socket
import struct
import threading
import zlib
from contextlib import contextmanager

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLSLossless,
)
from pynetdicom import AE, build_context
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from service import header
from service.errors import LedgerUnavailable
from service.ledger.database import Database
from service.ledger.postgresql import Patience
from service.receive.committer import Committer
from service.spool.objects import MARK
from tests.away import away
from tests.factories import ct_slice
from tests.receive.raw import send_bytes
from tests.waiting import wait_for


@contextmanager
def associated(port, *contexts, called="IQGATE", calling="CT1"):
    ae = AE(ae_title=calling)
    association = ae.associate("127.0.0.1", port, list(contexts), ae_title=called)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def send(port, ds, syntax=ExplicitVRLittleEndian):
    with associated(port, build_context(ds.SOPClassUID, [syntax])) as association:
        assert association.is_established
        return association.send_c_store(ds).Status


def test_an_image_is_durable_and_known_before_it_is_acknowledged(make_scp):
    one = make_scp()
    ds = ct_slice(1)
    assert send(one.port, ds) == 0x0000
    (path,) = one.spooled()
    stored = dcmread(path)
    assert stored.PixelData == ds.PixelData
    assert stored.PatientName == "Doe^Jane"
    assert stored.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert one.rows("SELECT sop_instance_uid, state, path FROM object") == [
        (ds.SOPInstanceUID, "image", str(path.relative_to(one.spool.root)))
    ]
    assert one.rows("SELECT state FROM frame") == [("waiting",)]
    assert "Doe" not in str(path)
    assert "PID" not in str(path)


def test_a_stored_image_wakes_the_score_role(make_scp):
    one = make_scp()
    woken = threading.Thread(target=one.score_waiter.wait, args=(20,))
    woken.start()
    send(one.port, ct_slice(1))
    woken.join(5)
    assert not woken.is_alive()


def test_the_same_image_twice_is_one(make_scp):
    one = make_scp()
    assert [send(one.port, ct_slice(1)) for _ in range(2)] == [0, 0]
    assert len(one.spooled()) == 1
    assert one.rows("SELECT generation FROM series") == [(1,)]


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_every_uncompressed_syntax_is_stored_as_sent(make_scp, syntax):
    one = make_scp()
    ds = ct_slice(1)
    body = encode(ds, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
    assert send_raw(one.port, body, ds.SOPInstanceUID, syntax) == 0
    (path,) = one.spooled()
    stored = dcmread(path)
    assert stored.file_meta.TransferSyntaxUID == syntax
    assert stored.StudyInstanceUID == ds.StudyInstanceUID
    assert path.read_bytes().endswith(body)


def test_the_acceptor_chooses_the_syntax_it_prefers(make_scp):
    one = make_scp()
    proposed = [JPEGBaseline8Bit, ImplicitVRLittleEndian, JPEGLSLossless, ExplicitVRLittleEndian]
    with associated(
        one.port,
        build_context(CTImageStorage, proposed),
        build_context(CTImageStorage, proposed[:3]),
        build_context(CTImageStorage, proposed[:2]),
    ) as association:
        accepted = [context.transfer_syntax[0] for context in association.accepted_contexts]
    assert accepted == [ExplicitVRLittleEndian, JPEGLSLossless, ImplicitVRLittleEndian]


def test_verification_yes_storage_commitment_no(make_scp):
    one = make_scp()
    with associated(
        one.port, build_context(Verification), build_context(StorageCommitmentPushModel)
    ) as association:
        assert association.send_c_echo().Status == 0
        assert [context.abstract_syntax for context in association.accepted_contexts] == [
            Verification
        ]
    assert one.rows("SELECT count(*) FROM association") == [(0,)], "it carried nothing"


@pytest.mark.parametrize(
    ("receive", "called", "calling"),
    [
        ({}, "OTHER", "CT1"),
        ({"calling_ae_titles": ("CT9",)}, "IQGATE", "CT1"),
        ({"addresses": ("10.0.0.0/8",)}, "IQGATE", "CT1"),
        ({"max_associations_per_address": 1}, "IQGATE", "CT1"),
        ({"max_associations": 1}, "IQGATE", "CT1"),
    ],
)
def test_who_may_not_associate(make_scp, receive, called, calling):
    one = make_scp(**receive)
    first = AE(ae_title="CT9").associate(
        "127.0.0.1", one.port, [build_context(Verification)], ae_title="IQGATE"
    )
    with associated(
        one.port, build_context(Verification), called=called, calling=calling
    ) as association:
        assert not association.is_established
        if "max_associations_per_address" in receive:
            assert association.is_rejected, "told so, not cut off"
    if first.is_established:
        first.release()


def test_an_address_turned_away_is_named_once(make_scp, caplog):
    one = make_scp(addresses=("10.0.0.0/8",))
    for _ in range(2):
        with associated(one.port, build_context(Verification)) as association:
            assert not association.is_established
    named = [row for row in caplog.messages if row.startswith("connection-refused")]
    assert named == ["connection-refused address=127.0.0.1 why='not in receive.addresses'"]


def test_documents_are_set_aside_or_refused(make_scp):
    pdf = ct_slice(1, SOPClassUID=EncapsulatedPDFStorage, Modality="DOC")
    taking = make_scp()
    assert send(taking.port, pdf) == 0
    assert taking.rows("SELECT state, reason FROM object") == [
        ("set-aside", "Encapsulated PDF objects are not assessed")
    ]
    refusing = make_scp(other_objects="refuse")
    other = ct_slice(2, SOPClassUID=EncapsulatedPDFStorage, Modality="DOC")
    assert send(refusing.port, other) == 0x0122
    assert refusing.rows("SELECT count(*) FROM object") == [(1,)]


def test_a_private_storage_class_is_set_aside(make_scp):
    one = make_scp()
    assert send(one.port, ct_slice(1, SOPClassUID="1.2.840.113619.4.30", Modality="OT")) == 0
    ((reason,),) = one.rows("SELECT reason FROM object")
    assert "private class 1.2.840.113619.4.30" in reason


def test_a_disk_near_its_reserve_refuses_before_it_is_full(make_scp):
    one = make_scp(disk_reserve_bytes=2**60)
    assert send(one.port, ct_slice(1)) == 0xA700
    assert one.spooled() == []
    one.reception.arrears.settle()
    assert one.rows("SELECT value FROM tally WHERE name = 'refused'") == [(1.0,)]


def test_a_spool_that_cannot_be_written_refuses_and_goes_on(make_scp):
    one = make_scp()
    for byte in range(256):
        (one.spool.root / f"{byte:02x}").write_bytes(b"")  # a file where a folder must be
    assert send(one.port, ct_slice(1)) == 0xA700
    for byte in range(256):
        (one.spool.root / f"{byte:02x}").unlink()
    assert send(one.port, ct_slice(1)) == 0


def test_an_object_store_that_goes_away_refuses_until_it_is_back(make_scp, object_store):
    one = make_scp(disk_reserve_bytes=2**60)  # which no disk of this host has to spare
    one.reception.spool = object_store.spool()
    one.reception.spool.prepare()
    assert send(one.port, ct_slice(1)) == 0
    object_store.stop()
    try:
        assert send(one.port, ct_slice(2)) == 0xA700
    finally:
        object_store.start()
    assert send(one.port, ct_slice(2)) == 0
    paths = {path for (path,) in one.rows("SELECT path FROM object")}
    assert paths | {MARK} == {key.removeprefix("a/prefix/") for key in object_store.objects()}
    assert len(paths) == 2
    assert one.spooled() == []


@pytest.mark.parametrize(
    ("overrides", "status"),
    [
        ({"StudyInstanceUID": None}, 0xC000),
        ({"SeriesInstanceUID": ""}, 0xC000),
        ({"NumberOfFrames": "4000000"}, 0xC000),
    ],
)
def test_what_cannot_be_filed_is_refused(make_scp, overrides, status):
    one = make_scp()
    ds = ct_slice(1, SOPInstanceUID="1.2.3.4", **overrides)
    assert send(one.port, ds) == status
    assert one.rows("SELECT count(*) FROM object") == [(0,)]


def test_a_dataset_that_is_not_what_the_command_says_is_refused(make_scp):
    one = make_scp()
    assert send_raw(one.port, encode(ct_slice(1), False, True), "1.2.3.999") == 0xA900


def test_a_nested_sequence_bomb_is_refused_and_the_daemon_goes_on(make_scp):
    one = make_scp()
    item = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    start = encode(_only(ct_slice(1), "SOPClassUID", "SOPInstanceUID"), False, True)
    assert send_raw(one.port, start + item * 50_000, ct_slice(1).SOPInstanceUID) == 0xC000
    assert send(one.port, ct_slice(2)) == 0


def test_a_deflate_bomb_is_refused_before_it_unfolds(make_scp, monkeypatch):
    monkeypatch.setattr(header, "MAX_INFLATED_BYTES", 10_000_000)
    one = make_scp()
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = packer.compress(bytes(50_000_000)) + packer.flush()
    syntax = DeflatedExplicitVRLittleEndian
    assert send_raw(one.port, bomb, "1.2.3.4", syntax) == 0xA700


def test_a_truncated_dataset_is_refused_or_kept_whole(make_scp):
    one = make_scp()
    body = encode(ct_slice(1), False, True)
    cut_in_header = body[: body.index(b"1.2.826") + 30]
    assert send_raw(one.port, cut_in_header, ct_slice(1).SOPInstanceUID) == 0xC000
    assert send_raw(one.port, body[:-1000], ct_slice(1).SOPInstanceUID) == 0
    (path,) = one.spooled()
    assert path.read_bytes().endswith(body[:-1000])


def _only(ds, *keywords):
    kept = Dataset()
    for keyword in keywords:
        setattr(kept, keyword, getattr(ds, keyword))
    return kept


def send_raw(port, body, sop_instance_uid, syntax=ExplicitVRLittleEndian):
    """C-STORE bytes as they are under a SOP Instance UID; the status."""
    with associated(port, build_context(CTImageStorage, syntax)) as association:
        return send_bytes(association, body, CTImageStorage, sop_instance_uid)


def test_an_object_over_the_limit_is_aborted_and_others_go_on(make_scp):
    one = make_scp(max_object_bytes=10_000)
    with associated(one.port, build_context(CTImageStorage, ExplicitVRLittleEndian)) as association:
        association.send_c_store(ct_slice(1))
        wait_for("the abort", lambda: not association.is_established)
    assert one.rows("SELECT count(*) FROM object") == [(0,)]
    wait_for("its end", lambda: one.rows("SELECT end FROM association") == [("aborted",)])


def test_a_pdu_that_claims_gigabytes_is_cut_off(make_scp):
    one = make_scp()
    with socket.create_connection(("127.0.0.1", one.port)) as peer:
        peer.sendall(struct.pack(">BBL", 1, 0, 0xFFFFFFF0) + bytes(100))
        peer.settimeout(10)
        assert peer.recv(100) == b""


def test_silent_peers_keep_nobody_out(make_scp):
    one = make_scp(max_associations_per_address=30)
    silent = [socket.create_connection(("127.0.0.1", one.port)) for _ in range(20)]
    try:
        assert send(one.port, ct_slice(1)) == 0
    finally:
        for peer in silent:
            peer.close()


def test_a_silent_peer_is_dropped_after_the_acse_timeout(make_scp):
    one = make_scp(acse_timeout_s=0.3)
    with socket.create_connection(("127.0.0.1", one.port)) as peer:
        peer.settimeout(10)
        assert peer.recv(100) == b""


@pytest.mark.parametrize(("how", "end"), [("release", "released"), ("abort", "aborted")])
def test_an_associations_end_is_recorded(make_scp, how, end):
    one = make_scp()
    association = AE(ae_title="CT1").associate(
        "127.0.0.1", one.port, [build_context(CTImageStorage)], ae_title="IQGATE"
    )
    getattr(association, how)()
    wait_for("its end", lambda: one.rows("SELECT end FROM association") == [(end,)])


def test_while_the_ledger_is_away_objects_are_refused_and_nothing_else_is_lost(make_scp):
    """An association that began then carries objects once it is back; one that ended then ends."""
    one = make_scp()
    context = build_context(CTImageStorage, [ExplicitVRLittleEndian])
    with associated(one.port, context, calling="CT2") as ended:
        assert ended.send_c_store(ct_slice(1)).Status == 0x0000
        with away(one.database) as outage, associated(one.port, context) as association:
            answer = association.send_c_store(ct_slice(2))
            assert (answer.Status, answer.ErrorComment) == (0xA700, "the ledger is away")
            ended.release()
            wait_for("the end", lambda: len(one.server.active_associations) == 1)
            with pytest.raises(LedgerUnavailable):
                one.reception.arrears.settle()
            outage.end()
            assert association.send_c_store(ct_slice(2)).Status == 0x0000
    one.reception.arrears.settle()
    ends = "SELECT calling_ae_title, end FROM association ORDER BY id"
    wait_for("both ends", lambda: one.rows(ends) == [("CT2", "released"), ("CT1", "released")])
    assert one.rows("SELECT value FROM tally WHERE name = 'refused'") == [(1.0,)]
    assert len(one.spooled()) == 2


def test_a_ledger_locked_for_long_refuses_in_time(make_scp, database):
    one = make_scp()
    hasty = Database(database.url, Patience(lock_s=0.2, answer_s=1))
    one.reception.database = hasty
    one.reception.committer = Committer(hasty, one.settings.complete)
    with associated(
        one.port, build_context(CTImageStorage, [ExplicitVRLittleEndian])
    ) as association:
        with database.write():
            answer = association.send_c_store(ct_slice(1))
        assert (answer.Status, answer.ErrorComment) == (0xA700, "the ledger is away")
        assert association.send_c_store(ct_slice(1)).Status == 0x0000
    hasty.dispose()
