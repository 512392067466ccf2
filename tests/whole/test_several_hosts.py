"""Two receivers and three workers on one PostgreSQL and one spool, as on several hosts: work is
shared, what a killed worker held is taken up by the others, and nothing is done twice."""

from __future__ import annotations

import threading

import pytest

from service.ledger import tally
from tests.factories import chest, ct_slice, write
from tests.peers import free_port, storescu
from tests.waiting import wait_for
from tests.whole.site import running, stop_at_work

pytestmark = pytest.mark.peer

SLICES = 40


def test_work_is_shared_and_nothing_is_done_twice(postgresql_server, tmp_path):
    slices = [ct_slice(number, pixels=chest(128, seed=number)) for number in range(1, SLICES + 1)]
    paths = write(tmp_path / "slices", *slices)
    with running(
        tmp_path, postgresql_server.emptied(), f'spool_folder = "{tmp_path}/spool"'
    ) as site:
        ports = [free_port(), free_port()]
        for number, port in enumerate(ports):
            site.receiver(f"receiver-{number}", port)
        workers = [site.worker(f"worker-{number}") for number in range(3)]
        wait_for("two receivers", lambda: site.ready("receive") == 2, 180)
        wait_for("three workers", lambda: site.ready("score") == 3, 180)

        # every slice comes to both receivers, at about the same time
        sending = [threading.Thread(target=storescu, args=(port, paths)) for port in ports]
        for one in sending:
            one.start()
        wait_for("slices at work", lambda: len(site.leases()) >= 3, 60)
        wait_for("a worker at work", lambda: stop_at_work(site, workers[0], SLICES))
        workers[0].kill()
        for one in sending:
            one.join()

        wait_for("a report", lambda: site.rows("SELECT id FROM report"), 120)
        frames = site.rows("SELECT state, attempts FROM frame ORDER BY id")
        assert {state for state, _ in frames} == {"scored"}
        assert len(frames) == SLICES
        assert max(attempts for _, attempts in frames) > 1, "some were taken up by others"
        with site.database.read() as connection:
            received = tally.read(connection, "received")
            scored = tally.read(connection, "frames")
            verdicts = tally.read(connection, "verdicts")
        assert received == {("CT", "stored"): SLICES, ("CT", "repeated"): SLICES}
        assert scored == {("scored",): SLICES}, "the killed worker's scores were never stored"
        assert sum(verdicts.values()) == 1
        assert site.rows("SELECT count(*) FROM assessment") == [(1,)]
        assert site.rows("SELECT count(*) FROM report") == [(1,)]
        assert site.rows("SELECT count(*) FROM outbox") == [(1,)]
        both = [name for name in ("worker-1", "worker-2") if "scoring" in site.log(name)]
        assert both == ["worker-1", "worker-2"]
        assert sum(site.log(name).count("series-closed") for name in both) == 1
