"""`iqgate serve` under a service manager: what it says, what it rereads, how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_context

from service.serve import ROLES
from tests.factories import ct_slice
from tests.gate import Gate, running_gate
from tests.peers import storescu
from tests.waiting import wait_for
from tests.whole.test_to_pacs import QUICK, series

RULE = """
[[rule]]
name = "{name}"
modality = "CT"
meets = {meets}
"""


@pytest.fixture
def said(tmp_path, monkeypatch):
    """All that the gate tells its service manager, as it comes."""
    lines: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        def listen():
            while (heard := listening.recv(4096).decode()) != "over":
                lines.extend(heard.splitlines())

        listener = threading.Thread(target=listen)
        listener.start()
        yield lines
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ending:
            ending.sendto(b"over", str(tmp_path / "notify"))
        listener.join(20)


def reload(gate: Gate, lines: list[str]) -> None:
    """Have the gate read its configuration anew, and wait until every role has."""
    assert gate.process is not None
    before = len(gate.log())
    lines.clear()
    gate.process.send_signal(signal.SIGHUP)
    wait_for("the reload", lambda: "READY=1" in lines)

    def everybody() -> bool:
        log = gate.log()[before:]
        taken = log.count("iqgate.reload reloaded") == len(ROLES) and "iqgate.score policy" in log
        return taken or "iqgate.serve reload-refused" in log

    wait_for("every role's word on it", everybody)


def test_a_reload_drops_no_association_and_a_wrong_file_changes_nothing(tmp_path, said):
    policy = tmp_path / "policy.toml"
    policy.write_text(RULE.format(name="generous", meets=0.1))
    configuration = QUICK.replace("[complete]", f'policy = "{policy}"\n[complete]')
    contexts = [build_context(CTImageStorage, ExplicitVRLittleEndian)]

    def associate(calling):
        return AE(calling).associate("127.0.0.1", gate.port, contexts, ae_title="IQGATE")

    with running_gate(tmp_path / "gate", configuration) as gate:
        wait_for("READY", lambda: "READY=1" in said)
        assert said.index("READY=1") > said.index("WATCHDOG=1")
        held = associate("CT1")
        assert held.send_c_store(ct_slice(1)).Status == 0

        policy.write_text(RULE.format(name="strict", meets=3.9))
        changed = configuration + '\n[receive]\ncalling_ae_titles = ["CT2"]\nmax_pdu_bytes = 8192\n'
        gate.configure(changed)
        reload(gate, said)
        assert "RELOADING=1" in said
        assert "restart-needed settings=receive.max_pdu_bytes" in gate.log()
        assert held.send_c_store(ct_slice(2)).Status == 0, "it was open before"
        assert associate("CT1").is_rejected
        admitted = associate("CT2")
        assert admitted.is_established
        admitted.release()

        gate.configure("mode = 'none'")
        policy.write_text("nonsense")
        reload(gate, said)
        assert "reload-refused" in gate.log()
        assert held.send_c_store(ct_slice(3)).Status == 0
        held.release()
        (assessment,) = wait_for("the verdict", gate.assessments)
        assert assessment["rule"] == "strict"
        assert associate("CT1").is_rejected

        gate.kill_role("deliver")
        wait_for("a role that cannot start", lambda: gate.log().count("role-died role=deliver") > 1)
        assert gate.process is not None
        assert gate.process.poll() is None, "a file spoilt later does not end a gate that runs"
        gate.configure(configuration)
        running = "SELECT count(*) FROM role WHERE role = 'deliver' AND ready"
        wait_for("its return", lambda: gate.rows(running) == [(1,)], 60)
        said.clear()
    wait_for("STOPPING", lambda: "STOPPING=1" in said)


@pytest.mark.peer
def test_told_to_end_mid_series_nothing_stays_leased(tmp_path):
    slow = QUICK + "\n[score]\nbatch_size = 1\nlease_s = 600\n"
    with running_gate(tmp_path / "gate", slow) as gate:
        storescu(gate.port, series(tmp_path / "series", 24))
        scored = "SELECT count(*) FROM frame WHERE state = 'scored'"
        wait_for("the first score", lambda: gate.rows(scored) != [(0,)])
        gate.stop()
        assert "role-killed" not in gate.log()
        states = dict(gate.rows("SELECT state, count(*) FROM frame GROUP BY state"))
        assert set(states) <= {"waiting", "scored"}
        assert sum(states.values()) == 24
        assert gate.rows("SELECT count(*) FROM association WHERE end IS NULL") == [(0,)]
        assert gate.rows("SELECT count(*) FROM role") == [(0,)]


def test_a_role_that_hangs_is_killed_and_started_anew(tmp_path):
    """In a process of its own, whose supervisor is less patient than the product's."""
    config = tmp_path / "iqgate.toml"
    config.write_text(f'mode = "shadow"\ndata_dir = "{tmp_path / "data"}"\n[watch]\nport = 1\n')
    code = (
        "import sys, service.serve as s; from pathlib import Path\n"
        "from service.config import load_settings; from service import log\n"
        "log.configure(); s.ROLES = ('receive', 'score', 'deliver')\n"
        "s.processes = lambda settings: [('deliver', None)]; s.SILENT_AFTER_S = 8.0\n"
        "config = Path(sys.argv[1]); settings = load_settings(config); orders = s.Orders()\n"
        "s._announce(settings); sys.exit(s.Supervisor(settings, config, orders, 8.0).run())"
    )
    gate = Gate(tmp_path)
    with (tmp_path / "gate.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(config)], stdout=log, stderr=log
        )
    try:
        wait_for("ready", lambda: "iqgate.serve ready" in gate.log(), 60)
        (hung,) = gate.role_pids()
        os.kill(hung, signal.SIGSTOP)
        wait_for("its end", lambda: "role-hung role=deliver" in gate.log(), 30)
        wait_for("another", lambda: gate.role_pids() not in ([], [hung]), 30)
    finally:
        process.terminate()
        assert process.wait(40) == 0
