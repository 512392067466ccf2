"""Two receivers and three workers on one PostgreSQL and one spool, as on several hosts: work is
shared, what a killed worker held is taken up by the others, and nothing is done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from service.ledger import tally
from service.ledger.database import Database
from tests.factories import chest, ct_slice, write
from tests.peers import free_port, storescu
from tests.synthetic import CT_RENDER, write_bundle
from tests.waiting import wait_for

pytestmark = pytest.mark.peer

SLICES = 40
DELAY_S = 0.05
CONFIGURATION = """
mode = "report"
commissioning = "waived"
data_dir = "{folder}/{host}"
spool_folder = "{folder}/spool"
ledger_url = "{url}"
[receive]
port = {port}
[complete]
quiet_s = 2
[score]
bundles = "{folder}/bundles"
batch_size = 2
lease_s = 2
[report]
summary_image = "never"
"""


class Site:
    """Hosts that share a ledger and a spool; each host is one process of one role."""

    def __init__(self, folder, url):
        self.folder = folder
        self.url = url
        self.database = Database(url)
        self.processes = []
        write_bundle(folder / "bundles" / "ct-test", "CT", CT_RENDER)

    def start(self, host, *command, port=1):
        """Start a role on a host of its own."""
        config = self.folder / f"{host}.toml"
        config.write_text(
            CONFIGURATION.format(folder=self.folder, host=host, url=self.url, port=port)
        )
        with (self.folder / f"{host}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command, str(config)], stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def receiver(self, host, port):
        return self.start(host, "service", "receive", "--config", port=port)

    def worker(self, host):
        return self.start(host, "tests.slow_worker", str(DELAY_S))

    def ready(self, role):
        return self.rows(f"SELECT count(*) FROM role WHERE role = '{role}' AND ready")[0][0]

    def rows(self, query):
        with self.database.read() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    def leases(self):
        return {token for (token,) in self.rows("SELECT lease_token FROM frame")} - {None}

    def end(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(90)  # they give way to whatever else the machine does
        self.database.dispose()


@contextmanager
def running(folder, url):
    site = Site(folder, url)
    try:
        yield site
    finally:
        site.end()


def stop_at_work(site, worker):
    """Freeze a worker while it holds leases; whether it did."""
    os.kill(worker.pid, signal.SIGSTOP)
    before = site.leases()
    left = SLICES - site.rows("SELECT count(*) FROM frame WHERE state = 'scored'")[0][0]
    assert left > 6, "too late to see anything"

    deadline = time.monotonic() + 3

    def others_moved_on():  # unless it froze within a transaction that they wait for
        return site.leases() - before or time.monotonic() > deadline

    wait_for("the others' next claims", others_moved_on)
    if before & site.leases():
        return True
    os.kill(worker.pid, signal.SIGCONT)
    return False


def test_work_is_shared_and_nothing_is_done_twice(postgresql_server, tmp_path):
    slices = [ct_slice(number, pixels=chest(128, seed=number)) for number in range(1, SLICES + 1)]
    paths = write(tmp_path / "slices", *slices)
    with running(tmp_path, postgresql_server.emptied()) as site:
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
        wait_for("a worker at work", lambda: stop_at_work(site, workers[0]))
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
        both = [name for name in ("worker-1", "worker-2") if "scoring" in log(site, name)]
        assert both == ["worker-1", "worker-2"]
        assert sum(log(site, name).count("series-closed") for name in both) == 1


def log(site, host):
    return (site.folder / f"{host}.log").read_text()
