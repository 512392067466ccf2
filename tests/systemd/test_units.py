"""The units, as systemd itself reads and judges them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from service.serve import GRACE_S, ROLES
from tests.peers import find_tool

UNITS = Path(__file__).parents[2] / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
INSTALLED = "/opt/iqgate/bin/iqgate"
MOST_EXPOSED = 25
"""Tenths of systemd's exposure level, 0…100."""


def settings(name: str) -> dict[str, list[str]]:
    """A unit's settings by `Section.Name`, in the order they stand there."""
    found: dict[str, list[str]] = {}
    section = ""
    for row in (UNITS / name).read_text("utf-8").splitlines():
        if row.startswith("["):
            section = row.strip("[]")
        elif row and not row.startswith("#"):
            key, _, value = row.partition("=")
            found.setdefault(f"{section}.{key}", []).append(value)
    return found


@pytest.fixture
def installed(tmp_path):
    """The units as installed where the `iqgate` command is this environment's, one GPU named."""
    command = Path(sys.executable).with_name("iqgate")
    for path in UNITS.iterdir():
        if path.is_file():
            text = path.read_text("utf-8").replace(INSTALLED, str(command))
            name = path.name.replace("@.", "@0.")
            (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


def analyze(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    tool = find_tool("systemd-analyze", "systemd")
    return subprocess.run(
        [tool, *arguments],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:", "SYSTEMD_COLORS": "0"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.peer
def test_systemd_finds_nothing_to_say(installed):
    names = sorted(path.name for path in installed.iterdir())
    checked = analyze(installed, "verify", "--man=no", "--recursive-errors=no", *names)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@pytest.mark.peer
@pytest.mark.parametrize("name", SERVICES)
def test_no_unit_is_exposed(installed, name):
    unit = name.replace("@.", "@0.")
    judged = analyze(
        installed, "security", "--offline=true", f"--threshold={MOST_EXPOSED}", "--no-pager", unit
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert "Overall exposure level" in judged.stdout


def test_there_is_a_unit_for_each_role():
    assert {f"iqgate-{role}.service" for role in ROLES} <= set(SERVICES)
    assert set(SERVICES) - {f"iqgate-{role}.service" for role in ROLES} == {
        "iqgate.service",
        "iqgate-score@.service",
    }


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_is_ready_when_it_says_so_and_reloads_by_signal(name):
    unit = settings(name)
    assert unit["Service.Type"] == ["notify"]
    assert unit["Service.ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert unit["Service.Restart"] == ["always"]
    assert int(unit["Service.WatchdogSec"][0]) >= 60
    assert int(unit["Service.TimeoutStopSec"][0]) > GRACE_S
    role = name.removesuffix(".service").removeprefix("iqgate").strip("-@") or "serve"
    assert unit["Service.ExecStart"] == [f"{INSTALLED} {role}"]


@pytest.mark.parametrize("name", SERVICES)
def test_units_differ_in_their_hardening_only_where_they_say_why(name):
    """What the GPU, the engines and the worker's priority need, and who is talked to."""
    may_differ = {
        "iqgate-score@.service": {
            "PrivateUsers", "PrivateDevices", "DeviceAllow", "MemoryDenyWriteExecute",
            "ProcSubset", "SystemCallFilter", "IPAddressDeny", "IPAddressAllow", "Environment",
            "TimeoutStartSec",
        },
        "iqgate-score.service": {
            "ProcSubset", "SystemCallFilter", "IPAddressDeny", "IPAddressAllow",
            "TimeoutStartSec",
        },
        "iqgate.service": {"ProcSubset", "SystemCallFilter", "TimeoutStartSec", "KillMode"},
    }.get(name, set())  # fmt: skip
    own = {"ExecStart", "WatchdogSec", "TimeoutStopSec"}
    first, unit = settings("iqgate-receive.service"), settings(name)
    different = {
        key.removeprefix("Service.")
        for key in first.keys() | unit.keys()
        if key.startswith("Service.") and first.get(key) != unit.get(key)
    }
    assert different - own == may_differ


def test_one_user_owns_the_state_everywhere():
    user = (UNITS / "sysusers.d" / "iqgate.conf").read_text("utf-8").splitlines()[-1]
    assert user.split()[:2] == ["u", "iqgate"]
    folders = (UNITS / "tmpfiles.d" / "iqgate.conf").read_text("utf-8")
    assert "d /var/lib/iqgate 0750 iqgate iqgate -" in folders
    for name in SERVICES:
        unit = settings(name)
        assert (unit["Service.User"], unit["Service.StateDirectory"]) == (["iqgate"], ["iqgate"])
        assert "IQGATE_DATA_DIR=/var/lib/iqgate" in " ".join(unit["Service.Environment"])


@pytest.mark.peer
def test_the_snippets_are_understood(tmp_path):
    """By systemd-sysusers and systemd-tmpfiles themselves, under a root of their own."""
    for tool, snippet in (("systemd-sysusers", "sysusers.d"), ("systemd-tmpfiles", "tmpfiles.d")):
        path = find_tool(tool, "systemd")
        root = tmp_path / "root"
        (root / "etc").mkdir(parents=True, exist_ok=True)
        options = ["--create"] if tool == "systemd-tmpfiles" else []
        if options and os.geteuid():
            pytest.skip("systemd-tmpfiles gives folders away, which root alone may do")
        shutil.copy(UNITS / snippet / "iqgate.conf", tmp_path / f"{snippet}.conf")
        done = subprocess.run(
            [path, f"--root={root}", *options, str(tmp_path / f"{snippet}.conf")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Failed" not in done.stderr
    assert "iqgate:x:" in (root / "etc" / "passwd").read_text()
    state = root / "var" / "lib" / "iqgate"
    assert state.is_dir()
    assert state.stat().st_mode & 0o777 == 0o750
