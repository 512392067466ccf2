"""Leaving shadow: held without a signature, sent after it, and nothing sent retroactively."""

from __future__ import annotations

import pytest

from service.__main__ import main
from tests.gate import Gate
from tests.peers import storescu
from tests.waiting import wait_for
from tests.whole.test_to_pacs import QUICK, series

pytestmark = pytest.mark.peer

SECOND = "1.2.826.0.1.3680043.10.1.1.2"


def test_reports_leave_when_somebody_signed_the_limits(tmp_path, capsys):
    gate = Gate(tmp_path / "gate")
    gate.configure(QUICK, commissioning="required")
    try:
        gate.start()
        assert "commissioning-required signed=0" in gate.log()
        storescu(gate.port, series(tmp_path / "one"))
        wait_for("the first verdict", gate.assessments)
        (first,) = gate.assessments()
        assert (first["mode"], first["hold"]) == ("shadow", "its limits are not commissioned")
        assert gate.outbox() == [("structured-report", "held", "folder")]
        assert "1: its limits are not commissioned." in gate.text("/")
        arguments = ["commission", "sign", "--config", str(gate.config), "--rule", "ct"]
        arguments += ["--scanner", "Maker Model 12345", "--by", "A. Curie, physicist"]
        assert main(arguments) == 0
        assert "PROVISIONAL" in capsys.readouterr().out
        storescu(gate.port, series(tmp_path / "two", SeriesInstanceUID=SECOND))
        wait_for("the second verdict", lambda: len(gate.assessments()) == 2)
        states = "SELECT count(*) FROM outbox WHERE state = 'delivered'"
        wait_for("its report is delivered", lambda: gate.rows(states) == [(1,)])
        second = next(one for one in gate.assessments() if one["series_instance_uid"] == SECOND)
        assert (second["mode"], second["commissioned"]) == ("report", True)
        assert any("commissioned provisionally" in one for one in second["warnings"])
        assert [state for _, state, _ in gate.outbox()] == ["held", "delivered"]
    finally:
        gate.stop()
