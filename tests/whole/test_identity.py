"""One SOP Instance UID, several objects: copies in other syntaxes, and objects that differ."""

from __future__ import annotations

import pytest

from tests.factories import chest, ct_slice, write
from tests.gate import running_gate
from tests.peers import storescu
from tests.waiting import wait_for
from tests.whole.test_to_pacs import QUICK, series

pytestmark = pytest.mark.peer

CLOSED = "SELECT count(*) FROM series WHERE state = 'closed' AND generation = 5"


def test_a_recompressed_copy_is_a_duplicate_and_changes_nothing(tmp_path):
    with running_gate(tmp_path / "gate", QUICK) as gate:
        storescu(gate.port, series(tmp_path / "series", 4))
        wait_for("the report", lambda: list((gate.data_dir / "reports").glob("*.dcm")))
        copy = ct_slice(1, pixels=chest(256, seed=1))
        copy.compress("1.2.840.10008.1.2.4.80", generate_instance_uid=False)
        storescu(gate.port, write(tmp_path / "copy", copy), "-xt")
        wait_for("the series closed again", lambda: gate.rows(CLOSED) == [(1,)])
        assert gate.rows("SELECT state, count(*) FROM object GROUP BY state") == [
            ("duplicate", 1),
            ("image", 4),
        ]
        first, second = gate.assessments(current=False)
        assert first["score"] == second["score"]
        assert second["slices_scored"] == 4
        assert len(gate.outbox()) == 1, "it says the same of the same images"


def test_another_image_under_a_known_uid_is_kept_flagged_and_not_scored(tmp_path):
    with running_gate(tmp_path / "gate", QUICK) as gate:
        storescu(gate.port, series(tmp_path / "series", 4))
        wait_for("the verdict", gate.assessments)
        other = ct_slice(1, pixels=chest(256, noise_hu=200, seed=9))
        storescu(gate.port, write(tmp_path / "other", other))
        wait_for("the series closed again", lambda: gate.rows(CLOSED) == [(1,)])
        assert gate.rows("SELECT state, reason FROM object WHERE state <> 'image'") == [
            (
                "conflict",
                "another object under a SOP Instance UID already known: "
                "the pixels of frame 1 differ",
            )
        ]
        (current,) = gate.assessments()
        assert current["slices_scored"] == 4
        assert any("differ were not scored: 1." in one for one in current["warnings"])
        spooled = list((gate.data_dir / "spool").rglob("*.dcm"))
        assert len(spooled) == 5, "nothing acknowledged is lost"
