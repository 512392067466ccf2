"""Server-Sent Events: who is told what, how soon, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

from service.ledger.database import Database, sqlite_url
from service.watch.broadcast import Broadcast, Full
from tests.peers import free_port
from tests.waiting import wait_for
from tests.watch.conftest import StartWatch, Watch
from tests.watch.filling import SCANNER


class Stream:
    """An event stream as a page reads it."""

    def __init__(self, port: int, path: str, timeout_s: float = 10) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: gate\r\n\r\n".encode())
        self._lines = self.socket.makefile("rb")
        self.status = int(self._lines.readline().split()[1])
        self.headers = dict(
            line.decode().strip().split(": ", 1) for line in iter(self._lines.readline, b"\r\n")
        )

    def event(self) -> tuple[str, dict[str, object]]:
        """The next event; raises TimeoutError when none comes, EOFError at the stream's end."""
        name = ""
        while line := self._lines.readline():
            if line.startswith(b"event: "):
                name = line[7:].decode().strip()
            if line.startswith(b"data: "):
                return name, json.loads(line[6:])
        raise EOFError

    def ended(self) -> bool:
        """Read to the end: what is left, and then nothing."""
        while self._lines.readline():
            pass
        return True

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


def settled(stream: Stream) -> None:
    """The stream has said hello, and any word of what came before has been spoken."""
    assert stream.event()[0] == "hello"


def test_a_page_is_told_within_a_second_of_the_verdict(watch: Watch) -> None:
    watch.filling.receive(3, 4)
    stream = Stream(watch.server.port, "/events")
    assert stream.headers["content-type"].startswith("text/event-stream")
    settled(stream)
    (series_id,) = watch.filling.score([3.0] * 4)
    committed_at = time.monotonic()
    watch.filling.provisional(series_id)
    name, told = stream.event()
    assert time.monotonic() - committed_at < 1.0
    assert name == "changed"
    assert told["at"] == watch.clock.now
    stream.close()


def test_without_a_wake_up_polling_finds_it(watch: Watch) -> None:
    stream = Stream(watch.server.port, "/events")
    settled(stream)
    watch.filling.receive(3, 1)
    assert stream.event()[0] == "changed"
    stream.close()


def test_a_room_hears_of_its_own_scanner_only(watch: Watch) -> None:
    mine = Stream(watch.server.port, "/events/room/" + quote(SCANNER, safe=""))
    other = Stream(watch.server.port, "/events/room/" + quote("A/B C", safe=""))
    settled(mine)
    settled(other)
    watch.filling.judged(3, [3.0] * 4)
    assert mine.event()[0] == "changed"
    watch.filling.judged(4, [3.0] * 4, manufacturer="A/B C", model="", device_serial_number="")
    started_at = time.monotonic()
    assert other.event()[0] == "changed"
    assert time.monotonic() - started_at < 2
    for stream in (mine, other):
        stream.close()


def test_pages_that_leave_are_forgotten(watch: Watch) -> None:
    streams = [Stream(watch.server.port, "/events") for _ in range(5)]
    for stream in streams:
        settled(stream)
    assert len(watch.server.broadcast) == 5
    for stream in streams:
        stream.close()
    wait_for("all are forgotten", lambda: len(watch.server.broadcast) == 0)


def test_listeners_are_bounded() -> None:
    broadcast = Broadcast(most_listeners=1)
    with broadcast.listening(None):
        try:
            with broadcast.listening(None):
                raise AssertionError("a second listener was let in")
        except Full:
            pass
    with broadcast.listening(None):
        assert len(broadcast) == 1


def test_one_page_too_many_is_turned_away(start_watch: StartWatch) -> None:
    watch = start_watch()
    watch.server.broadcast.most_listeners = 1
    first = Stream(watch.server.port, "/events")
    settled(first)
    second = Stream(watch.server.port, "/events")
    assert (second.status, second.headers["retry-after"]) == (503, "10")
    first.close()
    second.close()


def test_stopping_ends_open_streams_at_once(tmp_path: Path) -> None:
    """SIGTERM to a real role process, with streams open."""
    port = free_port()
    (tmp_path / "iqgate.toml").write_text(
        f'mode = "shadow"\ndata_dir = "{tmp_path}"\n[watch]\nport = {port}\n', "utf-8"
    )
    database = Database(sqlite_url(tmp_path / "iqgate.db"))
    database.upgrade()
    database.dispose()
    role = subprocess.Popen(
        [sys.executable, "-m", "service", "watch", "--config", str(tmp_path / "iqgate.toml")],
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        wait_for("the role answers", lambda: _alive(port))
        streams = [Stream(port, path) for path in ("/events", "/events/room/x", "/events")]
        for stream in streams:
            settled(stream)
        role.send_signal(signal.SIGTERM)
        _, said = role.communicate(timeout=5)
        assert role.returncode == 0
        assert b"Traceback" not in said
        assert all(stream.ended() for stream in streams)
        for stream in streams:
            stream.close()
    finally:
        role.kill()
        role.wait()


def _alive(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as response:
            return int(response.status) == 200
    except OSError:
        return False
