"""The image, built and run as the Dockerfile's head says; `make test-image`.

Podman or Docker builds it. BASE in the environment names another base image than the Dockerfile's:
any with Python 3.11, `venv` and a package index that pip reaches.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from tests.packaging.image import ROOT, read_dockerfile
from tests.peers import REQUIRED, find_tool, free_port, storescu
from tests.waiting import wait_for

pytestmark = pytest.mark.image

IMAGE = "iqgate:test"
MOST_BYTES = 350 * 1000**2
"""What the gate and its libraries may add to the base; 300 MB when this was written."""
CONFINED = (
    "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL",
    "--security-opt", "no-new-privileges", "--env", "IQGATE_MODE=shadow",
)  # fmt: skip


def missing(why: str) -> None:
    if REQUIRED:
        pytest.fail(why)
    pytest.skip(why)


class Engine:
    """Podman or Docker."""

    def __init__(self, path: str) -> None:
        self.path = path

    def run(self, *words: str, check: bool = True, limit_s: float = 120) -> str:
        """One of its commands; what it printed, errors after the rest."""
        done = subprocess.run(
            [self.path, *words], capture_output=True, text=True, timeout=limit_s, check=False
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout + ("" if check else done.stderr)

    def can(self, *words: str, limit_s: float = 60) -> bool:
        """Whether a command succeeds."""
        done = subprocess.run(
            [self.path, *words], capture_output=True, timeout=limit_s, check=False
        )
        return done.returncode == 0

    def size(self, image: str) -> int:
        return int(json.loads(self.run("image", "inspect", image))[0]["Size"])


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """An engine that has built the image; the test skips where there is none that works."""
    found = [Engine(path) for name in ("podman", "docker") if (path := shutil.which(name))]
    working = [one for one in found if one.can("info")]
    if not working:
        missing("neither podman nor docker works here")
    one = working[0]
    base = os.environ.get("BASE", read_dockerfile()[0]["BASE"])
    if not one.can("image", "inspect", base) and not one.can("pull", base, limit_s=600):
        missing(f"the base image {base} cannot be had; BASE names another")
    formats = ["--format", "docker"] if Path(one.path).name == "podman" else []
    one.run(
        "build", *formats, "--build-arg", f"BASE={base}", "--target", "cpu", "--tag", IMAGE,
        str(ROOT), limit_s=900,
    )  # fmt: skip
    yield one
    one.run("rmi", "--force", IMAGE)


class Container:
    """The gate in a container; its volume and ports outlive a restart."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.name = f"iqgate-test-{uuid.uuid4().hex[:8]}"
        self.port, self.http_port = free_port(), free_port()

    def start(self) -> None:
        self.engine.run(
            "run", "--detach", "--name", self.name, *CONFINED,
            "--env", 'IQGATE_RECEIVE__ADDRESSES=["0.0.0.0/0"]',
            "--env", "IQGATE_COMPLETE__QUIET_S=3",
            "--volume", f"{self.name}:/var/lib/iqgate",
            "--publish", f"127.0.0.1:{self.port}:11112",
            "--publish", f"127.0.0.1:{self.http_port}:8642", IMAGE,
        )  # fmt: skip
        wait_for("the gate is ready", self.ready, 120)

    def ready(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.http_port}/readyz", timeout=10) as response:
                return bool(json.loads(response.read())["ready"])
        except (HTTPError, URLError, ConnectionError):
            return False

    def execute(self, *words: str) -> str:
        return self.engine.run("exec", self.name, *words)

    def count(self, table: str) -> int:
        code = (
            "import sqlite3; ledger = sqlite3.connect('file:iqgate.db?mode=ro', uri=True); "
            f"print(ledger.execute('SELECT COUNT(*) FROM {table}').fetchone()[0])"
        )
        return int(self.execute("python", "-c", code))

    def inspect(self) -> dict[str, dict[str, object]]:
        return dict(json.loads(self.engine.run("inspect", self.name))[0])

    def remove(self) -> None:
        self.engine.run("rm", "--force", self.name, check=False)


@pytest.fixture
def gate(engine: Engine) -> Iterator[Container]:
    container = Container(engine)
    try:
        yield container
    finally:
        container.remove()
        engine.run("volume", "rm", container.name, check=False)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A simulated chest, 24 slices."""
    folder = tmp_path_factory.mktemp("phantom")
    subprocess.run(
        [sys.executable, "-m", "trainer", "phantom", str(folder)],
        cwd=ROOT, check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    return sorted((folder / "good").glob("*.dcm"))


def test_a_series_gets_its_verdict_and_a_stop_drains(gate, series):
    gate.start()
    check = gate.inspect()["Config"]["Healthcheck"]["Test"]
    assert check[0] == "CMD"
    gate.execute(*check[1:])
    assert "IQGATE at 0.0.0.0:11112 answers" in gate.execute("iqgate", "echo", "self")
    storescu(gate.port, series)
    wait_for("a verdict", lambda: gate.count("assessment"), 60)
    assert gate.count("object") == len(series)
    began = time.monotonic()
    gate.engine.run("stop", "-t", "60", gate.name)
    assert time.monotonic() - began < 30
    assert gate.inspect()["State"]["ExitCode"] == 0


def test_what_was_acknowledged_survives_a_kill(gate, series):
    gate.start()
    sender = subprocess.Popen(
        [find_tool("storescu", "dcmtk"), "-v", "-aec", "IQGATE", "127.0.0.1", str(gate.port)]
        + [str(path) for path in series],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    acknowledged = 0
    for row in sender.stdout:
        acknowledged += "Received Store Response (Success)" in row
        if acknowledged == 5:
            gate.engine.run("kill", "--signal", "KILL", gate.name)
            break
    acknowledged += sender.communicate(timeout=60)[0].count("Received Store Response (Success)")
    gate.remove()
    gate.start()
    assert gate.count("object") >= acknowledged >= 5
    storescu(gate.port, series)
    assert gate.count("object") == len(series)


def test_another_user_is_told_what_is_closed_to_it(engine):
    out = engine.run("run", "--rm", "--user", "20000:20000", *CONFINED, IMAGE, check=False)
    assert "data_dir = /var/lib/iqgate: user 20000 may not write there" in out


def test_it_is_small_and_its_networks_are_whole(engine):
    base = os.environ.get("BASE", read_dockerfile()[0]["BASE"])
    assert engine.size(IMAGE) - engine.size(base) < MOST_BYTES
    command = ["bundle", "verify", "ct-md-iqa-compact"]
    assert "golden" in engine.run("run", "--rm", *CONFINED, IMAGE, *command)
