"""A site of several hosts: each is one process of one role, and they share ledger and spool."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

from service.ledger.database import Database
from tests.synthetic import CT_RENDER, write_bundle
from tests.waiting import wait_for

DELAY_S = 0.05
"""What a slice takes longer than its network: the others shall see a worker at work."""

CONFIGURATION = """
mode = "report"
commissioning = "waived"
data_dir = "{folder}/{host}"
{spool}
ledger_url = "{url}"
[receive]
port = {port}
[complete]
quiet_s = {quiet_s}
[score]
bundles = "{folder}/bundles"
batch_size = 2
lease_s = 2
max_attempts = 5
[report]
summary_image = "never"
"""


class Site:
    """Hosts that share a ledger and a spool; each host is one process of one role."""

    def __init__(self, folder, url, spool, more="", delay_s=DELAY_S, quiet_s=2):
        """spool: the settings that name it, as TOML; more: sections of their own."""
        self.folder = folder
        self.url = url
        self.spool = spool
        self.more = more
        self.delay_s = delay_s
        self.quiet_s = quiet_s
        self.database = Database(url)
        self.processes = []
        write_bundle(folder / "bundles" / "ct-test", "CT", CT_RENDER)

    def start(self, host, *command, port=1):
        """Start a role on a host of its own."""
        config = self.folder / f"{host}.toml"
        config.write_text(
            CONFIGURATION.format(
                folder=self.folder,
                host=host,
                url=self.url,
                port=port,
                spool=self.spool,
                quiet_s=self.quiet_s,
            )
            + self.more
        )
        with (self.folder / f"{host}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command, str(config)], stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def receiver(self, host, port):
        return self.start(host, "service", "receive", "--config", port=port)

    def worker(self, host):
        return self.start(host, "tests.slow_worker", str(self.delay_s))

    def ready(self, role):
        return self.rows(f"SELECT count(*) FROM role WHERE role = '{role}' AND ready")[0][0]

    def rows(self, query):
        with self.database.read() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    def log(self, host):
        return (self.folder / f"{host}.log").read_text()

    def leases(self):
        return {token for (token,) in self.rows("SELECT lease_token FROM frame")} - {None}

    def end(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(90)  # they give way to whatever else the machine does
        self.database.dispose()


@contextmanager
def running(folder, url, spool, **options):
    site = Site(folder, url, spool, **options)
    try:
        yield site
    finally:
        site.end()


def stop_at_work(site, worker, slices):
    """Freeze a worker while it holds leases; whether it did."""
    os.kill(worker.pid, signal.SIGSTOP)
    before = site.leases()
    left = slices - site.rows("SELECT count(*) FROM frame WHERE state = 'scored'")[0][0]
    assert left > 6, "too late to see anything"

    deadline = time.monotonic() + 3

    def others_moved_on():  # unless it froze within a transaction that they wait for
        return site.leases() - before or time.monotonic() > deadline

    wait_for("the others' next claims", others_moved_on)
    if before & site.leases():
        return True
    os.kill(worker.pid, signal.SIGCONT)
    return False
