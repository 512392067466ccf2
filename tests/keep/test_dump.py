"""A ledger on PostgreSQL, dumped and restored beside a spool that has gone on."""

import subprocess

import pytest

from service.keep import jobs
from service.ledger.database import Database
from tests.keep.house import House
from tests.postgresql import _programs

pytestmark = pytest.mark.peer


def test_a_dump_beside_a_newer_spool_misses_nothing(postgresql_server, tmp_path):
    server, programs = postgresql_server, _programs()
    first = House(Database(server.emptied()), tmp_path)
    first.done(1, 1, 2)
    first.receive(2, 1, study=2)
    connect = ["-h", str(server.folder), "-p", str(server.port), "-U", "iqgate"]
    dump = subprocess.run(
        [programs / "pg_dump", *connect, "-Fc", "ledger"], capture_output=True, check=True
    ).stdout
    first.receive(2, 2, study=2)
    objects = "SELECT sop_instance_uid FROM object ORDER BY sop_instance_uid"
    acknowledged = first.rows(objects)
    first.database.dispose()

    server.run("CREATE DATABASE restored")
    subprocess.run([programs / "pg_restore", *connect, "-d", "restored"], input=dump, check=True)
    second = House(Database(server.url.replace("/ledger", "/restored")), tmp_path)
    try:
        second.database.upgrade()
        second.now = first.now + 7200
        assert len(second.rows(objects)) == 3
        assert all(jobs.run(second.keeping, name) for name in jobs.JOBS)
        assert second.rows(objects) == acknowledged
        assert second.rows("SELECT verdict FROM assessment") == [("meets",)]
        assert second.rows("SELECT state FROM outbox") == [("delivered",)]
        assert second.rows("SELECT count(*) FROM absent_file") == [(0,)]
        assert jobs.run(second.set(images_days=0.001), "retention")
        assert len(second.files()) == 2
    finally:
        second.database.dispose()
        server.run("DROP DATABASE restored")
