"""A whole PET/CT study over C-STORE: the CT, the PET fused with it, and what is refused and why."""

from __future__ import annotations

import shutil

import pytest
from pydicom import dcmread

from service.config import Settings
from tests.factories import chest, ct_slice, pt_slice, write
from tests.gate import running_gate
from tests.peers import storescu
from tests.synthetic import FUSED, write_bundle
from tests.validators import assert_valid
from tests.waiting import wait_for
from tests.whole.test_to_pacs import QUICK

pytestmark = pytest.mark.peer

CLOSED = "SELECT count(*) FROM series WHERE state = 'closed'"


@pytest.fixture
def configuration(tmp_path):
    """The shipped CT bundle, and a PET/CT one that scores by brightness."""
    bundles = tmp_path / "bundles"
    shipped = Settings(mode="shadow", data_dir=tmp_path).bundles
    shutil.copytree(shipped / "ct-md-iqa-compact", bundles / "ct-md-iqa-compact")
    write_bundle(bundles / "pet-test", "PT", FUSED)
    return f'{QUICK}\n[score]\nbundles = "{bundles}"\n'


def by_series(gate):
    return {one["series_instance_uid"]: one for one in gate.assessments()}


def reports(gate):
    return [dcmread(path) for path in sorted((gate.data_dir / "reports").glob("*.dcm"))]


def said(report, meaning):
    """Every value under this concept name, at any depth."""
    found = []
    for item in report.get("ContentSequence", []):
        if item.ConceptNameCodeSequence and (
            item.ConceptNameCodeSequence[0].CodeMeaning == meaning
        ):
            found.append(item.get("TextValue") or item.get("UID"))
        found += said(item, meaning)
    return found


@pytest.mark.slow
def test_the_study_of_a_real_scanner(tmp_path, shared_data, configuration):
    study = shared_data / "petct" / "ge_discoveryST_acrin042"
    folders = ("pt_ac", "scout", "pt_nac", "ct_ctac")
    files = {name: sorted((study / name).glob("*.dcm")) for name in folders}
    uids = {
        name: str(dcmread(paths[0], stop_before_pixels=True).SeriesInstanceUID)
        for name, paths in files.items()
    }
    with running_gate(tmp_path / "gate", configuration) as gate:
        for name in folders:
            storescu(gate.port, files[name], "-xt")
        wait_for("four series closed", lambda: gate.rows(CLOSED) == [(4,)], 400)
        found = by_series(gate)
        ct, ac = found[uids["ct_ctac"]], found[uids["pt_ac"]]
        nac, scout = found[uids["pt_nac"]], found[uids["scout"]]
        assert ct["verdict"] in ("meets", "does-not-meet")
        assert ct["slices_scored"] == 135
        assert ac["verdict"] in ("meets", "does-not-meet")
        assert ac["slices_scored"] == 135
        assert 3.5 < ac["snr"] < 5
        assert nac["verdict"] == scout["verdict"] == "not-assessed"
        assert "without attenuation correction" in nac["reason"]
        assert "a localizer" in scout["reason"]
        pairs = dict(
            gate.rows(
                "SELECT p.series_instance_uid, c.series_instance_uid FROM series p"
                " JOIN series c ON c.id = p.companion_id"
            )
        )
        assert pairs[uids["pt_ac"]] == uids["ct_ctac"]
        page = gate.text(f"/series/{uids['pt_ac']}")
        assert "CT series 2: CT IMAGES" in page
        wait_for("both reports", lambda: len(reports(gate)) == 2, 60)
        by_named = {tuple(said(one, "Series Instance UID")): one for one in reports(gate)}
        pet = by_named[(uids["pt_ac"],)]
        assert said(pet, "Series that the scored one was fused with") == ["CT series 2: CT IMAGES"]
        assert said(pet, "Series Instance UID of the series fused with") == [uids["ct_ctac"]]
        (listed,) = pet.CurrentRequestedProcedureEvidenceSequence
        assert {one.SeriesInstanceUID for one in listed.ReferencedSeriesSequence} == {
            uids["pt_ac"],
            uids["ct_ctac"],
        }
        for path in (gate.data_dir / "reports").glob("*.dcm"):
            assert_valid(tmp_path, path.read_bytes(), template="TID_1500")


def test_pet_before_its_ct_killed_in_between_and_a_ct_slice_that_comes_late(
    tmp_path, configuration
):
    """PET first; the gate killed while it waits; then CT; then one more CT slice: one current
    assessment of the PET, drawn with all of the CT, and its reports in a line."""
    cts = [ct_slice(number, pixels=chest(seed=number)) for number in range(1, 7)]
    pets = [pt_slice(number) for number in range(1, 6)]
    pet_uid = str(pets[0].SeriesInstanceUID)
    with running_gate(tmp_path / "gate", configuration) as gate:
        storescu(gate.port, write(tmp_path / "pet", *pets))
        waiting = "SELECT count(*) FROM frame WHERE state = 'awaiting-companion'"
        assert gate.rows(waiting) == [(5,)]
        gate.kill()
        gate.start()
        assert gate.rows(waiting) == [(5,)]
        storescu(gate.port, write(tmp_path / "ct", *cts[:5]))
        wait_for("both series closed", lambda: gate.rows(CLOSED) == [(2,)], 60)
        first = by_series(gate)[pet_uid]
        assert first["slices_scored"] == 5
        storescu(gate.port, write(tmp_path / "late", cts[5]))
        again = (
            "SELECT count(*) FROM series WHERE state = 'closed' AND generation = 6 AND"
            " companion_generation = 6"
        )
        wait_for("the PET closed anew", lambda: gate.rows(again) == [(1,)], 60)
        wait_for(
            "the reports' delivery",
            lambda: all(state in ("delivered", "cancelled") for _, state, _ in gate.outbox()),
            60,
        )
        second = by_series(gate)[pet_uid]
        assert second["slices_scored"] == 5
        assert second["score"] == pytest.approx(first["score"])
        assert gate.rows("SELECT count(*) FROM assessment WHERE current") == [(2,)]
        of_pet = [one for one in reports(gate) if pet_uid in said(one, "Series Instance UID")]
        assert len(of_pet) == 2, "the same verdict, of other images"
        (successor,) = [one for one in of_pet if "PredecessorDocumentsSequence" in one]
        (named,) = successor.PredecessorDocumentsSequence[0].ReferencedSeriesSequence
        (other,) = [one for one in of_pet if one is not successor]
        assert named.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == other.SOPInstanceUID


def test_pet_that_no_ct_comes_for(tmp_path, configuration):
    impatient = configuration.replace("[complete]", "[complete]\ncompanion_wait_s = 0.5")
    with running_gate(tmp_path / "gate", impatient) as gate:
        storescu(gate.port, write(tmp_path / "pet", *(pt_slice(number) for number in (1, 2, 3))))
        (one,) = wait_for("the verdict", gate.assessments, 30)
        assert one["verdict"] == "not-assessed"
        assert "no CT of the same study and Frame of Reference came" in one["reason"]
        assert gate.outbox() == []
