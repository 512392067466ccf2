"""The jobs by name. Each may be run at any time, any number of times, and killed at any moment."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from service.config import Settings
from service.errors import IqgateError, LedgerUnavailable
from service.keep.retention import DAY_S, retain
from service.keep.sweep import Sweep
from service.ledger import announcing, jobs, overdue, scanner_days
from service.ledger.database import Database
from service.ledger.wake import Wake
from service.log import line
from service.role import Patiently, at_once
from service.spool.face import Spool
from service.spool.opening import open_spool

log = logging.getLogger("iqgate.keep")

COUNTED_AGAIN_S = 3600.0
"""Statistics count what was assessed so long before the last run ended once more."""


@dataclass(frozen=True)
class Keeping:
    """What jobs work on. `goes_on`: asked between two steps, whether to take another one;
    `patiently`: waits for the ledger where it is away."""

    settings: Settings
    database: Database
    wake: Wake
    process: str
    clock: Callable[[], float]
    goes_on: Callable[[], bool] = lambda: True
    patiently: Patiently = at_once

    @property
    def files(self) -> Spool:
        return open_spool(self.settings)


def rescue_leases(one: Keeping) -> str:
    """Work whose lease ran out goes back to its queue."""
    rescued = overdue.rescue_leases(one.database, one.settings.score.max_attempts, one.clock())
    if rescued.frames:
        one.wake.role("score")
    if rescued.reports:
        one.wake.role("deliver")
    return (
        f"{rescued.frames} slices and {rescued.reports} reports taken back, "
        f"{rescued.dead} slices given up"
    )


def end_series(one: Keeping) -> str:
    """Series that are never quiet are ended."""
    longest_s, now = one.settings.keep.longest_open_s, one.clock()
    ended = 0
    for series_id, uid in overdue.endless_series(one.database, longest_s, now):
        if overdue.end_series(one.database, series_id, now):
            ended += 1
            log.warning(line("series-ended-by-age", series_instance_uid=uid, longest_s=longest_s))
    if ended:
        one.wake.role("conclude")
    return f"{ended} series ended"


def count_days(one: Keeping) -> str:
    """Each scanner's days are counted anew where a series was assessed since the last run."""
    with one.database.read() as connection:
        last = {job.name: job.succeeded_at for job in jobs.readings(connection)}
    since = (last.get("statistics") or 0.0) - COUNTED_AGAIN_S
    days = scanner_days.stale_days(one.database, since)
    series = sum(scanner_days.count_day(one.database, day) for day in days)
    return f"{len(days)} days counted, {series} series"


def forget_announcements(one: Keeping) -> str:
    """Announcements that are old tell nothing any more: what they announced has come, or never
    will."""
    before = one.clock() - one.settings.keep.announcements_days * DAY_S
    forgotten = 0
    while one.goes_on():
        removed = announcing.forget(one.database, before)
        forgotten += removed
        if removed < announcing.FORGOTTEN_AT_ONCE:
            break
    return f"{forgotten} announcements removed"


def remove_images(one: Keeping) -> str:
    """Images that are due go."""
    keep = one.settings.keep
    if not keep.images_days and not keep.images_bytes:
        return "off: keep.images_days and keep.images_bytes are 0"
    return retain(one.database, one.files, keep, one.clock, one.goes_on).in_words()


def sweep(one: Keeping) -> str:
    """Spool and ledger are held against each other."""
    settings = one.settings
    swept = Sweep(
        one.database,
        one.files,
        settings.complete,
        one.process,
        one.clock,
        settings.keep.sweep_after_s,
        one.goes_on,
    ).run()
    if swept.adopted or swept.returned:
        one.wake.role("score")
    if swept.missing or swept.adopted or swept.returned:
        one.wake.role("conclude")
    return swept.in_words()


JOBS: dict[str, Callable[[Keeping], str]] = {
    "leases": rescue_leases,
    "series": end_series,
    "statistics": count_days,
    "announcements": forget_announcements,
    "retention": remove_images,
    "sweep": sweep,
}
"""Named as `keep.every_s` names them."""


def run(one: Keeping, name: str) -> bool:
    """Run a job and put down how it went; whether it went well. One that the ledger fails runs
    again when it is back, unless the process is told to end meanwhile."""
    try:
        return _run(one, name)
    except LedgerUnavailable:
        log.warning(line("job-given-up", job=name, why="the ledger is away"))
        return False


def _run(one: Keeping, name: str) -> bool:
    began = one.clock()
    one.patiently(lambda: jobs.begin(one.database, name, one.process, began))
    try:
        detail, failed = one.patiently(lambda: JOBS[name](one)), False
    except LedgerUnavailable:
        raise
    except Exception as error:  # whatever it is, the other jobs go on, and metrics tell
        told = isinstance(error, (IqgateError, OSError))
        detail, failed = str(error) if told else type(error).__name__, True
        log.error(line("job-failed", job=name, why=detail), exc_info=not told)
    ended = one.clock()
    one.patiently(
        lambda: jobs.end(
            one.database,
            name,
            failed=failed,
            detail=detail,
            seconds=max(0.0, ended - began),
            now=ended,
        )
    )
    return not failed
