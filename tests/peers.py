"""Real peers: DCMTK's tools and Orthanc, started by the tests on loopback."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from pydicom import Dataset, dcmread

from tests.waiting import wait_for

REQUIRED = os.environ.get("IQGATE_REQUIRE_PEERS") == "1"


def find_tool(name: str, package: str) -> str:
    """The tool's path; a clear skip without it, a failure where peers are required."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        message = f"{name} is not installed (Debian package {package})"
        if REQUIRED:
            pytest.fail(message)
        pytest.skip(message)
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def storescu(
    port: int,
    paths: Sequence[Path],
    *options: str,
    called: str = "IQGATE",
    calling: str = "STORESCU",
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """DCMTK's storescu, all files on one association."""
    tool = find_tool("storescu", "dcmtk")
    return subprocess.run(
        [tool, "-aec", called, "-aet", calling, *options, "127.0.0.1", str(port), *map(str, paths)],
        check=check,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "TCP_NODELAY": "1"},
    )


def dcmsend(port: int, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """DCMTK's dcmsend, a whole folder, compressed files as they are."""
    tool = find_tool("dcmsend", "dcmtk")
    command = [tool, "-aec", "IQGATE", "--decompress-never", *options, "--scan-directories"]
    return subprocess.run(
        [*command, "127.0.0.1", str(port), str(folder)],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "TCP_NODELAY": "1"},
    )


@dataclass
class Orthanc:
    """A running Orthanc and its REST interface."""

    dicom_port: int
    http_port: int
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> Any:
        with urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as response:
            return json.loads(response.read())

    def post(self, path: str, body: Any) -> Any:
        request = Request(
            f"http://127.0.0.1:{self.http_port}{path}", json.dumps(body).encode(), method="POST"
        )
        with urlopen(request, timeout=60) as response:
            return json.loads(response.read())

    def instances(self, modality: str) -> list[Dataset]:
        """All stored instances of series of this modality."""
        found = self.post("/tools/find", {"Level": "Instance", "Query": {"Modality": modality}})
        datasets = []
        for instance in found:
            url = f"http://127.0.0.1:{self.http_port}/instances/{instance}/file"
            with urlopen(url, timeout=30) as response:
                datasets.append(dcmread(BytesIO(response.read())))
        return datasets

    def running(self) -> bool:
        try:
            return bool(self.get("/system"))
        except (URLError, ConnectionError):
            return False


@contextmanager
def orthanc(
    folder: Path,
    *,
    dicom_port: int | None = None,
    gate_port: int | None = None,
    synchronous: bool = False,
) -> Iterator[Orthanc]:
    """Orthanc on free ports, its storage in `folder`; it may send to the gate as IQGATE."""
    tool = find_tool("Orthanc", "orthanc")
    folder.mkdir(parents=True, exist_ok=True)
    dicom, http = dicom_port or free_port(), free_port()
    modality = {
        "AET": "IQGATE", "Host": "127.0.0.1", "Port": gate_port or 1,
        "AllowEcho": True, "AllowStore": True, "AllowFind": False, "AllowMove": False,
    }  # fmt: skip
    configuration = {
        "Name": "PACS", "StorageDirectory": str(folder), "IndexDirectory": str(folder),
        "DicomAet": "PACS", "DicomPort": dicom, "DicomCheckCalledAet": True,
        "DicomAlwaysAllowStore": True, "HttpPort": http, "RemoteAccessAllowed": False,
        "HttpBindAddresses": ["127.0.0.1"], "AuthenticationEnabled": False, "StableAge": 2,
        "SyncStorageArea": synchronous, "Plugins": [], "UnknownSopClassAccepted": True,
        "DicomModalities": {"gate": modality},
    }  # fmt: skip
    path = folder / "orthanc.json"
    path.write_text(json.dumps(configuration))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([tool, str(path)], stdout=log, stderr=log)
    peer = Orthanc(dicom, http, process)
    try:
        wait_for("Orthanc answers", peer.running, 30)
        yield peer
    finally:
        process.terminate()
        process.wait(20)
