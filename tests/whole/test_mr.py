"""Whole MR studies over C-STORE: every series in the right assessment, or the right refusal."""

from __future__ import annotations

import pytest
from pydicom import dcmread

from tests.gate import running_gate
from tests.peers import storescu
from tests.validators import assert_valid
from tests.waiting import wait_for
from tests.whole.test_to_pacs import QUICK

pytestmark = [pytest.mark.peer, pytest.mark.slow]

PROSTATE = "mr/siemens_skyra_prostatex0207"
FRUIT = (
    "mr/ge_signahdxt_brain_t1_irspgr_defaced",
    "mr/ge_signahdxt_brain_t1_irspgr_defaced_spaced",
)
CLOSED = "SELECT count(*) FROM series WHERE state = 'closed'"
LEVELS = (
    "SELECT s.series_instance_uid, f.stack, count(DISTINCT f.drawn_at_level)"
    " FROM frame f JOIN series s ON s.id = f.series_id WHERE f.score IS NOT NULL GROUP BY 1, 2"
)


def test_a_prostate_study_and_a_fruit(tmp_path, shared_data):
    files = {
        name: sorted((shared_data / PROSTATE / name).glob("*.dcm"))
        for name in ("t2_tse_tra", "t2_tse_sag", "adc", "dce")
    }
    files["fruit"] = [path for one in FRUIT for path in sorted((shared_data / one).glob("*.dcm"))]
    uids = {
        name: str(dcmread(paths[0], stop_before_pixels=True).SeriesInstanceUID)
        for name, paths in files.items()
    }
    with running_gate(tmp_path / "gate", QUICK) as gate:
        for name, paths in files.items():
            storescu(gate.port, paths, *(() if name == "fruit" else ("-xt",)))
        wait_for("all series closed", lambda: gate.rows(CLOSED) == [(5,)], 300)
        found = {one["series_instance_uid"]: one for one in gate.assessments()}
        for name in ("t2_tse_tra", "t2_tse_sag", "dce", "fruit"):
            one = found[uids[name]]
            assert one["verdict"] in ("meets", "does-not-meet"), (name, one["reason"])
            assert one["bundle"]["name"] == "mr-miqanet-compact"
            assert one["snr"] > 5
        # the ends of the volume show nothing but noise
        assert 40 <= found[uids["fruit"]]["slices_scored"] < 86
        adc = found[uids["adc"]]
        assert adc["verdict"] == "not-assessed"
        assert "map" in adc["reason"]
        # whatever order slices came in, those of one stack were drawn on one scale
        assert all(levels == 1 for _, _, levels in gate.rows(LEVELS))
        reports = gate.data_dir / "reports"
        expected = len(gate.outbox())
        wait_for("the reports", lambda: len(list(reports.glob("*.dcm"))) == expected, 60)
        for path in reports.glob("*.dcm"):
            kind = dcmread(path).Modality
            assert_valid(tmp_path, path.read_bytes(), template="TID_1500" if kind == "SR" else None)
