"""Kill any process at any moment: nothing acknowledged is lost, nothing is reported twice."""

from __future__ import annotations

import threading

import pytest

from tests.gate import peer_table, running_gate
from tests.peers import free_port, orthanc, storescu
from tests.waiting import wait_for
from tests.whole.test_to_pacs import QUICK, series

pytestmark = pytest.mark.peer

SLOW_BATCHES = QUICK + "\n[score]\nbatch_size = 1\nlease_s = 1\n"


def test_a_worker_killed_mid_series_and_a_pacs_down_at_first(tmp_path):
    """One verdict, one report in PACS, no slice lost."""
    pacs_port = free_port()
    with running_gate(tmp_path / "gate", SLOW_BATCHES + peer_table(pacs_port)) as gate:
        paths = series(tmp_path / "series", 24)
        sending = threading.Thread(target=storescu, args=(gate.port, paths))
        sending.start()
        scored = "SELECT count(*) FROM frame WHERE state = 'scored'"
        wait_for("the first score", lambda: gate.rows(scored) != [(0,)])
        gate.kill_role("score")
        sending.join()
        wait_for("the verdict", gate.assessments, 60)
        failed = "SELECT count(*) FROM outbox WHERE attempts > 1 AND last_error IS NOT NULL"
        wait_for("failed deliveries", lambda: gate.rows(failed) == [(1,)])
        assert gate.outbox() in (
            [("structured-report", "waiting", "pacs")],
            [("structured-report", "leased", "pacs")],
        )
        with orthanc(tmp_path / "pacs", dicom_port=pacs_port) as pacs:
            wait_for("the report", lambda: len(pacs.get("/instances")) == 1, 30)
            wait_for("its delivery", lambda: gate.outbox()[0][1] == "delivered")
            (assessment,) = gate.assessments(current=False)
            assert assessment["slices_scored"] == 24
            assert gate.rows("SELECT count(*), count(DISTINCT object_id) FROM frame") == [(24, 24)]
            assert len(pacs.get("/instances")) == 1


def test_the_whole_gate_killed_mid_series(tmp_path):
    """Everything acknowledged before the kill is scored after it, and reported once."""
    with orthanc(tmp_path / "pacs") as pacs:
        configuration = SLOW_BATCHES + peer_table(pacs.dicom_port)
        with running_gate(tmp_path / "gate", configuration) as gate:
            paths = series(tmp_path / "series", 24)
            storescu(gate.port, paths[:16])
            gate.kill()
            acknowledged = gate.rows("SELECT count(*) FROM object")
            assert acknowledged == [(16,)]
            gate.start()
            storescu(gate.port, paths)
            wait_for(
                "a verdict on all slices",
                lambda: [one for one in gate.assessments() if one["slices_scored"] == 24],
                60,
            )
            wait_for(
                "all delivered",
                lambda: all(state in ("delivered", "cancelled") for _, state, _ in gate.outbox()),
            )
            reports = pacs.instances("SR")
            uids = {ds.SOPInstanceUID for ds in reports}
            delivered = [one for one in gate.outbox() if one[1] == "delivered"]
            assert len(reports) == len(uids) == len(delivered)
            assert gate.rows("SELECT count(*) FROM object") == [(24,)]


@pytest.mark.parametrize("role", ["receive", "deliver", "watch"])
def test_a_killed_role_comes_back(tmp_path, role):
    with running_gate(tmp_path / "gate", QUICK) as gate:
        killed = gate.kill_role(role)
        wait_for(
            f"another {role}",
            lambda: any(
                int(process.split(":")[1]) != killed
                for (process,) in gate.rows(
                    "SELECT process FROM role WHERE role = ? AND ready", role
                )
            ),
            40,
        )
        storescu(gate.port, series(tmp_path / "series", 4))
        wait_for("the verdict", gate.assessments)
        wait_for("the report", lambda: list((gate.data_dir / "reports").glob("*.dcm")))
