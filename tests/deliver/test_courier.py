"""The courier against a PACS that answers as told: delivered, tried again, given up."""

from __future__ import annotations

from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt

from service.config import Deliver, Peer, Report, Settings
from service.deliver import folder, store_scu
from service.deliver.role import Courier
from service.errors import FolderUnavailable, PacsRefused, PacsUnavailable
from service.ledger.issuing import Issue, NewReport, issue
from tests.away import Outage
from tests.factories import ct_slice, part10
from tests.peers import free_port


class Pacs:
    """A Storage SCP that keeps what it gets and answers with the status it is told."""

    def __init__(self, syntaxes=(ExplicitVRLittleEndian,)):
        self.statuses = []
        self.received = []
        self.port = free_port()
        ae = AE(ae_title="PACS")
        ae.require_called_aet = True
        ae.add_supported_context(CTImageStorage, list(syntaxes))
        self.server = ae.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )

    def _store(self, event):
        status = self.statuses.pop(0) if self.statuses else 0x0000
        if status == 0x0000 or 0xB000 <= status < 0xC000:
            self.received.append(event.encoded_dataset())
        return status

    def peer(self, **overrides):
        values = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": self.port}
        return Peer(**{**values, **overrides})


@pytest.fixture
def pacs():
    one = Pacs()
    yield one
    one.server.shutdown()


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


REPORT = ct_slice(1, SOPInstanceUID="1.2.3.4")


@pytest.fixture
def post(database):
    """Put the report into the outbox for a destination."""

    def put(destination="pacs"):
        report = NewReport(
            "structured-report", "1", "1.2", str(CTImageStorage), "1.2.3.4", "1.9", None,
            part10(REPORT),
        )  # fmt: skip
        with database.write() as connection:
            issue(connection, report, [], Issue((destination,), held=""), 1000.0)

    return put


def courier(database, tmp_path, *peers, **deliver):
    settings = Settings(
        mode="report", data_dir=tmp_path, report=Report(),
        deliver=Deliver(peers=peers, timeout_s=5, **{"backoff_s": (10, 20), **deliver}),
    )  # fmt: skip
    clock = Clock()
    return Courier(settings, database, clock), clock


def outbox(database):
    with database.read() as connection:
        query = "SELECT state, attempts, next_attempt_at, last_error FROM outbox"
        return tuple(connection.exec_driver_sql(query).one())


def test_a_report_is_delivered_as_stored(database, tmp_path, pacs, post):
    post()
    one, _ = courier(database, tmp_path, pacs.peer())
    assert one.step()
    assert not one.step()
    assert outbox(database)[:2] == ("delivered", 1)
    sent = dcmread(BytesIO(pacs.received[0]))
    assert sent.PixelData == REPORT.PixelData
    assert sent.SOPInstanceUID == "1.2.3.4"


def test_a_warning_status_is_delivered(database, tmp_path, pacs, post):
    post()
    pacs.statuses = [0xB000]
    courier(database, tmp_path, pacs.peer())[0].step()
    assert outbox(database)[0] == "delivered"


def test_a_pacs_out_of_resources_is_tried_again_after_growing_waits(database, tmp_path, pacs, post):
    post()
    pacs.statuses = [0xA700, 0xA700, 0xA700]
    one, clock = courier(database, tmp_path, pacs.peer())
    one.step()
    assert outbox(database)[:3] == ("waiting", 1, 1010.0)
    assert "0xA700" in outbox(database)[3]
    assert not one.step(), "not before its time"
    clock.now = 1010
    one.step()
    assert outbox(database)[:3] == ("waiting", 2, 1030.0)
    clock.now = 1030
    one.step()
    assert outbox(database)[:3] == ("waiting", 3, 1050.0), "the last wait repeats"
    clock.now = 1050
    one.step()
    assert outbox(database)[0] == "delivered"


def test_a_pacs_that_is_down_is_waited_for_until_the_report_is_too_old(database, tmp_path, post):
    post()
    peer = Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=free_port())
    one, clock = courier(database, tmp_path, peer, give_up_after_s=15)
    one.step()
    assert outbox(database)[0] == "waiting"
    assert "cannot be reached" in outbox(database)[3]
    clock.now = 1016
    one.step()
    assert outbox(database)[0] == "dead"


def test_a_refused_object_dies_after_so_many_refusals(database, tmp_path, pacs, post):
    post()
    pacs.statuses = [0xA900, 0xC000]
    one, clock = courier(database, tmp_path, pacs.peer(), max_refusals=2)
    one.step()
    assert outbox(database)[0] == "waiting"
    clock.now = 1010
    one.step()
    assert outbox(database)[0] == "dead"
    assert "0xC000" in outbox(database)[3]


def test_each_outcome_is_counted(database, tmp_path, pacs, post):
    post()
    pacs.statuses = [0xA700]
    one, clock = courier(database, tmp_path, pacs.peer())
    one.step()
    clock.now = 1010
    one.step()
    with database.read() as connection:
        query = "SELECT labels, value FROM tally WHERE name = 'deliveries' ORDER BY labels"
        counted = [tuple(row) for row in connection.exec_driver_sql(query)]
    assert counted == [("pacs\tdelivered", 1.0), ("pacs\tunavailable", 1.0)]


def test_with_no_peer_reports_go_to_the_folder(database, tmp_path, post):
    post("folder")
    courier(database, tmp_path)[0].step()
    (path,) = (tmp_path / "reports").iterdir()
    assert path.name == "1.2.3.4.dcm"
    assert dcmread(path).PatientID == "PID-1"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderUnavailable, match="file"):
        folder.put(tmp_path / "file", "1.2", b"")


def test_a_pacs_that_knows_only_the_implicit_syntax():
    one = Pacs((ImplicitVRLittleEndian,))
    try:
        store_scu.store(one.peer(), part10(REPORT), 5)
    finally:
        one.server.shutdown()
    assert dcmread(BytesIO(one.received[0])).PatientID == "PID-1"


def test_what_a_pacs_does_not_take_is_refused(pacs, monkeypatch):
    # a receiver started in this process before lets pynetdicom take every class
    monkeypatch.setattr("pynetdicom._config.UNRESTRICTED_STORAGE_SERVICE", False)
    with pytest.raises(PacsRefused, match="accepts none"):
        store_scu.store(pacs.peer(), part10(ct_slice(1, SOPClassUID="1.2.3")), 5)
    with pytest.raises(PacsUnavailable, match="check both AE titles"):
        store_scu.store(pacs.peer(ae_title="OTHER"), part10(REPORT), 5)


def test_echo(pacs):
    with pytest.raises(PacsUnavailable):
        store_scu.echo(pacs.peer(port=free_port()), 5)


def test_what_was_delivered_while_the_ledger_went_away_is_not_sent_again(
    database, tmp_path, pacs, post, monkeypatch
):
    """The courier goes on knowing it, and tells the ledger when it is back."""
    post()
    outage = Outage(database)
    one, _ = courier(database, tmp_path, pacs.peer())
    one._patiently = outage.patience()
    bring = one._bring

    def bring_and_lose(parcel):
        bring(parcel)
        outage.begin()

    monkeypatch.setattr(one, "_bring", bring_and_lose)
    assert one.step()
    assert outage.waits == 1
    assert len(pacs.received) == 1
    with database.read() as connection:
        row = connection.exec_driver_sql("SELECT state, attempts FROM outbox").one()
    assert tuple(row) == ("delivered", 1)
    assert not one.step()
