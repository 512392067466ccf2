"""A gate whose quiet period never ends: what closes its series is what others say of them."""

from __future__ import annotations

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom import build_context
from pynetdicom.sop_class import ModalityPerformedProcedureStep

from tests.factories import SERIES, write
from tests.gate import running_gate
from tests.peers import storescu
from tests.receive.test_announcements import STEP_UID, end_of_step, new_step
from tests.receive.test_rejection import rejection_note
from tests.receive.test_scp import associated
from tests.synthetic import CT_RENDER, write_bundle
from tests.waiting import wait_for
from tests.whole.test_to_pacs import series

pytestmark = pytest.mark.peer

PATIENT = """
mode = "report"
[complete]
quiet_s = 36000
settle_s = 0.2
[score]
bundles = "bundles"
[report]
scope = "series"
summary_image = "never"
"""


def test_a_step_closes_a_series_and_a_note_opens_it_again(tmp_path):
    write_bundle(tmp_path / "gate" / "bundles" / "ct-test", "CT", CT_RENDER)
    with running_gate(tmp_path / "gate", PATIENT) as gate:
        with associated(gate.port, build_context(ModalityPerformedProcedureStep)) as association:
            step = ModalityPerformedProcedureStep
            assert association.send_n_create(new_step(), step, STEP_UID)[0].Status == 0
            storescu(gate.port, series(tmp_path / "ct"))
            assert gate.assessments() == []
            assert association.send_n_set(end_of_step(*range(1, 7)), step, STEP_UID)[0].Status == 0
        (first,) = wait_for("the verdict", gate.assessments, 60)
        assert (first["series_instance_uid"], first["slices_total"]) == (SERIES, 6)
        reports = tmp_path / "gate" / "data" / "reports"
        wait_for("its report", lambda: len(list(reports.glob("*.dcm"))) == 1, 30)

        (note,) = write(tmp_path / "note", rejection_note(*range(1, 7)))
        storescu(gate.port, [note], calling="PACS1")
        words = "rejected by PACS1 (Rejected for Quality Reasons, Motion blur)"
        (second,) = wait_for(
            "the verdict that knows",
            lambda: [one for one in gate.assessments() if words in "".join(one["warnings"])],
            60,
        )
        assert second["verdict"] == first["verdict"]
        assert gate.rows("SELECT count(*) FROM report") == [(1,)], "none for a rejected series"
        assert 'iqgate_rejected_images_total{title="113001"} 6.0' in gate.text("/metrics")
        assert (
            gate.rows("SELECT sop_class_uid FROM object WHERE state = 'image'")
            == [(str(CTImageStorage),)] * 6
        )
