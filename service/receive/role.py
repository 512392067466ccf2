"""The receive role: one process that runs the SCP until it is told to stop."""

from __future__ import annotations

import gc
import logging
import os
import socket
import threading
from collections.abc import Callable

from service.config import Settings
from service.ledger.database import Database
from service.ledger.lost import end_lost_associations
from service.ledger.wake import Wake
from service.log import line
from service.receive import scp
from service.receive.spool import Spool
from service.role import Heart, process_name, stop_on_signal, wall_clock

log = logging.getLogger("iqgate.receive")

BEATS_A_ROUND = 12
"""Between two looks for what dead receivers left behind."""


def run(settings: Settings) -> None:
    """Serve C-STORE and C-ECHO until SIGTERM. Raises OSError when the port cannot be had."""
    database = Database(settings.database_url)
    spool = Spool(settings.spool)
    receiver = process_name()
    heart = Heart(database, "receive", clock=wall_clock)
    _clear_after_the_dead(database, spool, runs=lambda name: name != receiver and _runs(name))
    stopped = threading.Event()
    stop_on_signal(stopped.set)
    reception_ = scp.Reception(
        settings, database, spool, Wake(settings.database_url), receiver, wall_clock
    )
    server = scp.start(reception_)
    serving = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    serving.start()
    heart.ready(f"{settings.receive.ae_title} on {settings.receive.host}:{settings.receive.port}")
    log.info(line("receiving", ae_title=settings.receive.ae_title, port=settings.receive.port))
    # what is there now stays: a full collection, every few seconds, need not look at it again
    gc.collect()
    gc.freeze()
    beats = 0
    while not stopped.wait(Heart.INTERVAL_S):
        heart.beat()
        beats += 1
        if beats % BEATS_A_ROUND == 0:
            _clear_after_the_dead(database, spool, runs=_runs)
    server.shutdown()
    for association in server.active_associations:
        association.abort()
    heart.stop()
    database.dispose()


def _clear_after_the_dead(
    database: Database, spool: Spool, runs: Callable[[str], bool | None]
) -> None:
    now = wall_clock()
    lost = end_lost_associations(database, runs=runs, now=now)
    leftovers = spool.clear_incoming(now)
    if lost or leftovers:
        log.warning(line("receiver-died", lost_associations=lost, unfinished_files=leftovers))


def _runs(process: str) -> bool | None:
    """Whether the process `host:pid` runs; None where it is another host's."""
    host, _, number = process.rpartition(":")
    if host != socket.gethostname()[:40]:
        return None
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's process, but there
    return True
