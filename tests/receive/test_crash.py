"""A receiver that dies between the spool and the ledger leaves a file too many, never too few."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager

from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_context

from service.ledger.database import Database, sqlite_url
from tests.factories import ct_slice
from tests.peers import free_port
from tests.waiting import wait_for

DIES_BEFORE_THE_COMMIT = """
import os
from service.receive.committer import Committer
Committer._record = lambda *_: os._exit(9)
"""
DIES_AFTER_THE_COMMIT = """
import os
from service.receive.committer import Committer
record = Committer.record
Committer.record = lambda *given: (record(*given), os._exit(9))
"""
RUN = """
from pathlib import Path
import sys
from service.config import load_settings
from service.receive.role import run
settings = load_settings(Path(sys.argv[1]))
run(settings, lambda: settings)
"""


@contextmanager
def receiver(folder, port, before=""):
    config = folder / "iqgate.toml"
    config.write_text(
        f'mode = "shadow"\ndata_dir = "data"\n[receive]\nport = {port}\ndisk_reserve_bytes = 0\n'
    )
    process = subprocess.Popen([sys.executable, "-c", before + RUN, str(config)])
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def send(port, ds):
    """The status; None where the receiver died."""
    ae = AE(ae_title="CT1")
    contexts = [build_context(ds.SOPClassUID, ExplicitVRLittleEndian)]

    def associate():
        association = ae.associate("127.0.0.1", port, contexts, ae_title="IQGATE")
        return association if association.is_established else None

    association = wait_for("the association", associate)
    status = association.send_c_store(ds).get("Status")
    if association.is_established:
        association.release()
    return status


def state(folder):
    """Spooled files, and the files that rows speak of."""
    spool = folder / "data" / "spool"
    database = Database(sqlite_url(folder / "data" / "iqgate.db"))
    with database.read() as connection:
        rows = connection.exec_driver_sql("SELECT path FROM object ORDER BY path").scalars().all()
    database.dispose()
    return sorted(str(path.relative_to(spool)) for path in spool.rglob("*.dcm")), list(rows)


def test_no_row_without_its_file_wherever_a_receiver_dies(tmp_path):
    (tmp_path / "data").mkdir()
    database = Database(sqlite_url(tmp_path / "data" / "iqgate.db"))
    database.upgrade()
    database.dispose()
    port = free_port()
    first, second = ct_slice(1), ct_slice(2)
    with receiver(tmp_path, port, DIES_BEFORE_THE_COMMIT) as process:
        assert send(port, first) is None
        assert process.wait(20) == 9
    files, rows = state(tmp_path)
    assert (len(files), rows) == (1, [])
    with receiver(tmp_path, port, DIES_AFTER_THE_COMMIT) as process:
        assert send(port, second) is None
        assert process.wait(20) == 9
    files, rows = state(tmp_path)
    assert (len(files), len(rows)) == (2, 1)
    assert set(rows) < set(files)
    with receiver(tmp_path, port):
        assert [send(port, ds) for ds in (first, second)] == [0, 0]
    files, rows = state(tmp_path)
    assert files == rows
    assert len(rows) == 2
