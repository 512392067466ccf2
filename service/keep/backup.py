"""`iqgate backup`: a copy of the ledger as it stands at one moment, and of the images it names.

The ledger comes first and the images after, so that the copy has every image its ledger knows of.
What is received meanwhile is neither lost nor in it. The gate may go on working all the time.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import make_url

from service.config import VERSION, Settings
from service.errors import BackupUnusable, ConfigError
from service.spool.face import Spool
from service.spool.opening import open_spool

LEDGER = "iqgate.db"
IMAGES = "spool"
MANIFEST = "backup.json"
"""Written last: a folder without it is no backup that ended."""

_PRESENT = """
    SELECT path FROM object
    WHERE id NOT IN (SELECT object_id FROM absent_file)
    ORDER BY path
"""


@dataclass(frozen=True)
class Manifest:
    """What a backup holds. `gone`: images that the ledger names and the spool no longer had."""

    version: str
    taken_at: str
    objects: int
    gone: int
    images: bool
    """Whether the images are in it, too."""


def ledger_path(settings: Settings) -> Path:
    """Where the SQLite ledger lies. Raises ConfigError where it is in another database."""
    url = make_url(settings.database_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        raise ConfigError(
            f"ledger_url names a {url.get_backend_name()} database, which has tools of its own "
            "(pg_dump, pg_restore): docs/upgrade-backup-restore.md"
        )
    return Path(url.database)


def back_up(settings: Settings, folder: Path, now: datetime, *, images: bool = True) -> Manifest:
    """Copy ledger and images into a folder that is empty or new. Raises ConfigError, OSError."""
    ledger = ledger_path(settings)
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: not empty; every backup needs a folder of its own")
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / LEDGER
    # not read-only: whoever closes last must be able to clear SQLite's files beside it away
    with closing(sqlite3.connect(f"file:{ledger}?mode=rw", uri=True, timeout=30)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    with closing(sqlite3.connect(f"file:{copy}?mode=ro", uri=True)) as connection:
        ((found,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
        if found != "ok":
            raise BackupUnusable(f"{copy}: the copy is not sound ({found}); check the disks")
        paths = [path for (path,) in connection.execute(_PRESENT)] if images else []
    spool = open_spool(settings)
    gone = sum(not _copied(spool, path, folder / IMAGES / path) for path in paths)
    manifest = Manifest(VERSION, now.isoformat(), len(paths) - gone, gone, images)
    os.sync()  # all of it before the line that says that it is all there
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(asdict(manifest), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Raises BackupUnusable where the folder holds no whole backup."""
    try:
        manifest = Manifest(**json.loads((folder / MANIFEST).read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise BackupUnusable(
            f"{folder / MANIFEST}: cannot be read: this is no backup, or one that did not end"
        ) from error
    if not (folder / LEDGER).is_file():
        raise BackupUnusable(f"{folder / LEDGER}: missing from the backup")
    return manifest


def _copied(spool: Spool, path: str, target: Path) -> bool:
    """Copy one image; False where retention was faster."""
    target.parent.mkdir(parents=True, exist_ok=True)
    return spool.copy_to(path, target)
