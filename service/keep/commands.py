"""What `iqgate backup`, `restore` and `scanners` do and say."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from service.config import Settings
from service.keep.backup import back_up
from service.keep.restore import restore
from service.ledger import scanner_days
from service.ledger.database import Database
from service.role import wall_clock

Open = Callable[[], Database]
Say = Callable[[str], None]


def _backup(settings: Settings, open_ledger: Open, arguments: Namespace, say: Say) -> None:
    open_ledger().dispose()  # which says so where there is none
    now = datetime.fromtimestamp(wall_clock(), UTC)
    made = back_up(settings, arguments.folder, now, images=not arguments.ledger_only)
    images = f"{made.objects} images" if made.images else "no images"
    say(f"{arguments.folder}: the ledger of {made.taken_at} and {images}")
    if made.gone:
        say(f"{made.gone} images that the ledger names are not in the spool")


def _restore(settings: Settings, _: Open, arguments: Namespace, say: Say) -> None:
    back = restore(settings, arguments.folder, wall_clock)
    say(f"{settings.data_dir}: the ledger of {back.manifest.taken_at} and {back.images} images")
    for path in back.damaged:
        say(f"{path}: damaged in the backup, left out")
    say(back.swept.in_words())


def _scanners(_: Settings, open_ledger: Open, arguments: Namespace, say: Say) -> None:
    today = datetime.fromtimestamp(wall_clock(), UTC)
    since = scanner_days.day_of((today - timedelta(days=arguments.days - 1)).timestamp())
    with open_ledger().read() as connection:
        days = scanner_days.scanner_days(connection, since)
    say(f"{'day (UTC)':<12}{'scanner':<34}{'':<5}{'series':>7}{'meets':>7}{'not':>5}"
        f"{'unus.':>7}{'not ass.':>10}{'alarms':>8}{'median':>8}")  # fmt: skip
    for one in days:
        median = "–" if one.median_score is None else f"{one.median_score:.2f}"
        say(f"{one.day:<12}{one.scanner[:32]:<34}{one.modality:<5}{one.series:>7}{one.meets:>7}"
            f"{one.does_not_meet:>5}{one.unusable:>7}{one.not_assessed:>10}{one.alarms:>8}"
            f"{median:>8}")  # fmt: skip


COMMANDS: dict[str, Callable[[Settings, Open, Namespace, Say], None]] = {
    "backup": _backup,
    "restore": _restore,
    "scanners": _scanners,
}
