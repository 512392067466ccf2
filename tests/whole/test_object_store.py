"""Two receivers and two workers on a spool in an object store, which goes away in the middle: what
was acknowledged is there, the rest is refused and sent again, and nothing is done twice."""

from __future__ import annotations

import threading

import pytest
from pynetdicom import AE

from service.ledger import tally
from service.ledger.database import sqlite_url
from tests.factories import chest, ct_slice, write
from tests.object_store import CREDENTIALS
from tests.peers import free_port, storescu
from tests.waiting import wait_for
from tests.whole.site import running, stop_at_work

pytestmark = pytest.mark.peer

SLICES, BEFORE = 30, 8
"""All, and those that come before the store goes away."""


def answer(port, ds):
    """What a receiver answers to one object."""
    ae = AE(ae_title="CT1")
    ae.add_requested_context(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
    association = ae.associate("127.0.0.1", port, ae_title="IQGATE")
    try:
        return association.send_c_store(ds)
    finally:
        association.release()


def to_both(ports, paths):
    sending = [threading.Thread(target=storescu, args=(port, paths)) for port in ports]
    for one in sending:
        one.start()
    return sending


def test_a_store_that_goes_away_and_a_worker_that_is_killed(object_store, tmp_path):
    slices = [ct_slice(number, pixels=chest(128, seed=number)) for number in range(1, SLICES + 1)]
    paths = write(tmp_path / "slices", *slices)
    spool = f'spool_url = "s3://gate-spool/site"\nspool_endpoint = "{object_store.endpoint}"'
    with running(tmp_path, sqlite_url(tmp_path / "shared.db"), spool) as site:
        site.database.upgrade()
        ports = [free_port(), free_port()]
        site.receiver("receiver-0", ports[0])
        wait_for("a receiver", lambda: site.ready("receive") == 1, 180)
        storescu(ports[0], paths[:BEFORE])

        object_store.stop()
        try:
            site.receiver("receiver-1", ports[1])
            wait_for("two receivers", lambda: site.ready("receive") == 2, 180)
            for port in ports:
                refused = answer(port, slices[-1])
                assert refused.Status == 0xA700
                why = "the spool cannot be written: the store does not answer"
                assert refused.ErrorComment == why
            workers = [site.worker(f"worker-{number}") for number in range(2)]
            wait_for("two workers", lambda: site.ready("score") == 2, 180)
            wait_for("one in vain", lambda: "spool-unavailable" in all_logs(site), 60)
        finally:
            object_store.start()
        acknowledged = {path for (path,) in site.rows("SELECT path FROM object")}
        assert len(acknowledged) == BEFORE
        assert site.rows("SELECT id FROM frame WHERE state = 'excluded'") == []

        sending = to_both(ports, paths)
        wait_for("a worker at work", lambda: stop_at_work(site, workers[0], SLICES), 60)
        workers[0].kill()
        for one in sending:
            one.join()
        wait_for("a report", lambda: site.rows("SELECT id FROM report"), 120)

        assert site.rows("SELECT DISTINCT state FROM frame") == [("scored",)]
        with site.database.read() as connection:
            received = tally.read(connection, "received")
            scored = tally.read(connection, "frames")
        repeated = SLICES + BEFORE
        assert received == {("CT", "stored"): SLICES, ("CT", "repeated"): repeated}
        assert scored == {("scored",): SLICES}, "the killed worker's scores were never stored"
        assert site.rows("SELECT count(*) FROM report") == [(1,)]
        there = {key.removeprefix("site/") for key in object_store.objects()}
        recorded = {path for (path,) in site.rows("SELECT path FROM object")}
        assert acknowledged < recorded == there - {"iqgate-spool"}
        assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in all_logs(site)


def all_logs(site):
    return "".join(path.read_text() for path in site.folder.glob("*.log"))
