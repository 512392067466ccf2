"""The keep role: one process that runs the jobs when they are due, until it is told to stop.

Of several, on one host or many, the one that holds the lease runs them; the others stand by and
take it over when its holder ends or dies.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Event
from uuid import uuid4

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from service import notify
from service.config import Settings
from service.errors import LedgerUnavailable
from service.keep.jobs import JOBS, Keeping
from service.keep.jobs import run as run_job
from service.ledger import jobs
from service.ledger.database import Database
from service.ledger.wake import Wake
from service.log import line
from service.reload import Reread, reread
from service.role import (
    Heart,
    Orders,
    Patience,
    at_start,
    patience,
    process_name,
    wall_clock,
)

log = logging.getLogger("iqgate.keep")

LEASE = "keep"
RENEWALS = 3
"""Times that the lease is renewed while it lasts."""

_WORKS_ON = {"retention": "files", "sweep": "files"}
"""Jobs that go through the spool take long, and are run one after the other beside the rest."""


def run(settings: Settings, source: Reread) -> None:
    """Keep house until SIGTERM. Nothing of it changes without a restart; SIGHUP says what would."""
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    database = at_start(lambda: Database(settings.database_url))
    wake = Wake(settings.database_url)
    orders = Orders()
    heart = Heart(database, "keep", clock=wall_clock)
    keeper = Keeper(settings, database, wake, process_name(), wall_clock)
    patiently = patience(heart, orders)
    try:
        while not orders.stopping:
            if patiently(keeper.turn):
                heart.ready(patiently(keeper.standing))
            heart.beat()
            orders.wait(min(Heart.INTERVAL_S, settings.keep.lease_s / RENEWALS))
            if orders.reload():
                notify.reloading()
                reread(settings, source)
                heart.reloaded()
    except LedgerUnavailable:
        log.warning(line("lease-not-released", lease=LEASE, why="the ledger is away"))
    finally:
        keeper.stop()
    heart.stop()
    wake.close()
    database.dispose()


class Keeper:
    """Runs the jobs while it holds the lease."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        wake: Wake,
        process: str,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._database = database
        self._wake = wake
        self._process = process
        self._clock = clock
        self._token = uuid4().hex
        self._held: bool | None = None
        self._scheduler: BackgroundScheduler | None = None
        self._ended = Event()

    def turn(self) -> bool:
        """Take or renew the lease, and start or end the jobs by it; whether that changed."""
        held = jobs.hold(
            self._database,
            LEASE,
            self._process,
            self._token,
            lease_s=self._settings.keep.lease_s,
            now=self._clock(),
        )
        if held == self._held:
            return False
        if held:
            self._start()
        else:
            self._end(wait=False)
        self._held = held
        log.info(line("keeping" if held else "standing-by", process=self._process))
        return True

    def standing(self) -> str:
        if self._held:
            return "runs the jobs"
        return f"stands by for {jobs.holder(self._database, LEASE)}"

    def stop(self) -> None:
        """End the jobs after the step they are at, and let another take over."""
        self._end(wait=True)
        if self._held:
            self._held = None
            with contextlib.suppress(LedgerUnavailable):  # it ends by itself
                jobs.release(self._database, LEASE, self._token, self._clock())

    def _start(self) -> None:
        """Every job when it is due next, counted from its last run, whoever that was."""
        self._ended = ended = Event()
        keeping = Keeping(
            self._settings,
            self._database,
            self._wake,
            self._process,
            self._clock,
            lambda: not ended.is_set(),
            Patience(ended.wait),
        )
        with self._database.read() as connection:
            began = {one.name: one.started_at for one in jobs.readings(connection)}
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(1), "files": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        for name in JOBS:
            every_s = getattr(self._settings.keep.every_s, name)
            wait_s = max(0.0, began.get(name, 0.0) + every_s - self._clock())
            self._scheduler.add_job(
                run_job,
                IntervalTrigger(seconds=every_s, timezone=UTC),
                (keeping, name),
                id=name,
                executor=_WORKS_ON.get(name, "default"),
                next_run_time=datetime.now(UTC) + timedelta(seconds=wait_s),
            )
        self._scheduler.start()

    def _end(self, *, wait: bool) -> None:
        self._ended.set()
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=wait)
            self._scheduler = None
