"""The keep role as a process of a running gate; a gate backed up, lost, and restored elsewhere."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from pydicom import dcmread

from service.keep.jobs import JOBS
from tests.factories import write
from tests.gate import Gate, running_gate
from tests.peers import dcmsend, storescu
from tests.waiting import wait_for
from tests.whole.test_to_pacs import QUICK, series

pytestmark = pytest.mark.peer

OFTEN = """
[keep]
lease_s = 2
sweep_after_s = 60
every_s = {leases = 0.3, series = 0.3, statistics = 0.3, retention = 0.3, sweep = 0.3}
"""


def command(gate: Gate, *arguments: str) -> str:
    """What an `iqgate` command on this gate's configuration prints."""
    made = subprocess.run(
        [sys.executable, "-m", "service", *arguments, "--config", str(gate.config)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return made.stdout


def spooled(gate: Gate) -> list[str]:
    root = gate.data_dir / "spool"
    return sorted(str(path.relative_to(root)) for path in root.glob("??/*.dcm"))


def test_a_gate_keeps_house(tmp_path):
    configuration = QUICK + OFTEN + "images_bytes = 1\n"
    with running_gate(tmp_path / "gate", configuration) as gate:
        storescu(gate.port, series(tmp_path / "series", 4))
        wait_for("the report", lambda: list((gate.data_dir / "reports").glob("*.dcm")))
        wait_for("the images' removal", lambda: not spooled(gate))
        wait_for("the day", lambda: gate.rows("SELECT series FROM scanner_day") == [(1,)])
        assert gate.rows("SELECT why, count(*) FROM absent_file GROUP BY why") == [("removed", 4)]
        assert len(gate.assessments()) == 1
        ran = "SELECT name FROM job WHERE succeeded_at IS NOT NULL ORDER BY name"
        wait_for("every job", lambda: gate.rows(ran) == [(name,) for name in sorted(JOBS)])
        assert gate.rows("SELECT sum(failures) FROM job") == [(0,)]
        status = command(gate, "status")
        assert "job retention         done" in status
        assert "keep     ready" in status
        metrics = gate.text("/metrics")
        assert 'iqgate_job_last_success_timestamp_seconds{name="sweep"}' in metrics
        assert 'iqgate_job_failures_total{name="sweep"} 0.0' in metrics
        assert "iqgate_removed_objects_total 4.0" in metrics
        uid = gate.assessments()[0]["series_instance_uid"]
        assert "4 images of it were removed" in gate.text(f"/series/{uid}")
        killed = gate.kill_role("keep")
        again = "SELECT process FROM job WHERE name = 'leases' AND ended_at IS NOT NULL"
        wait_for(
            "the jobs to run again",
            lambda: any(not by.endswith(f":{killed}") for (by,) in gate.rows(again)),
            60,
        )


def test_a_backup_restored_elsewhere_resumes(tmp_path):
    """Nothing acknowledged before the backup is missing, and nothing is reported twice."""
    folder = tmp_path / "delivered"
    configuration = QUICK.replace("[deliver]", f'[deliver]\nfolder = "{folder}"')
    paths = series(tmp_path / "series", 10, SeriesInstanceUID="1.2.826.0.1.7.1")
    first_six = write(tmp_path / "first six", *map(dcmread, paths[:6]))
    reported = series(tmp_path / "reported", 4, SeriesInstanceUID="1.2.826.0.1.7.2")
    slow = configuration.replace("quiet_s = 1", "quiet_s = 600") + (
        "[receive.senders.STORESCU]\nwhole_series_on_one_association = true\n"
    )
    with running_gate(tmp_path / "first", slow) as gate:
        storescu(gate.port, reported)
        wait_for("the report", lambda: list(folder.glob("*.dcm")))
        wait_for("its delivery", lambda: gate.outbox() == [_DELIVERED])
        dcmsend(gate.port, first_six[0].parent)
        said = command(gate, "backup", str(tmp_path / "backup"))
        assert "10 images" in said
        acknowledged = gate.rows("SELECT sop_instance_uid FROM object ORDER BY 1")
        assert len(acknowledged) == 10
        gate.kill()
    shutil.rmtree(gate.data_dir)
    before = {path.name: path.read_bytes() for path in folder.glob("*.dcm")}

    other = Gate(tmp_path / "second")
    other.configure(configuration)
    said = command(other, "restore", str(tmp_path / "backup"))
    assert said.splitlines()[0].endswith("10 images")
    assert json.loads((tmp_path / "backup" / "backup.json").read_text())["objects"] == 10
    try:
        other.start()
        storescu(other.port, [*paths, *reported])
        wait_for(
            "a verdict on all slices",
            lambda: [one for one in other.assessments() if one["slices_scored"] == 10],
            60,
        )
        wait_for(
            "all delivered",
            lambda: all(state in ("delivered", "cancelled") for _, state, _ in other.outbox()),
        )
        now = other.rows("SELECT sop_instance_uid FROM object ORDER BY 1")
        assert set(acknowledged) <= set(now)
        assert len(now) == 14
        assert other.rows("SELECT count(*) FROM absent_file") == [(0,)]
        assert {path.name for path in folder.glob("*.dcm")} > set(before)
        assert {name: (folder / name).read_bytes() for name in before} == before
        of_series = [
            dcmread(path).CurrentRequestedProcedureEvidenceSequence[0]
            .ReferencedSeriesSequence[0].SeriesInstanceUID
            for path in folder.glob("*.dcm")
        ]  # fmt: skip
        assert sorted(of_series) == ["1.2.826.0.1.7.1", "1.2.826.0.1.7.2"]
    finally:
        other.stop()


_DELIVERED = ("structured-report", "delivered", "folder")
