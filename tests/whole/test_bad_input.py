"""Hostile and odd files, over C-STORE and through `assess`: a status or a reason, never a crash."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from pydicom import dcmread
from pydicom.filereader import _read_file_meta_info
from pydicom.uid import UID
from pynetdicom import AE, build_context

from tests.factories import chest, ct_slice, part10, write
from tests.gate import running_gate
from tests.receive.raw import send_file
from tests.waiting import wait_for
from tests.whole.test_to_pacs import QUICK

SCORED = {"CT0012", "CTImage", "SignedCT", "6_1", "MOVEKNEE", "mr_brucker", "ISO_IR13"}
"""Name beginnings of the hostile files that are readable: CT slices and MR objects."""


def assess(*paths):
    """`iqgate assess --json`: its entries and exit status."""
    done = subprocess.run(
        [sys.executable, "-m", "service", "assess", "--json", *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return json.loads(done.stdout), done.returncode, done.stderr


def hostile_files(shared_data):
    return sorted(path for path in (shared_data / "hostile").rglob("*.dcm"))


def test_assess_gives_every_hostile_file_a_reason_or_a_score(shared_data):
    files = hostile_files(shared_data)
    entries, status, errors = assess(*files)
    assert status == 1
    assert "Traceback" not in errors
    by_path = {entry["path"]: entry for entry in entries if "path" in entry}
    slices = [one for entry in entries for one in entry.get("slices", ())]
    assert all(entry["reason"] for entry in entries)
    for one in slices:
        assert (one["score"] is None) != (one["excluded"] is None)
    for path in files:
        scored = any(path.name.startswith(name) for name in SCORED)
        if str(path) not in by_path:
            uid = str(dcmread(path, stop_before_pixels=True, force=True).SOPInstanceUID)
            mine = [one for one in slices if one["sop_instance_uid"] == uid]
            assert mine, path.name
            if not scored:
                assert all(one["score"] is None for one in mine), path.name
    assert all(entry["verdict"] != "meets" or entry["score"] is not None for entry in entries)


@pytest.mark.peer
def test_every_hostile_file_over_c_store_gets_a_status_and_the_gate_goes_on(shared_data, tmp_path):
    files = hostile_files(shared_data)
    with running_gate(tmp_path / "gate", QUICK) as gate:
        answered = {path.name: store(gate.port, path) for path in files}
        assert set(answered.values()) <= {0x0000, 0xA700, 0xA900, 0xC000, 0x0122, None}
        assert answered["2026-05-06-Deeply-Nested-Sequence.dcm"] == 0xC000
        taken = [name for name, status in answered.items() if status == 0]
        assert len(taken) >= 25
        good = [ct_slice(number, pixels=chest(256, seed=number)) for number in range(1, 5)]
        for path in write(tmp_path / "good", *good):
            assert store(gate.port, path) == 0
        closed = "SELECT count(*) FROM series WHERE state = 'open'"
        wait_for("every series closed", lambda: gate.rows(closed) == [(0,)], 60)
        series_count = gate.rows("SELECT count(*) FROM series")[0][0]
        assessments = gate.assessments()
        assert len(assessments) == series_count
        for one in assessments:
            assert one["reason"]
            if one["verdict"] == "meets":
                assert one["slices_scored"] > 0
        states = gate.rows("SELECT DISTINCT state FROM frame")
        assert set(states) <= {("scored",), ("excluded",)}
        assert gate.rows("SELECT count(*) FROM role WHERE role = 'score' AND ready") == [(1,)]


def store(port, path):
    """C-STORE a file's dataset as it is; None for a file without file meta to send it under."""
    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":
            return None
        meta = _read_file_meta_info(file)
    context = build_context(UID(str(meta.MediaStorageSOPClassUID)), meta.TransferSyntaxUID)
    association = AE().associate("127.0.0.1", port, [context], ae_title="IQGATE")
    assert association.is_established
    status = send_file(association, path)
    if association.is_established:
        association.release()
    return status


@pytest.mark.parametrize("content", [b"", b"not DICOM", bytes(200) + b"DICM", b"\0" * 4096])
def test_files_that_are_not_dicom(tmp_path, content):
    path = tmp_path / "odd.dcm"
    path.write_bytes(content)
    entries, status, _ = assess(path)
    assert status == 1
    assert entries[0]["path"] == str(path)
    assert entries[0]["verdict"] == "not-assessed"
    assert entries[0]["reason"]


def test_truncated_files_are_not_assessed(tmp_path):
    whole = part10(ct_slice(1))
    for length in (140, 400, 1000, len(whole) - 10):
        (tmp_path / f"{length}.dcm").write_bytes(whole[:length])
    entries, status, errors = assess(tmp_path)
    assert status == 1
    assert "Traceback" not in errors
    assert all(entry["verdict"] == "not-assessed" for entry in entries)


def test_one_truncated_slice_among_good_ones_is_named_not_hidden(tmp_path):
    datasets = [ct_slice(number, pixels=chest(256, seed=number)) for number in range(1, 7)]
    paths = write(tmp_path, *datasets)
    paths[2].write_bytes(paths[2].read_bytes()[:-500])
    entries, _, _ = assess(tmp_path)
    (bad,) = [one for one in entries[0]["slices"] if one["excluded"]]
    assert "cut short" in bad["excluded"]
    assert bad["sop_instance_uid"] == datasets[2].SOPInstanceUID


def test_a_missing_path_is_bad_usage(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "service", "assess", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no such file or folder" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
