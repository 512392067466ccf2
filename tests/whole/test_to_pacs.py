"""The whole way: C-STORE in by DCMTK, a verdict in the ledger, a Structured Report in Orthanc."""

from __future__ import annotations

import time
from io import BytesIO

import pytest
from pydicom import dcmread

from tests.factories import chest, ct_slice, write
from tests.gate import peer_table, running_gate
from tests.peers import dcmsend, free_port, orthanc, storescu
from tests.validators import assert_valid
from tests.waiting import wait_for

pytestmark = pytest.mark.peer

AS_CHECKED = """
mode = "report"
[receive.senders.STORESCU]
whole_series_on_one_association = true
[receive.senders.DCMSEND]
whole_series_on_one_association = true
[report]
scope = "series"
summary_image = "always"
"""

QUICK = """
mode = "report"
[complete]
quiet_s = 1
settle_s = 0.2
reopened_quiet_max_s = 2
[deliver]
backoff_s = [0.2]
[report]
scope = "series"
summary_image = "never"
"""


@pytest.fixture
def pacs(tmp_path):
    with orthanc(tmp_path / "pacs") as peer:
        yield peer


def written(ds):
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def series(folder, count=6, **overrides):
    """A small series of a size the shipped bundle scores, as files."""
    datasets = [
        ct_slice(number, pixels=chest(256, seed=number), **overrides)
        for number in range(1, count + 1)
    ]
    return write(folder, *datasets)


@pytest.mark.parametrize(
    ("folder", "send"),
    [
        ("ct/philips_brilliance16_chest_lidc0314", "storescu"),
        ("petct/ge_discoveryST_acrin042/ct_ctac", "dcmsend"),
    ],
)
def test_a_real_ct_series_has_its_report_in_pacs(
    tmp_path, pacs, shared_data, folder, send, record_property
):
    configuration = AS_CHECKED + peer_table(pacs.dicom_port)
    with running_gate(tmp_path / "gate", configuration) as gate:
        paths = sorted((shared_data / folder).glob("*.dcm"))
        if send == "storescu":
            storescu(gate.port, paths)
        else:
            dcmsend(gate.port, shared_data / folder)
        ended = time.monotonic()
        (assessment,) = wait_for("the verdict", gate.assessments, 60)
        wait_for("two objects in PACS", lambda: len(pacs.get("/instances")) == 2, 60)
        seconds = time.monotonic() - ended
        assert assessment["verdict"] == "meets"
        assert assessment["slices_scored"] == len(paths)
        record_property("seconds_from_association_end_to_pacs", seconds)
        (report,) = pacs.instances("SR")
        (summary,) = pacs.instances("OT")
        original = dcmread(paths[0], stop_before_pixels=True)
        assert report.StudyInstanceUID == summary.StudyInstanceUID == original.StudyInstanceUID
        assert report.PatientID == original.PatientID
        assert_valid(tmp_path, written(report), template="TID_1500")
        assert_valid(tmp_path, written(summary))
        assert all(state == "delivered" for _, state, _ in gate.outbox())


def test_the_same_series_twice_and_a_late_slice(tmp_path, pacs):
    configuration = QUICK + peer_table(pacs.dicom_port)
    paths = series(tmp_path / "series")
    with running_gate(tmp_path / "gate", configuration) as gate:
        storescu(gate.port, paths[:-1])
        wait_for("the report", lambda: len(pacs.get("/instances")) == 1)
        storescu(gate.port, paths[:-1])
        assert gate.rows("SELECT state, generation FROM series") == [("closed", 5)]
        storescu(gate.port, paths[-1:])
        wait_for("the second report", lambda: len(pacs.get("/instances")) == 2)
        reports = sorted(pacs.instances("SR"), key=lambda ds: "PredecessorDocumentsSequence" in ds)
        (study,) = reports[1].PredecessorDocumentsSequence
        (named,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
        assert named.ReferencedSOPInstanceUID == reports[0].SOPInstanceUID
        assert "PredecessorDocumentsSequence" not in reports[0]
        assert len(gate.assessments()) == 1
        assert len(gate.assessments(current=False)) == 2
        assert_valid(tmp_path, written(reports[1]), template="TID_1500")


def test_a_pacs_that_sends_everything_back_starts_no_loop(tmp_path):
    port = free_port()
    with orthanc(tmp_path / "pacs", gate_port=port) as pacs:
        configuration = QUICK.replace('"never"', '"always"') + peer_table(pacs.dicom_port)
        with running_gate(tmp_path / "gate", configuration, port) as gate:
            storescu(gate.port, series(tmp_path / "series"))
            wait_for("both objects in PACS", lambda: len(pacs.get("/instances")) == 2)
            for _ in range(2):
                pacs.post("/modalities/gate/store", pacs.get("/instances"))
            closed = "SELECT count(*) FROM series WHERE state = 'closed'"
            wait_for("the returned objects are closed", lambda: gate.rows(closed) == [(3,)])
            assert gate.rows("SELECT state, count(*) FROM object GROUP BY state") == [
                ("image", 6),
                ("set-aside", 2),
            ]
            verdicts = [one["verdict"] for one in gate.assessments()]
            assert verdicts.count("not-assessed") == 2
            assert len(gate.outbox()) == 2
            assert len(pacs.get("/instances")) == 2


def test_one_report_a_study_when_all_its_series_are_quiet(tmp_path, pacs):
    configuration = QUICK.replace('scope = "series"', 'scope = "study"')
    second = "1.2.826.0.1.3680043.10.1.1.2"
    with running_gate(tmp_path / "gate", configuration + peer_table(pacs.dicom_port)) as gate:
        storescu(gate.port, series(tmp_path / "one", 4))
        storescu(gate.port, series(tmp_path / "two", 4, SeriesInstanceUID=second))
        wait_for("the report", lambda: len(pacs.get("/instances")) == 1)
        wait_for("both verdicts", lambda: len(gate.assessments()) == 2)
        (report,) = pacs.instances("SR")
        assert_valid(tmp_path, written(report), template="TID_1500")
        assert gate.outbox() == [("structured-report", "delivered", "pacs")]


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    ],
)
def test_patient_names_of_other_scripts(tmp_path, pacs, charset, name):
    paths = series(tmp_path / "series", SpecificCharacterSet=charset, PatientName=name)
    with running_gate(tmp_path / "gate", QUICK + peer_table(pacs.dicom_port)) as gate:
        storescu(gate.port, paths)
        wait_for("the report", lambda: len(pacs.get("/instances")) == 1)
        (report,) = pacs.instances("SR")
        assert str(report.PatientName) == name
        assert report.SpecificCharacterSet == "ISO_IR 192"
        assert "Yamada" not in gate.log()
        assert "Hong" not in gate.log()


def test_shadow_mode_keeps_reports_back_and_says_so(tmp_path, pacs):
    configuration = QUICK.replace('mode = "report"', 'mode = "shadow"')
    with running_gate(tmp_path / "gate", configuration + peer_table(pacs.dicom_port)) as gate:
        storescu(gate.port, series(tmp_path / "series"))
        wait_for("the verdict", gate.assessments)
        assert gate.outbox() == [("structured-report", "held", "pacs")]
        assert pacs.get("/instances") == []
        assert "reports-kept-back" in gate.log()
        assert "held" in gate.text("/")
