"""The deliver role: one process that works the outbox until it is told to stop."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

from service import notify
from service.config import Settings
from service.deliver import folder, store_scu
from service.errors import LedgerUnavailable, PacsRefused, RetryableError
from service.ledger import outbox
from service.ledger.database import Database
from service.ledger.outbox import Parcel
from service.ledger.wake import Waiter, Wake
from service.log import line
from service.reload import Reread, reread
from service.role import Heart, Orders, Patiently, at_once, at_start, patience, wall_clock

log = logging.getLogger("iqgate.deliver")

POLL_S = 5.0
POLL_UNHEARD_S = 0.5


def run(settings: Settings, source: Reread) -> None:
    """Deliver until SIGTERM. Nothing of it changes without a restart; SIGHUP says what would."""
    database = at_start(lambda: Database(settings.database_url))
    wake = Wake(settings.database_url)
    waiter = Waiter(wake, "deliver")
    orders = Orders(wake=waiter.interrupt)
    heart = Heart(database, "deliver", clock=wall_clock)
    heart.ready(", ".join(settings.destinations))
    log.info(line("delivering", destinations=",".join(settings.destinations)))
    patiently = patience(heart, orders)
    courier = Courier(settings, database, wall_clock, patiently)
    # told to end while the ledger is away: a parcel in hand is brought again, as what it is
    with contextlib.suppress(LedgerUnavailable):
        while not orders.stopping:
            heart.beat()
            if orders.reload():
                notify.reloading()
                reread(settings, source)
                heart.reloaded()
            if courier.step():
                wake.role("watch")
                continue
            due_at = patiently(lambda: outbox.next_attempt_at(database, settings.destinations))
            idle = POLL_S if waiter.heard else POLL_UNHEARD_S
            waiter.wait(idle if due_at is None else max(0.0, min(idle, due_at - wall_clock())))
    heart.stop()
    database.dispose()


class Courier:
    """Takes one parcel at a time and says what became of it, once the ledger can be told."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Callable[[], float],
        patiently: Patiently = at_once,
    ) -> None:
        self.settings = settings
        self.database = database
        self.clock = clock
        self._patiently = patiently
        self._peers = {peer.name: peer for peer in settings.report_peers}

    def step(self) -> bool:
        """Attempt one delivery; False when none is due."""
        deliver = self.settings.deliver
        parcel = self._patiently(
            lambda: outbox.claim(
                self.database,
                self.settings.destinations,
                lease_s=max(deliver.lease_s, 3 * deliver.timeout_s),
                now=self.clock(),
            )
        )
        if parcel is None:
            return False
        try:
            self._bring(parcel)
        except PacsRefused as error:
            self._failed(parcel, str(error), "refused", parcel.attempts >= deliver.max_refusals)
        except RetryableError as error:
            too_old = self.clock() - parcel.created_at >= deliver.give_up_after_s
            self._failed(parcel, str(error), "unavailable", too_old)
        else:
            at = self.clock()
            self._patiently(lambda: outbox.delivered(self.database, parcel, at))
            log.info(
                line(
                    "report-delivered",
                    destination=parcel.destination,
                    kind=parcel.kind,
                    sop_instance_uid=parcel.sop_instance_uid,
                    attempts=parcel.attempts,
                )
            )
        return True

    def _bring(self, parcel: Parcel) -> None:
        if parcel.destination in self._peers:
            peer = self._peers[parcel.destination]
            store_scu.store(peer, parcel.body, self.settings.deliver.timeout_s)
            return
        reports_folder = self.settings.reports_folder
        if reports_folder is None:
            raise PacsRefused(f"destination {parcel.destination} is not configured any more")
        folder.put(reports_folder, parcel.sop_instance_uid, parcel.body)

    def _failed(self, parcel: Parcel, error: str, outcome: str, give_up: bool) -> None:
        waits = self.settings.deliver.backoff_s
        wait_s = waits[min(parcel.attempts, len(waits)) - 1]
        log.warning(
            line(
                "report-dead" if give_up else "report-postponed",
                destination=parcel.destination,
                sop_instance_uid=parcel.sop_instance_uid,
                attempts=parcel.attempts,
                error=error,
                retry_in_s=None if give_up else wait_s,
            )
        )
        next_at = self.clock() + wait_s
        if give_up:
            self._patiently(lambda: outbox.died(self.database, parcel, error))
        else:
            self._patiently(
                lambda: outbox.postponed(
                    self.database, parcel, error, outcome=outcome, next_attempt_at=next_at
                )
            )
