"""What the service manager is told, read from a socket as systemd would read it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest

from service import notify, role
from service.errors import LedgerUnavailable
from service.ledger import reading, roles
from service.role import Heart, Patience, at_start
from tests.away import away


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """A socket that stands for systemd's, in this process's environment."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        path = tmp_path / "notify"
        listening.bind(str(path))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield listening


def heard(manager):
    said = []
    while True:
        try:
            said.append(manager.recv(4096).decode().splitlines())
        except BlockingIOError:
            return said


def test_a_heart_says_when_it_is_ready_and_that_it_beats(database, manager):
    now = [100.0]
    heart = Heart(database, "score", clock=lambda: now[0])
    assert heard(manager) == []
    heart.say("building an engine")
    assert heard(manager) == [
        ["EXTEND_TIMEOUT_USEC=120000000", "WATCHDOG=1", "STATUS=building an engine"]
    ]
    heart.ready("ct")
    assert heard(manager) == [["WATCHDOG=1"], ["READY=1", "STATUS=ct"]]
    heart.beat()
    assert heard(manager) == [], "it is not due"
    now[0] += Heart.INTERVAL_S
    heart.beat()
    assert heard(manager) == [["WATCHDOG=1"]]
    heart.reloaded()
    assert heard(manager) == [["READY=1", "STATUS=ct"]]


def test_reloading_and_stopping(manager):
    notify.reloading()
    ((first, second),) = heard(manager)
    assert first == "RELOADING=1"
    assert int(second.removeprefix("MONOTONIC_USEC=")) > 0
    notify.stopping()
    assert heard(manager) == [["STOPPING=1"]]


def test_a_status_is_one_line(manager):
    notify.ready("one\nTWO=2" + "x" * 500)
    ((ready, status),) = heard(manager)
    assert (ready, len(status)) == ("READY=1", len("STATUS=") + 200)
    assert status.startswith("STATUS=one TWO=2xxx")


@pytest.mark.parametrize("address", ["", "relative", "/no/such/socket", "@nobody-listens-here"])
def test_nobody_there_is_no_error(address):
    assert not notify.tell("READY=1", environment={"NOTIFY_SOCKET": address})


@pytest.mark.usefixtures("manager")
def test_a_manager_that_reads_nothing_holds_nobody_up():
    taken = [notify.tell("WATCHDOG=1") for _ in range(2000)]
    assert taken[0]
    assert not taken[-1]


def test_readiness_waits_for_room_in_the_queue(manager):
    while notify.tell("WATCHDOG=1"):
        pass
    saying = threading.Thread(target=notify.ready, args=("ct",))
    saying.start()
    said = []
    while ["READY=1", "STATUS=ct"] not in said:
        said += heard(manager)
    saying.join(20)
    assert not saying.is_alive()


def test_the_supervisor_hears_who_speaks():
    listener = notify.Listener()
    try:
        assert listener.address.startswith("@")
        environment = {**os.environ, "NOTIFY_SOCKET": listener.address}
        code = "from service import notify; notify.ready('ct'); notify.alive()"
        child = subprocess.Popen([sys.executable, "-c", code], env=environment)
        assert child.wait(60) == 0
        assert listener.notices() == [
            notify.Notice(child.pid, {"READY": "1", "STATUS": "ct"}),
            notify.Notice(child.pid, {"WATCHDOG": "1"}),
        ]
        assert listener.notices() == []
    finally:
        listener.close()


def test_a_heart_that_waits_for_the_ledger_is_alive_and_says_so(database, manager):
    now = [100.0]
    heart = Heart(database, "score", clock=lambda: now[0])
    heart.ready("ct")
    heard(manager)
    with away(database):
        for _ in range(2):
            now[0] += Heart.INTERVAL_S
            heart.beat()
        assert heard(manager) == [["WATCHDOG=1", "STATUS=waits for the ledger"], ["WATCHDOG=1"]]
        heart.wait()
        assert heard(manager) == [["WATCHDOG=1"]]
        heart.stop()
    now[0] += Heart.INTERVAL_S
    heart.beat()
    assert heard(manager) == [["WATCHDOG=1", "STATUS=ct"]]


def test_a_process_that_starts_while_the_ledger_is_away_is_seen_later(database):
    with away(database):
        heart = Heart(database, "score", clock=lambda: 100.0)
    heart.ready("ct")
    with database.read() as connection:
        (seen,) = reading.roles(connection, 100.0)
    assert (seen.role, seen.started_at, seen.ready) == ("score", 100.0, True)


def test_patience_ends_where_the_process_is_told_to():
    asked = []

    def step():
        asked.append("step")
        raise LedgerUnavailable("away")

    def pause(seconds):
        asked.append(seconds)
        return len(asked) > 3

    with pytest.raises(LedgerUnavailable):
        Patience(pause)(step)
    assert asked == ["step", 2.0, "step", 2.0]


def test_a_process_that_begins_while_the_ledger_is_away_says_that_it_waits(
    database, manager, monkeypatch, caplog
):
    with away(database) as outage:
        monkeypatch.setattr(role.time, "sleep", lambda _seconds: outage.end())
        at_start(lambda: roles.enter(database, "host:1", "score", 1.0))
    assert heard(manager) == [
        ["EXTEND_TIMEOUT_USEC=120000000", "WATCHDOG=1", "STATUS=waits for the ledger"]
    ]
    assert caplog.messages == ["ledger-away why='the ledger is away: a test'"]
    with database.read() as connection:
        assert [one.process for one in reading.roles(connection, 1.0)] == ["host:1"]
