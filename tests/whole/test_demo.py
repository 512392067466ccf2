"""`iqgate demo`, what `make run` starts, up to Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.factories import chest, ct_slice, write
from tests.peers import free_port
from tests.waiting import wait_for


@pytest.mark.slow
def test_the_demo_prints_verdicts_and_report_and_ends_cleanly(tmp_path):
    write(tmp_path / "sample", *(ct_slice(n, pixels=chest(256, seed=n)) for n in range(1, 5)))
    out = tmp_path / "out"
    with out.open("wb") as file:
        demo = subprocess.Popen(
            [sys.executable, "-m", "service", "demo", "sample", "--data-dir", "data"],
            cwd=tmp_path,
            stdout=file,
            stderr=file,
            env={
                **os.environ,
                "IQGATE_RECEIVE__PORT": str(free_port()),
                "IQGATE_WATCH__PORT": str(free_port()),
            },
        )
    try:
        wait_for("the end of the show", lambda: "Ctrl-C ends it" in out.read_text(), 60)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(40) == 0
    finally:
        demo.kill()
        demo.wait()
    text = out.read_text()
    assert "sent 4 slices of 1 series to IQGATE" in text
    assert "CT series 3: Chest 1.0: " in text
    assert "Imaging Measurement Report" in text
    assert len(list((tmp_path / "data" / "reports").glob("*.dcm"))) >= 1
    assert "Traceback" not in text + (tmp_path / "data" / "demo.log").read_text()
