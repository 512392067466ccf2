"""Backup and restore without processes: what is copied, what is refused, what a kill leaves."""

import json
import shutil
from argparse import Namespace
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from service.config import Settings
from service.errors import BackupUnusable, ConfigError
from service.keep import restore as restoring
from service.keep.backup import back_up
from service.keep.commands import COMMANDS
from service.keep.restore import restore
from service.ledger.database import Database
from service.spool.folder import FolderSpool
from tests.keep.house import House, slice_of
from tests.media import StoreMedium

AT = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.fixture
def target(tmp_path):
    """Settings of an empty host."""
    return Settings(mode="report", data_dir=tmp_path / "other")


@pytest.fixture
def house(tmp_path):
    folder = tmp_path / "first"
    folder.mkdir()
    database = Database(f"sqlite:///{folder / 'iqgate.db'}")
    database.upgrade()
    yield House(database, folder)
    database.dispose()


def restored(target, folder, now):
    """A house on the other host."""
    back = restore(target, folder, lambda: now)
    one = House(Database(target.database_url), target.data_dir)
    one.now = now
    return one, back


def test_what_a_ledger_and_spool_hold_comes_back(house, target, tmp_path):
    done = house.done(1, 1, 2)
    waiting = house.receive(2, 1)
    house.claim()
    made = back_up(house.settings, tmp_path / "backup", AT)
    assert (made.objects, made.gone, made.images) == (3, 0, True)
    later = house.receive(2, 2)
    other, back = restored(target, tmp_path / "backup", house.now + 5000)
    assert back.images == 3
    assert back.damaged == ()
    assert other.files() == sorted([*done, *waiting])
    assert not set(later) & set(other.files())
    assert sorted(path.name for path in target.data_dir.iterdir()) == ["iqgate.db", "spool"]
    query = "SELECT sop_instance_uid, state FROM object ORDER BY id"
    assert other.rows(query) == house.rows(query)[:3]
    assert other.rows("SELECT verdict FROM assessment") == [("meets",)]
    assert other.rows("SELECT state FROM outbox") == [("delivered",)]
    # what the dead host held is taken up, and the open series waits for what is sent again
    assert other.rows("SELECT closes_at FROM series WHERE state = 'open'") == [(other.now + 30,)]
    assert other.claim() is not None
    other.database.dispose()


def test_from_a_folder_into_a_store_and_back(house, object_store, tmp_path):
    """A backup says nothing of what the spool lay on."""
    paths = house.receive(1, 1, 2)
    back_up(house.settings, tmp_path / "backup", AT)
    medium = StoreMedium(object_store)
    moved = Settings(mode="report", data_dir=tmp_path / "moved", **medium.settings)
    back = restore(moved, tmp_path / "backup", lambda: house.now)
    assert (back.images, back.damaged, back.swept.missing) == (2, (), 0)
    assert medium.files() == sorted(paths)

    made = back_up(moved, tmp_path / "second", AT)
    assert (made.objects, made.gone) == (2, 0)
    medium.write(paths[0], b"rot")
    medium.lose(paths[1])
    (tmp_path / "second" / "spool" / paths[1]).write_bytes(b"rot")
    again = Settings(mode="report", data_dir=tmp_path / "again", **medium.settings)
    back = restore(again, tmp_path / "second", lambda: house.now)
    assert back.damaged == (paths[1],)
    assert back.swept.missing == 1
    assert not again.spool.exists()


def test_images_beyond_the_ledger_are_adopted_and_lost_ones_flagged(house, target, tmp_path):
    house.receive(1, 1, 2)
    back_up(house.settings, tmp_path / "backup", AT)
    spool = tmp_path / "backup" / "spool"
    orphan = house.store(slice_of(1, 3))
    (spool / orphan).parent.mkdir(exist_ok=True)
    shutil.copy2(house.root / orphan, spool / orphan)
    damaged, *_ = house.rows("SELECT path FROM object WHERE id = 2")[0]
    (spool / damaged).write_bytes(b"rot")
    other, back = restored(target, tmp_path / "backup", house.now)
    assert back.damaged == (damaged,)
    assert (back.swept.adopted, back.swept.missing) == (1, 1)
    assert other.rows("SELECT state, reason FROM frame ORDER BY id") == [
        ("waiting", None),
        ("excluded", "its file is missing from the spool"),
        ("waiting", None),
    ]
    other.database.dispose()


