"""The spool as a folder: durable files, and what a crash at any point leaves behind."""

import os
import threading
from pathlib import Path

import pytest

from service.spool import folder as folder_module
from service.spool.folder import LEFTOVER_AFTER_S, FolderSpool

HEAD, DATASET = b"head", b"dataset" * 1000


@pytest.fixture
def syncs(monkeypatch):
    """Names of what was flushed, in order, by the real calls."""
    done = []
    lock = threading.Lock()

    def noting(real):
        def sync(descriptor):
            real(descriptor)
            with lock:
                done.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

        return sync

    monkeypatch.setattr(folder_module.os, "fsync", noting(os.fsync))
    monkeypatch.setattr(folder_module.os, "fdatasync", noting(os.fdatasync))
    return done


def test_file_folder_and_a_new_folders_own_entry_are_flushed(tmp_path, syncs):
    spool = FolderSpool(tmp_path)
    spool.prepare()
    stored = spool.store(HEAD, DATASET)
    final = tmp_path / stored.path
    assert final.read_bytes() == HEAD + DATASET
    assert sorted(syncs) == sorted(map(str, (tmp_path, final.parent, final)))
    syncs.clear()
    assert spool.store(HEAD, DATASET) == stored
    assert sorted(syncs) == sorted(map(str, (final.parent, final))), "who wrote it may have died"


def test_what_a_power_cut_left_under_the_final_name_is_written_again(tmp_path):
    spool = FolderSpool(tmp_path)
    spool.prepare()
    final = tmp_path / spool.store(HEAD, DATASET).path
    final.write_bytes(bytes(len(HEAD + DATASET)))
    spool.store(HEAD, DATASET)
    assert final.read_bytes() == HEAD + DATASET


def test_a_flush_that_fails_promises_nothing(tmp_path, monkeypatch):
    def fail(_descriptor):
        raise OSError(5, "Input/output error")

    spool = FolderSpool(tmp_path)
    spool.prepare()
    monkeypatch.setattr(folder_module.os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        spool.store(HEAD, DATASET)
    monkeypatch.undo()
    assert (tmp_path / spool.store(HEAD, DATASET).path).exists()


def test_only_old_leftovers_are_cleared_for_siblings_write_here_too(tmp_path):
    spool = FolderSpool(tmp_path)
    spool.prepare()
    for name, age_s in (("old", LEFTOVER_AFTER_S + 1), ("new", 1)):
        path = tmp_path / "incoming" / name
        path.write_bytes(b"")
        os.utime(path, (10_000 - age_s, 10_000 - age_s))
    assert spool.clear_incoming(10_000) == 1
    assert [path.name for path in (tmp_path / "incoming").iterdir()] == ["new"]
