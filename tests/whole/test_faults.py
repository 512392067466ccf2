"""A database that goes away and comes back, and processes killed, under load: nothing acknowledged
is lost, nothing is scored or reported twice, and nobody dies who could have waited."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.waiting import wait_for
from tests.whole.faults import OUT_OF_RESOURCES, under_load

pytestmark = pytest.mark.peer

AWAY_S = 45.0
LONG_S = 260.0


def readiness(faults):
    try:
        with urlopen(f"http://127.0.0.1:{faults.http_port}/readyz", timeout=20) as answer:
            return json.loads(answer.read())
    except HTTPError as error:
        return json.loads(error.read())


def status(faults):
    config = faults.site.folder / "watch.toml"
    return subprocess.run(
        [sys.executable, "-m", "service", "status", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
    )


def refused(faults):
    return faults.statuses()[f"0x{OUT_OF_RESOURCES:04X}"]


def whole(counted, *, studies, slices):
    """Whether the figures are what they must be."""
    exact = {
        "acknowledged": studies * slices,
        "without a row": 0,
        "without a file": 0,
        "rows twice": 0,
        "slices": studies * slices,
        "scored": studies * slices,
        "scores stored": studies * slices,
        "series": studies,
        "current assessments": studies,
        "series with one": studies,
        "studies delivered": studies,
    }
    assert {name: counted[name] for name in exact} == exact
    assert counted["in PACS"] == counted["UIDs in PACS"] == counted["delivered"]
    return counted["reports"] == counted["delivered"] == studies


def test_a_database_that_goes_away_under_load_costs_nothing(postgresql_server, tmp_path):
    with under_load(
        tmp_path, postgresql_server, receivers=1, workers=2, senders=2, studies=2, slices=12,
        pause_s=0.1, quiet_s=3, delay_s=0.1,
    ) as faults:  # fmt: skip
        wait_for("objects", lambda: faults.acknowledged() >= 6)
        faults.kill_worker(0)
        faults.restart_server(signal.SIGINT)

        def away():
            before = refused(faults)
            wait_for("refusals", lambda: refused(faults) >= before + 2)
            said = readiness(faults)
            assert not said["ready"]
            assert said["reasons"][0].startswith("the ledger is away: ")
            told = status(faults)
            assert told.returncode == 1
            assert "does not answer: " in told.stderr
            assert "Traceback" not in told.stderr

        faults.restart_server(signal.SIGQUIT, away)
        faults.settle(60)
        assert all(faults.living().values()), faults.living()
        assert set(faults.statuses()) <= {"0x0000", "0xA700"}
        assert faults.slowest_s("0xA700") < 5
        assert whole(faults.count(), studies=4, slices=12)
        logs = [one.read_text() for one in tmp_path.glob("*.log")]
        assert not [one for one in logs if '  File "' in one]
        assert sum("ledger-back" in one for one in logs) >= 5


@pytest.mark.faults
def test_everything_that_can_happen_to_it_in_some_minutes(postgresql_server, tmp_path):
    """`make test-faults` prints what was done, answered and counted."""
    wild = random.Random(1)
    studies, slices = 16, 24
    with under_load(
        tmp_path, postgresql_server, receivers=2, workers=3, senders=4, studies=studies,
        slices=slices, pause_s=0.25, quiet_s=10, delay_s=0.05,
    ) as faults:  # fmt: skip
        began = time.monotonic()

        def killing(seconds):
            """Kill workers at random for so long, each started again at once."""
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                pause(min(left, wild.uniform(4, 10)))
                faults.kill_worker(wild.randrange(3))

        def pause(seconds):
            until = time.monotonic() + seconds
            wait_for("the time", lambda: time.monotonic() >= until, seconds + 5)

        killing(20)
        faults.kill_receiver(0)
        killing(15)
        faults.restart_server(signal.SIGINT)
        killing(15)
        faults.kill_other("deliver")
        faults.restart_server(signal.SIGQUIT)
        killing(15)
        faults.restart_server(signal.SIGKILL)
        faults.kill_receiver(1)
        killing(15)
        faults.restart_server(signal.SIGINT, lambda: pause(AWAY_S))
        killing(15)
        faults.freeze_server(lambda: pause(20))
        faults.kill_other("keep")
        killing(10)
        wait_for("all sent", lambda: not faults.sending(), 300)
        faults.settle(300)
        counted = faults.count()
        told = {
            "seconds": round(time.monotonic() - began),
            "done": faults.done,
            "answers": faults.statuses(),
            "slowest_s": {one: round(faults.slowest_s(one), 1) for one in faults.statuses()},
            "counted": counted,
        }
        (tmp_path / "counted.json").write_text(json.dumps(told, indent=2))
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
        assert all(faults.living().values()), faults.living()
        whole(counted, studies=4 * studies, slices=slices)
        assert faults.slowest_s("0xA700") < 40
