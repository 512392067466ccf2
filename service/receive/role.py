"""The receive role: one process that runs the SCP until it is told to stop."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from service import notify
from service.config import Settings
from service.errors import LedgerUnavailable
from service.ledger.database import Database
from service.ledger.lost import end_lost_associations
from service.ledger.postgresql import PROMPT
from service.ledger.wake import Wake
from service.log import line
from service.receive import scp
from service.reload import Reread, reread
from service.role import Heart, Orders, at_start, process_name, runs, wall_clock
from service.spool.face import Spool
from service.spool.opening import open_spool

log = logging.getLogger("iqgate.receive")

ROUND_S = 60.0
"""Between two looks for what dead receivers left behind."""

DRAIN_S = 12.0
"""For the objects in hand when the role is asked to end; within the supervisor's grace."""


def run(settings: Settings, source: Reread) -> None:
    """Serve C-STORE and C-ECHO until SIGTERM; on SIGHUP read anew who may send. Raises
    PortUnavailable."""
    database = at_start(lambda: Database(settings.database_url, PROMPT))
    spool = open_spool(settings)
    spool.prepare()
    receiver = process_name()
    heart = Heart(database, "receive", clock=wall_clock)
    at_start(
        lambda: _clear_after_the_dead(
            database, spool, runs=lambda name: name != receiver and runs(name)
        )
    )
    orders = Orders()
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
    round_at = wall_clock() + ROUND_S
    while not orders.stopping:
        orders.wait(Heart.INTERVAL_S)
        if orders.reload():
            notify.reloading()
            settings = reread(settings, source)
            scp.admit(server, reception_, settings)
            heart.reloaded()
        heart.beat()
        try:
            reception_.arrears.settle()
            if wall_clock() >= round_at:
                round_at = wall_clock() + ROUND_S
                _clear_after_the_dead(database, spool, runs=runs)
        except LedgerUnavailable:
            # back again, other receivers need a moment to be seen before they are taken for dead
            round_at = wall_clock() + ROUND_S
    server.shutdown()
    cut_off = reception_.drain.end(lambda: server.active_associations, DRAIN_S)
    log.info(line("receiver-ended", cut_off=cut_off))
    with suppress(LedgerUnavailable):  # associations of a receiver that is gone are ended as lost
        reception_.arrears.settle()
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
