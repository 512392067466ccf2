"""A C-STORE sender that keeps a scanner's pace and times every answer."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import build_context
from pynetdicom.dsutils import decode, encode
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)

PDU_BYTES = 128 * 1024


def phantom(folder: Path) -> list[Dataset]:
    command = [sys.executable, "-m", "trainer", "phantom", str(folder), "--slices", "6"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return [dcmread(path) for path in sorted(folder.rglob("*.dcm"))]


def bodies(sample: list[Dataset], count: int) -> list[tuple[str, bytes]]:
    """A series of `count` slices, encoded: SOP Instance UID and dataset."""
    study, series = generate_uid(), generate_uid()
    made = []
    for number in range(count):
        ds = sample[number % len(sample)]
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
        ds.SOPInstanceUID, ds.InstanceNumber = generate_uid(), number + 1
        body = encode(ds, False, True)
        assert body is not None
        made.append((str(ds.SOPInstanceUID), body))
    return made


def send(
    port: int,
    series: list[tuple[str, bytes]],
    interval_s: float,
    waits: list[float],
    *,
    calling_ae_title: str = "CT",
    delay_s: float = 0.0,
) -> float:
    """One image every `interval_s` from `delay_s` on, late ones at once; adds each one's wait in
    seconds. When the association was released, by the wall clock."""
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        associate(peer, calling_ae_title)
        due = time.monotonic() + delay_s
        for sop_instance_uid, body in series:
            time.sleep(max(0.0, due - time.monotonic()))
            due += interval_s
            message = b"".join(store_request(sop_instance_uid, body))
            began = time.monotonic()
            peer.sendall(message)
            status = answer(peer)
            waits.append(time.monotonic() - began)
            if status != 0:
                raise RuntimeError(f"C-STORE answered 0x{status:04X}")
        peer.sendall(struct.pack(">BBLL", 5, 0, 4, 0))  # A-RELEASE-RQ
        receive(peer)
        return time.time()


def associate(peer: socket.socket, calling_ae_title: str) -> None:
    request = A_ASSOCIATE()
    request.application_context_name = "1.2.840.10008.3.1.1.1"
    request.calling_ae_title, request.called_ae_title = calling_ae_title, "IQGATE"
    context = build_context(CTImageStorage, ExplicitVRLittleEndian)
    context.context_id = 1
    request.presentation_context_definition_list = [context]
    longest = MaximumLengthNotification()
    longest.maximum_length_received = PDU_BYTES
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = generate_uid()
    request.user_information = [longest, implementation]
    peer.sendall(A_ASSOCIATE_RQ(request).encode())
    if receive(peer)[0] != 2:
        raise RuntimeError("the association was not accepted")


def store_request(sop_instance_uid: str, body: bytes) -> Iterator[bytes]:
    """The C-STORE-RQ (PS3.7 9.3.1.1) as P-DATA-TF PDUs."""
    command = Dataset()
    command.AffectedSOPClassUID, command.CommandField = CTImageStorage, 0x0001
    command.MessageID, command.Priority, command.CommandDataSetType = 1, 0, 1
    command.AffectedSOPInstanceUID = sop_instance_uid
    encoded = encode(command, True, True)
    assert encoded is not None
    group_length = struct.pack("<HHLL", 0, 0, 4, len(encoded))
    yield p_data(3, group_length + encoded)
    step = PDU_BYTES - 6
    for at in range(0, len(body), step):
        yield p_data(2 if at + step >= len(body) else 0, body[at : at + step])


def p_data(control: int, value: bytes) -> bytes:
    head = struct.pack(">BBLLBB", 4, 0, len(value) + 6, len(value) + 2, 1, control)
    return head + value


def answer(peer: socket.socket) -> int:
    """The status of the C-STORE-RSP."""
    pdu = receive(peer)
    if pdu[0] != 4:
        raise RuntimeError(f"PDU type {pdu[0]} instead of an answer")
    return int(decode(BytesIO(pdu[12:]), True, True).Status)


def receive(peer: socket.socket) -> bytes:
    """One PDU."""
    received = b""
    while len(received) < 6 or len(received) < 6 + struct.unpack_from(">L", received, 2)[0]:
        more = peer.recv(65536)
        if not more:
            raise RuntimeError("the connection ended")
        received += more
    return received