def test_a_ledger_alone_comes_back_with_its_verdicts(house, target, tmp_path):
    house.done(1, 1)
    house.receive(2, 1)
    back_up(house.settings, tmp_path / "backup", AT, images=False)
    other, back = restored(target, tmp_path / "backup", house.now)
    assert (back.images, back.swept.missing) == (0, 2)
    assert other.rows("SELECT verdict FROM assessment") == [("meets",)]
    assert other.files() == []
    other.database.dispose()


def test_a_backup_is_not_made_over_another_nor_restored_over_a_ledger(house, tmp_path):
    back_up(house.settings, tmp_path / "backup", AT)
    with pytest.raises(ConfigError, match="not empty"):
        back_up(house.settings, tmp_path / "backup", AT)
    with pytest.raises(ConfigError, match="a ledger is there already"):
        restore(house.settings, tmp_path / "backup", lambda: house.now)


@pytest.mark.parametrize("lacking", ["backup.json", "iqgate.db"])
def test_what_is_no_whole_backup_is_refused(house, target, tmp_path, lacking):
    back_up(house.settings, tmp_path / "backup", AT)
    (tmp_path / "backup" / lacking).unlink()
    with pytest.raises(BackupUnusable, match=lacking):
        restore(target, tmp_path / "backup", lambda: house.now)
    assert not target.data_dir.exists()


def test_removed_images_are_not_in_a_backup_and_not_missed(house, target, tmp_path):
    house.done(1, 1)
    with house.database.write() as connection:
        connection.exec_driver_sql("INSERT INTO absent_file VALUES (1, 'removed', 5)")
    made = back_up(house.settings, tmp_path / "backup", AT)
    assert (made.objects, made.gone) == (0, 0)
    other, back = restored(target, tmp_path / "backup", house.now)
    assert back.swept.missing == 0
    other.database.dispose()


class Killed(BaseException):
    """As if the process died here."""


@pytest.mark.parametrize("at", ["an image", "the sweep"])
def test_a_restore_that_is_killed_is_begun_again(house, target, tmp_path, monkeypatch, at):
    paths = house.receive(1, 1, 2, 3)
    back_up(house.settings, tmp_path / "backup", AT)
    bring, count = FolderSpool.bring, []

    def dying(*arguments):
        count.append(1)
        if len(count) == 2:
            raise Killed
        return bring(*arguments)

    if at == "an image":
        monkeypatch.setattr(FolderSpool, "bring", dying)
    else:
        monkeypatch.setattr(restoring.Sweep, "run", lambda _: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        restore(target, tmp_path / "backup", lambda: house.now)
    monkeypatch.undo()
    assert not (target.data_dir / "iqgate.db").exists()
    other, back = restored(target, tmp_path / "backup", house.now)
    assert back.images == 3
    assert other.files() == sorted(paths)
    assert other.rows("SELECT count(*) FROM object") == [(3,)]
    other.database.dispose()


def test_postgresql_has_tools_of_its_own(tmp_path):
    settings = Settings(mode="shadow", data_dir=tmp_path, ledger_url="postgresql://h/d")
    with pytest.raises(ConfigError, match="pg_dump"):
        back_up(settings, tmp_path / "backup", AT)


def test_the_commands_say_what_they_did(house, target, tmp_path):
    said = []
    paths = house.receive(1, 1, 2)
    (house.root / paths[0]).unlink()
    arguments = Namespace(folder=tmp_path / "backup", ledger_only=False)
    COMMANDS["backup"](house.settings, lambda: house.database, arguments, said.append)
    taken_at = json.loads((tmp_path / "backup" / "backup.json").read_text())["taken_at"]
    assert said == [
        f"{tmp_path / 'backup'}: the ledger of {taken_at} and 1 images",
        "1 images that the ledger names are not in the spool",
    ]
    said.clear()
    COMMANDS["restore"](target, lambda: house.database, arguments, said.append)
    assert said == [
        f"{target.data_dir}: the ledger of {taken_at} and 1 images",
        "0 files adopted, 0 set aside as unreadable, 1 missing, 0 there again, 0 removals finished",
    ]


def test_scanners_days_are_printed(house):
    house.done(1, 1)
    one = replace(house.keeping, settings=house.settings)
    from service.keep import jobs

    assert jobs.run(one, "statistics")
    said = []
    COMMANDS["scanners"](house.settings, lambda: house.database, Namespace(days=36500), said.append)
    assert said[1].split() == [
        "2020-09-13", "Maker", "Model", "12345", "CT", "1", "1", "0", "0", "0", "0", "3.00",
    ]  # fmt: skip
