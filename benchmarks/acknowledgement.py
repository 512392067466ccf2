"""Acknowledgement: how long senders at scanner pace wait for 0x0000 while the gate scores.

    python benchmarks/acknowledgement.py [--senders 4] [--rate 50] [--seconds 20] [--json FILE]

The whole gate runs (`iqgate serve`). Each sender holds one association, carries one series of CT
slices and sends by the clock, its share of the rate; a time is from the first byte of the C-STORE
to its answer. The slices are the simulated ones of `python -m trainer phantom` under fresh UIDs.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import BytesIO
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from ingest import free_port
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--senders", type=int, default=4)
    parser.add_argument("--rate", type=float, default=50, help="images a second, all senders")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--processes", type=int, default=1, help="receiving processes")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    count = int(arguments.rate * arguments.seconds / arguments.senders)
    with tempfile.TemporaryDirectory() as name:
        sample = phantom(Path(name))
    series = [bodies(sample, count) for _ in range(arguments.senders)]
    with tempfile.TemporaryDirectory() as name, gate(Path(name), arguments.processes) as port:
        waits: list[float] = []
        interval_s = arguments.senders / arguments.rate
        senders = [
            threading.Thread(target=send, args=(port, one, interval_s, number, waits))
            for number, one in enumerate(series)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        scored = frames(Path(name) / "data" / "iqgate.db")
    cuts = statistics.quantiles(waits, n=100)
    figures = {
        "images": len(waits),
        "median_ms": 1000 * cuts[49],
        "p95_ms": 1000 * cuts[94],
        "p99_ms": 1000 * cuts[98],
        "longest_ms": 1000 * max(waits),
        "frames_when_sending_ended": scored,
    }
    print(json.dumps(figures, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))
    return 0


@contextmanager
def gate(folder: Path, processes: int) -> Iterator[int]:
    """`iqgate serve`, from when it is ready; yields its DICOM port."""
    port, http_port = free_port(), free_port()
    config = folder / "iqgate.toml"
    config.write_text(
        f'mode = "shadow"\ndata_dir = "data"\n[receive]\nport = {port}\nprocesses = {processes}\n'
        f"[watch]\nport = {http_port}\n"
    )
    command = [sys.executable, "-m", "service", "serve", "--config", str(config)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        while not ready(http_port):
            if process.poll() is not None:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


def ready(http_port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{http_port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, ConnectionError):
        return False


def phantom(folder: Path) -> list[Dataset]:
    command = [sys.executable, "-m", "trainer", "phantom", str(folder), "--slices", "6"]
    subprocess.run(command, check=True)
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
    port: int, series: list[tuple[str, bytes]], interval_s: float, number: int, waits: list[float]
) -> None:
    """One image every `interval_s`, late ones at once; adds each one's wait in seconds."""
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        associate(peer, f"CT{number}")
        due = time.monotonic() + interval_s * number / 4
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


def frames(path: Path) -> dict[str, int]:
    """Frames by state."""
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT state, count(*) FROM frame GROUP BY state"))


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    sys.exit(main())
