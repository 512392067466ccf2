"""Ingest: images a second into the gate, DCMTK storescp and Orthanc, same sender, same run.

    python benchmarks/ingest.py [--rounds 5] [--images 400] [--associations 1 4 8]
                                [--processes 1 2] [--json FILE]

The sender is DCMTK's storescu, one process an association. The gate's receive role (with each
number of receiving processes that is asked for) and Orthanc (SyncStorageArea on) acknowledge
durable images; storescp --fork does not fsync and is the ceiling. Receivers take turns within each
round, so that a busy moment hits all; medians are of rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

GATE, ORTHANC, STORESCP = "iqgate", "Orthanc, fsync", "storescp --fork, no fsync"
READY_S = 30.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=400, help="images a round and receiver")
    parser.add_argument("--associations", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--processes", type=int, nargs="+", default=[2], help="of the gate")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    for tool in ("storescu", "storescp"):
        if shutil.which(tool) is None:
            print(f"{tool} is not installed (Debian package dcmtk)", file=sys.stderr)
            return 2
    rates: dict[str, list[float]] = {}
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        receivers = {
            name: stack.enter_context(start(work / name.replace(" ", "-")))
            for name, start in available(arguments.processes).items()
        }
        for number in range(arguments.rounds):
            for associations in arguments.associations:
                order = list(receivers.items())
                for name, port in order[number % len(order) :] + order[: number % len(order)]:
                    folder = work / f"{number}-{associations}-{port}"
                    parts = slices(folder, arguments.images, associations)
                    os.sync()  # what was written before is not this receiver's to flush
                    rate = arguments.images / send(port, parts)
                    rates.setdefault(f"{name}|{associations}", []).append(rate)
                    shutil.rmtree(folder)
    figures = summary(rates, arguments)
    print_table(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))
    return 0


Start = Callable[[Path], AbstractContextManager[int]]


def available(processes: list[int]) -> dict[str, Start]:
    """The receivers that can be started here; each yields its port."""
    found: dict[str, Start] = {f"{GATE}, processes {n}": partial(gate, n) for n in processes}
    found[STORESCP] = storescp
    if orthanc_path() is not None:
        found[ORTHANC] = orthanc
    return found


def orthanc_path() -> str | None:
    return shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def slices(folder: Path, count: int, parts: int) -> list[list[Path]]:
    """`count` CT slices of 512², fresh UIDs, split over `parts` senders."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 2000, (512, 512), np.int16)
    study, series = generate_uid(), generate_uid()
    paths = []
    for number in range(1, count + 1):
        ds = Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
        ds.Modality, ds.PatientID, ds.PatientName = "CT", "BENCH", "Bench^Mark"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.InstanceNumber = number
        ds.Rows = ds.Columns = 512
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit, ds.PixelRepresentation = 15, 1
        ds.PixelData = (pixels + number).astype(np.int16).tobytes()
        ds["PixelData"].VR = "OW"
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        path = folder / f"{number}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return [paths[part::parts] for part in range(parts)]


def send(port: int, parts: list[list[Path]]) -> float:
    """Seconds until every sender is done. Raises CalledProcessError when one fails."""
    began = time.monotonic()
    senders = [
        subprocess.Popen(
            ["storescu", "-aec", "IQGATE", "127.0.0.1", str(port), *map(str, part)],
            env={**os.environ, "TCP_NODELAY": "1"},
        )
        for part in parts
    ]
    for sender in senders:
        if sender.wait():
            raise subprocess.CalledProcessError(sender.returncode, "storescu")
    return time.monotonic() - began


@contextmanager
def gate(processes: int, folder: Path) -> Iterator[int]:
    """The receive role alone, durable as always."""
    folder.mkdir(parents=True)
    port = free_port()
    config = folder / "iqgate.toml"
    config.write_text(
        f'mode = "shadow"\ndata_dir = "data"\n[receive]\nport = {port}\nprocesses = {processes}\n'
    )
    command = [sys.executable, "-m", "service", "receive", "--config", str(config)]
    upgrade = [sys.executable, "-m", "service", "db", "upgrade", "--config", str(config)]
    subprocess.run(upgrade, check=True)
    with ExitStack() as stack:
        for _ in range(processes):
            stack.enter_context(running(command, folder, port))
        yield port


@contextmanager
def storescp(folder: Path) -> Iterator[int]:
    folder.mkdir(parents=True)
    port = free_port()
    with running(["storescp", "--fork", "-od", str(folder), str(port)], folder, port):
        yield port


@contextmanager
def orthanc(folder: Path) -> Iterator[int]:
    folder.mkdir(parents=True)
    port = free_port()
    config = {
        "StorageDirectory": str(folder), "IndexDirectory": str(folder), "DicomAet": "IQGATE",
        "DicomPort": port, "HttpPort": free_port(), "DicomAlwaysAllowStore": True,
        "SyncStorageArea": True, "AuthenticationEnabled": False, "Plugins": [],
        "HttpBindAddresses": ["127.0.0.1"], "OverwriteInstances": False,
    }  # fmt: skip
    path = folder / "orthanc.json"
    path.write_text(json.dumps(config))
    with running([str(orthanc_path()), str(path)], folder, port):
        yield port


@contextmanager
def running(command: list[str], folder: Path, port: int) -> Iterator[None]:
    """A receiver, from when its port answers until the end of the block."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "TCP_NODELAY": "1"}
        )
    try:
        deadline = time.monotonic() + READY_S
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start; see {folder / 'log'}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def summary(rates: dict[str, list[float]], arguments: argparse.Namespace) -> dict[str, object]:
    rows = []
    for key, values in rates.items():
        name, associations = key.split("|")
        peer = rates.get(f"{ORTHANC}|{associations}") or rates[f"{STORESCP}|{associations}"]
        ratios = [mine / other for mine, other in zip(values, peer, strict=True)]
        rows.append(
            {
                "receiver": name,
                "associations": int(associations),
                "images_per_s": statistics.median(values),
                "lowest": min(values),
                "highest": max(values),
                "ratio_to_orthanc": statistics.median(ratios),
            }
        )
    return {"rounds": arguments.rounds, "images": arguments.images, "rows": rows}


def print_table(figures: dict[str, object]) -> None:
    print(f"{'receiver':28}{'assoc.':>7}{'images/s':>10}{'lowest':>9}{'highest':>9}{'ratio':>7}")
    rows = figures["rows"]
    assert isinstance(rows, list)
    for row in sorted(rows, key=lambda row: (row["associations"], row["receiver"])):
        print(
            f"{row['receiver']:28}{row['associations']:7}{row['images_per_s']:10.0f}"
            f"{row['lowest']:9.0f}{row['highest']:9.0f}{row['ratio_to_orthanc']:7.2f}"
        )


if __name__ == "__main__":
    sys.exit(main())
