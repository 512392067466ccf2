"""The score role: one process that scores frames as they arrive and concludes quiet series."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from service import notify
from service.config import Settings
from service.errors import ConfigError, LedgerUnavailable, StartupCalledOff
from service.judge.policy import Policy, parse_policy
from service.ledger import closing, overdue
from service.ledger.database import Database
from service.ledger.wake import Waiter, Wake
from service.log import line
from service.reload import Reread, reread
from service.role import RETRY_S, Heart, Orders, at_start, patience, wall_clock
from service.score.conclude import Concluder
from service.score.engines.choice import described
from service.score.pair import Pairer, fusing_of
from service.score.priority import give_way
from service.score.provisional import Provisional
from service.score.ready import ready_scorer
from service.score.worker import Worker
from service.spool.opening import open_spool

log = logging.getLogger("iqgate.score")

POLL_S = 2.0
POLL_UNHEARD_S = 0.2


def load_policy(settings: Settings) -> Policy:
    """The configured policy. Raises ConfigError naming the file."""
    path = settings.policy_path
    try:
        return parse_policy(path.read_text("utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"policy = {path}: cannot be read: {error.strerror}") from error


def renewed_policy(settings: Settings, current: Policy) -> Policy:
    """The policy as its file stands now; the current one where that is wrong, and the log says so.
    Series that are closed keep their verdict."""
    try:
        policy = load_policy(settings)
    except ConfigError as error:
        for fault in str(error).splitlines():
            log.error(line("reload-refused", why=fault, in_force="the policy read before"))
        return current
    log.info(line("policy", file=settings.policy_path, digest=policy.digest[:12]))
    return policy


def run(settings: Settings, source: Reread) -> None:
    """Score until SIGTERM; on SIGHUP judge by the policy as it stands then. Raises ConfigError when
    a bundle or the policy cannot be used, EngineFailed when its device is lost."""
    give_way(settings.score.niceness)
    database = at_start(lambda: Database(settings.database_url))
    wake = Wake(settings.database_url)
    frames_wait, series_wait = Waiter(wake, "score"), Waiter(wake, "conclude")
    orders = Orders(wake=frames_wait.interrupt)
    heart = Heart(database, "score", clock=wall_clock)
    policy = load_policy(settings)
    try:
        scorer = ready_scorer(settings, heart, orders.stopped)
    except StartupCalledOff:
        heart.stop()
        database.dispose()
        return
    fusing = fusing_of(scorer.bundles, settings.complete)
    concluder = Concluder(settings, database, policy, scorer.identity_of, fusing)
    pairer = Pairer(open_spool(settings), database, fusing)
    detail = ", ".join(described(engine) for engine in scorer.engines.values())
    heart.ready(detail)
    log.info(line("scoring", engines=detail))
    ended = threading.Event()
    concluding = threading.Thread(
        target=_conclude_forever,
        args=(concluder, pairer, wake, series_wait, ended),
        name="conclude",
    )
    concluding.start()
    with Provisional(concluder, wake, wall_clock) as provisional:
        worker = Worker(
            settings,
            database,
            scorer,
            fusing,
            provisional,
            wake,
            wall_clock,
            patience(heart, orders),
        )
        try:
            while not orders.stopping:
                heart.beat()
                if orders.reload():
                    notify.reloading()
                    settings = reread(settings, source)
                    concluder.policy = renewed_policy(settings, concluder.policy)
                    heart.reloaded()
                if not worker.step():
                    frames_wait.wait(POLL_S if frames_wait.heard else POLL_UNHEARD_S)
        except LedgerUnavailable:
            # told to end while it is away: others take over what is in hand once its lease ends
            log.warning(line("slices-not-given-back", why="the ledger is away"))
        finally:
            # told to, or because an engine failed: then the supervisor starts the role anew
            ended.set()
            series_wait.interrupt()
            worker.close()
    concluding.join()
    heart.stop()
    database.dispose()


def _conclude_forever(
    concluder: Concluder, pairer: Pairer, wake: Wake, waiter: Waiter, ended: threading.Event
) -> None:
    """Pair PET with its CT, and conclude series and studies as they fall due, until `ended`."""
    database = concluder.database
    away = False
    while not ended.is_set():
        now = wall_clock()
        try:
            if away:
                overdue.quiet_anew(database, concluder.settings.complete.quiet_s, now)
                away = False
            with database.alone("pairing") as mine:
                if mine and pairer.step(now):
                    wake.role("score")
            concluded = _each(database, closing.due_series(database, now), concluder.conclude)
            reported = _each(database, closing.due_studies(database), concluder.report_study)
            next_at = closing.next_closing_at(database, now)
        except LedgerUnavailable:
            away = True
            waiter.wait(RETRY_S)
            continue
        except Exception:
            log.exception(line("concluding-failed"))
            waiter.wait(RETRY_S)
            continue
        if concluded or reported:
            wake.role("deliver")
            wake.role("watch")
            wake.role("score")  # a series may have gone back to be scored anew
            continue
        idle = POLL_S if waiter.heard else POLL_UNHEARD_S
        waiter.wait(idle if next_at is None else max(0.0, min(idle, next_at - wall_clock())))


def _each(database: Database, due: Sequence[int], conclude: Callable[[int, float], bool]) -> bool:
    """Conclude those that no other host is concluding at this moment; whether any was."""
    concluded = False
    for one in due:
        with database.alone(f"{conclude.__name__} {one}") as mine:
            concluded |= mine and conclude(one, wall_clock())
    return concluded
