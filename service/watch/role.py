"""The watch role: one process that serves pages, metrics and health until it is told to stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import uvicorn

from service import notify
from service.config import Settings
from service.ledger.database import Database
from service.ledger.postgresql import PROMPT
from service.ledger.wake import Wake
from service.log import line
from service.ports import bound
from service.reload import Reread, reread
from service.role import Heart, Orders, at_start, wall_clock
from service.watch.app import make_app
from service.watch.broadcast import Broadcast

log = logging.getLogger("iqgate.watch")

BACKLOG = 128
GRACE_S = 2
"""For answers under way when the process stops; streams end at once."""


class Server:
    """uvicorn in a thread, on a socket that is bound before anything else is promised."""

    def __init__(
        self, settings: Settings, database: Database, wake: Wake, clock: Callable[[], float]
    ) -> None:
        """Bind. Raises PortUnavailable."""
        app = make_app(settings, database, wake, clock)
        self.broadcast: Broadcast = app.state.broadcast
        self._socket = bound("watch", settings.watch.host, settings.watch.port)
        self._socket.listen(BACKLOG)
        self.port: int = self._socket.getsockname()[1]
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._thread = threading.Thread(
            target=self._uvicorn.run, args=([self._socket],), name="http", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        """End open streams, let answers finish, and return when the thread has."""
        self.broadcast.close()
        self._uvicorn.should_exit = True
        self._thread.join()
        self._socket.close()


def run(settings: Settings, source: Reread) -> None:
    """Serve until SIGTERM. Nothing of it changes without a restart; SIGHUP says what would.
    Raises PortUnavailable."""
    database = at_start(lambda: Database(settings.database_url, PROMPT))
    orders = Orders()
    wake = Wake(settings.database_url)
    server = Server(settings, database, wake, wall_clock)
    heart = Heart(database, "watch", clock=wall_clock)
    server.start()
    heart.ready(f"http://{settings.watch.host}:{server.port}/")
    log.info(line("watching", host=settings.watch.host, port=server.port))
    if settings.mode == "shadow":
        log.warning(line("shadow-mode", why="room pages show verdicts and alarm nobody"))
    while not orders.stopping:
        orders.wait(Heart.INTERVAL_S)
        if not server.alive:
            raise OSError("the HTTP server ended by itself; its log says why")
        if orders.reload():
            notify.reloading()
            reread(settings, source)
            heart.reloaded()
        heart.beat()
    server.stop()
    heart.stop()
    wake.close()
    database.dispose()
