"""`iqgate restore`: an empty data directory gets what a backup holds, ready for the gate to start.

The ledger appears under its name last of all, so a restore that is killed is simply begun again.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from service.config import Settings
from service.errors import BackupUnusable, ConfigError
from service.keep.backup import IMAGES, LEDGER, Manifest, ledger_path, read_manifest
from service.keep.sweep import Sweep, Swept
from service.ledger import overdue
from service.ledger.database import Database, sqlite_url
from service.role import process_name
from service.spool.face import SHELVES, Spool
from service.spool.folder import FolderSpool
from service.spool.opening import open_spool


@dataclass(frozen=True)
class Restored:
    """What came back. `damaged`: paths of images in the backup that are not what they were."""

    manifest: Manifest
    images: int
    damaged: tuple[str, ...]
    swept: Swept


def restore(settings: Settings, folder: Path, clock: Callable[[], float]) -> Restored:
    """Fill an empty data directory. Raises ConfigError where there is a ledger already,
    BackupUnusable, OSError."""
    manifest = read_manifest(folder)
    ledger = ledger_path(settings)
    if ledger.exists():
        raise ConfigError(
            f"{ledger}: a ledger is there already; a backup is restored where there is none"
        )
    spool, backed_up = open_spool(settings), FolderSpool(folder / IMAGES)
    spool.prepare()
    ledger.parent.mkdir(parents=True, exist_ok=True)
    paths = sorted(
        path
        for shelf in (SHELVES if backed_up.root.is_dir() else ())
        for path in backed_up.on_shelf(shelf)
    )
    damaged = [path for path in paths if not spool.bring(path, backed_up.root / path)]
    swept = _ledger(settings, spool, folder / LEDGER, ledger, clock)
    return Restored(manifest, len(paths) - len(damaged), tuple(damaged), swept)


def _ledger(
    settings: Settings, spool: Spool, copy: Path, ledger: Path, clock: Callable[[], float]
) -> Swept:
    """Put the ledger in place: its schema this version's, of the old host's processes nothing left,
    and held against the images."""
    work = ledger.with_name(f"{ledger.name}.restoring")
    for leftover in (work, Path(f"{work}-wal"), Path(f"{work}-shm")):
        leftover.unlink(missing_ok=True)
    shutil.copy2(copy, work)
    try:
        database = Database(sqlite_url(work))
        database.upgrade()
    except ConfigError as error:
        raise BackupUnusable(f"{copy}: {error}") from error
    overdue.begin_anew(database, settings.complete.quiet_s, clock())
    swept = Sweep(
        database,
        spool,
        settings.complete,
        process_name(),
        clock,
        after_s=0.0,
        believe_empty=True,
    ).run()
    database.dispose()
    with closing(sqlite3.connect(work)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")  # one file, nothing beside it
    os.sync()
    work.rename(ledger)
    return swept
