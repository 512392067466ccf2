"""A site of several hosts under load, to which things happen, and the count of what is there
afterwards. PostgreSQL, the roles and the PACS are processes of their own; the senders are threads
that send each object until it is acknowledged."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE

from service.ledger import tally
from tests.factories import chest, ct_slice
from tests.peers import Orthanc, free_port, orthanc
from tests.postgresql import Server
from tests.waiting import wait_for
from tests.whole.site import Site, running

ANSWERED_WITHIN_S = 60
SUCCESS, OUT_OF_RESOURCES = 0x0000, 0xA700


@dataclass
class Sender:
    """Sends studies of one series each, an object after the other, until every one is acknowledged;
    to another receiver where one does not answer."""

    name: str
    ports: list[int]
    studies: int
    slices: int
    pause_s: float
    stopped: threading.Event
    acknowledged: set[str] = field(default_factory=set)
    statuses: Counter[str] = field(default_factory=Counter)
    slowest_s: dict[str, float] = field(default_factory=dict)

    def objects(self) -> Iterator[Dataset]:
        number = int(self.name.removeprefix("SCANNER"))
        pixels = [chest(128, seed=one) for one in range(self.slices)]
        for study in range(self.studies):
            uid = f"1.2.826.0.1.3680043.10.{100 + number}.{study}"
            for one in range(self.slices):
                yield ct_slice(
                    one + 1,
                    pixels=pixels[one],
                    StudyInstanceUID=uid,
                    SeriesInstanceUID=f"{uid}.1",
                    FrameOfReferenceUID=f"{uid}.9",
                    DeviceSerialNumber=self.name,
                )

    def run(self) -> None:
        association = None
        for ds in self.objects():
            while not self.stopped.is_set():
                if association is None or not association.is_established:
                    association = self._associate()
                    continue
                status = self._send(association, ds)
                if status == SUCCESS:
                    self.acknowledged.add(str(ds.SOPInstanceUID))
                    break
                self.stopped.wait(0.5)
            self.stopped.wait(self.pause_s)
        if association is not None and association.is_established:
            association.release()

    def _associate(self) -> Any:
        ae = AE(ae_title=self.name)
        ae.dimse_timeout = ae.network_timeout = ANSWERED_WITHIN_S
        ae.connection_timeout = ae.acse_timeout = ANSWERED_WITHIN_S
        ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        self.ports.append(self.ports.pop(0))
        association = ae.associate("127.0.0.1", self.ports[0], ae_title="IQGATE")
        if not association.is_established:
            self.statuses["no association"] += 1
            self.stopped.wait(0.5)
        return association

    def _send(self, association: Any, ds: Dataset) -> int | None:
        began = time.monotonic()
        try:
            status = association.send_c_store(ds).get("Status")
        except (RuntimeError, ValueError):  # the association ended under it
            status = None
        name = "no answer" if status is None else f"0x{status:04X}"
        self.statuses[name] += 1
        took_s = time.monotonic() - began
        self.slowest_s[name] = max(self.slowest_s.get(name, 0.0), took_s)
        return status


@dataclass
class Faults:
    """The site, its senders, and what was done to it."""

    site: Site
    server: Server
    pacs: Orthanc
    http_port: int
    senders: list[Sender]
    threads: list[threading.Thread]
    receivers: list[subprocess.Popen[bytes]]
    workers: list[subprocess.Popen[bytes]]
    others: dict[str, subprocess.Popen[bytes]]
    ports: list[int]
    done: Counter[str] = field(default_factory=Counter)

    def kill_worker(self, number: int) -> None:
        self._kill(self.workers[number], "workers killed")
        self.workers[number] = self.site.worker(f"worker-{number}")

    def kill_receiver(self, number: int) -> None:
        self._kill(self.receivers[number], "receivers killed")
        self.receivers[number] = self.site.receiver(f"receiver-{number}", self.ports[number])

    def kill_other(self, role: str) -> None:
        self._kill(self.others[role], f"{role} killed")
        self.others[role] = self.site.start(role, "service", role, "--config")

    def restart_server(
        self, how: signal.Signals, away: Callable[[], object] = lambda: None
    ) -> None:
        """Stop PostgreSQL, do `away`, start it."""
        self.server.stop(how)
        self.done[f"PostgreSQL {how.name}"] += 1
        away()
        self.server.start()

    def freeze_server(self, away: Callable[[], object]) -> None:
        """PostgreSQL neither answers nor refuses."""
        frozen = self.server.processes()
        self.server.signal(frozen, signal.SIGSTOP)
        self.done["PostgreSQL frozen"] += 1
        away()
        self.server.signal(frozen, signal.SIGCONT)

    def sending(self) -> bool:
        return any(one.is_alive() for one in self.threads)

    def acknowledged(self) -> int:
        return sum(len(one.acknowledged) for one in self.senders)

    def living(self) -> dict[str, bool]:
        """Whether each process that nobody killed still runs."""
        named = {f"receiver-{number}": one for number, one in enumerate(self.receivers)}
        named |= {f"worker-{number}": one for number, one in enumerate(self.workers)}
        return {name: one.poll() is None for name, one in (named | self.others).items()}

    def statuses(self) -> Counter[str]:
        return sum((one.statuses for one in self.senders), Counter())

    def slowest_s(self, status: str) -> float:
        return max(one.slowest_s.get(status, 0.0) for one in self.senders)

    def settle(self, timeout_s: float) -> None:
        """Return once nothing waits any more."""
        studies = sum(one.studies for one in self.senders)
        open_ = "SELECT count(*) FROM series WHERE state = 'open'"
        delivered = "SELECT count(*) FROM outbox WHERE state = 'delivered'"
        wait_for("every series closed", lambda: self.site.rows(open_) == [(0,)], timeout_s)
        wait_for("the reports", lambda: self.site.rows(delivered)[0][0] >= studies, timeout_s)

    def count(self) -> dict[str, Any]:
        """What is there, each figure as it must be where nothing was lost or done twice."""
        rows = self.site.rows
        acknowledged = set().union(*(one.acknowledged for one in self.senders))
        objects = rows("SELECT sop_instance_uid, path FROM object")
        reports = self.pacs.instances("SR")
        with self.site.database.read() as connection:
            scored = tally.read(connection, "frames")
        return {
            "acknowledged": len(acknowledged),
            "without a row": len(acknowledged - {uid for uid, _ in objects}),
            "without a file": sum(
                not (self.site.folder / "spool" / path).is_file() for _, path in objects
            ),
            "rows twice": len(objects) - len({uid for uid, _ in objects}),
            "slices": rows("SELECT count(*) FROM frame")[0][0],
            "scored": rows(
                "SELECT count(*) FROM frame WHERE state = 'scored' AND score IS NOT NULL"
            )[0][0],
            "scores stored": scored.get(("scored",), 0.0),
            "most attempts": rows("SELECT max(attempts) FROM frame")[0][0],
            "series": rows("SELECT count(*) FROM series")[0][0],
            "current assessments": rows(
                "SELECT count(*) FROM assessment WHERE current"
            )[0][0],
            "series with one": rows(
                "SELECT count(DISTINCT series_id) FROM assessment WHERE current"
            )[0][0],
            "assessments": rows("SELECT count(*) FROM assessment")[0][0],
            "reports": rows("SELECT count(*) FROM report")[0][0],
            "delivered": rows("SELECT count(*) FROM outbox WHERE state = 'delivered'")[0][0],
            "studies delivered": rows(
                "SELECT count(DISTINCT r.study_instance_uid) FROM outbox o"
                " JOIN report r ON r.id = o.report_id WHERE o.state = 'delivered'"
            )[0][0],
            "in PACS": len(reports),
            "UIDs in PACS": len({str(one.SOPInstanceUID) for one in reports}),
        }  # fmt: skip

    def _kill(self, process: subprocess.Popen[bytes], what: str) -> None:
        process.kill()
        process.wait(20)
        self.site.processes.remove(process)
        self.done[what] += 1


@contextmanager
def under_load(
    folder: Path,
    server: Server,
    *,
    receivers: int,
    workers: int,
    senders: int,
    studies: int,
    slices: int,
    pause_s: float,
    quiet_s: float,
    delay_s: float,
) -> Iterator[Faults]:
    """A site that is ready, with its senders sending."""
    http_port = free_port()
    with orthanc(folder / "pacs") as pacs:
        more = (
            f'[[deliver.peers]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\n'
            f"port = {pacs.dicom_port}\n[watch]\nport = {http_port}\n"
            "[keep]\nlease_s = 5\n[keep.every_s]\nleases = 2\n"
        )
        options = {"more": more, "delay_s": delay_s, "quiet_s": quiet_s}
        spool = f'spool_folder = "{folder}/spool"'
        with running(folder, server.emptied(), spool, **options) as site:
            ports = [free_port() for _ in range(receivers)]
            stopped = threading.Event()
            sending = [
                Sender(f"SCANNER{one}", list(ports), studies, slices, pause_s, stopped)
                for one in range(senders)
            ]
            threads = [threading.Thread(target=one.run, name=one.name) for one in sending]
            faults = Faults(
                site, server, pacs, http_port, sending, threads,
                [site.receiver(f"receiver-{one}", port) for one, port in enumerate(ports)],
                [site.worker(f"worker-{one}") for one in range(workers)],
                {
                    role: site.start(role, "service", role, "--config")
                    for role in ("deliver", "keep", "watch")
                },
                ports,
            )  # fmt: skip
            wait_for("receivers", lambda: site.ready("receive") == receivers, 180)
            wait_for("workers", lambda: site.ready("score") == workers, 180)
            wait_for("the courier", lambda: site.ready("deliver") == 1, 180)
            wait_for("the pages", lambda: site.ready("watch") == 1, 180)
            for one in threads:
                one.start()
            try:
                yield faults
            finally:
                stopped.set()
                for one in threads:
                    one.join()
