"""The receive role: one process that runs the SCP until it is told to stop."""

from __future__ import annotations

import logging
import threading

from service.config import Settings
from service.ledger import reception
from service.ledger.database import Database
from service.ledger.wake import Wake
from service.log import line
from service.receive import scp
from service.receive.spool import Spool
from service.role import Heart, process_name, stop_on_signal, wall_clock

log = logging.getLogger("iqgate.receive")


def run(settings: Settings) -> None:
    """Serve C-STORE and C-ECHO until SIGTERM. Raises OSError when the port cannot be had."""
    database = Database(settings.database_url)
    spool = Spool(settings.spool)
    spool.clear_incoming()
    receiver = process_name()
    reception.end_lost_associations(database, receiver=receiver, now=wall_clock())
    stopped = threading.Event()
    stop_on_signal(stopped.set)
    reception_ = scp.Reception(
        settings, database, spool, Wake(settings.database_url), receiver, wall_clock
    )
    server = scp.start(reception_)
    serving = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    serving.start()
    heart = Heart(database, "receive", clock=wall_clock)
    heart.ready(f"{settings.receive.ae_title} on {settings.receive.host}:{settings.receive.port}")
    log.info(line("receiving", ae_title=settings.receive.ae_title, port=settings.receive.port))
    while not stopped.wait(5):
        heart.beat()
    server.shutdown()
    for association in server.active_associations:
        association.abort()
    heart.stop()
    database.dispose()
