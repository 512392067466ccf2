"""A ledger, and the pages over it on a port of their own."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from service.config import Settings
from service.ledger.database import Database
from service.ledger.wake import Wake
from service.watch.role import Server
from tests.peers import free_port
from tests.waiting import wait_for
from tests.watch.filling import Clock, Filling

NOW = 1741089600.0
TOKEN = "a token nobody guesses"


@dataclass
class Answer:
    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Watch:
    """A running server, its ledger, and the clock both go by."""

    settings: Settings
    database: Database
    filling: Filling
    clock: Clock
    serve: Callable[[], Server]
    server: Server

    def restart(self) -> Watch:
        """A stopped server serves again, on the port it had."""
        self.server = self.serve()
        return self

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def ask(
        self, path: str, *, method: str = "GET", body: str | None = None, **headers: str
    ) -> Answer:
        """One request on a connection of its own; `headers` with `_` for `-`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()


StartWatch = Callable[..., Watch]


@pytest.fixture
def start_watch(tmp_path: Path) -> Iterator[StartWatch]:
    """Starts servers over a fresh ledger; all are stopped at the end."""
    with ExitStack() as stack:

        def start(
            *,
            mode: str = "report",
            token: str = "",
            now: float = NOW,
            commissioning: str = "required",
        ) -> Watch:
            settings = Settings(
                mode=mode,  # type: ignore[arg-type]
                commissioning=commissioning,  # type: ignore[arg-type]
                data_dir=tmp_path,
                watch={"port": free_port(), "token": token},  # type: ignore[arg-type]
            )
            database = Database(settings.database_url)
            stack.callback(database.dispose)
            database.upgrade()
            clock = Clock(now)
            wake = Wake(settings.database_url)
            stack.callback(wake.close)

            def serve() -> Server:
                server = Server(settings, database, wake, clock)
                server.start()
                stack.callback(server.stop)
                return server

            server = serve()
            filling = Filling(database, settings, clock)
            stack.callback(filling.wake.close)
            watch = Watch(settings, database, filling, clock, serve, server)
            wait_for("the server answers", lambda: watch.ask("/healthz").status == 200)
            return watch

        yield start


@pytest.fixture
def watch(start_watch: StartWatch) -> Watch:
    """A server in report mode, whose token is TOKEN."""
    return start_watch(token=TOKEN)
