"""Several receiving processes on one port."""

from __future__ import annotations

import pytest

from service.config import Receive
from service.receive.server import start_server
from tests.gate import running_gate
from tests.peers import free_port
from tests.waiting import wait_for
from tests.whole.test_to_pacs import QUICK


def test_siblings_share_the_port_and_strangers_do_not():
    from pynetdicom import AE

    port = free_port()
    siblings = []
    try:
        for _ in range(2):
            ae = AE("IQGATE")
            ae.add_supported_context("1.2.840.10008.1.1")
            siblings.append(start_server(ae, Receive(port=port, processes=2), []))
        with pytest.raises(OSError, match="in use"):
            start_server(ae, Receive(port=port), [])
    finally:
        for one in siblings:
            one.server_close()


def test_a_gate_with_two_receivers_loses_only_the_dead_ones_associations(tmp_path):
    configuration = QUICK + "\n[receive]\nprocesses = 2\n"
    alive = "SELECT process FROM role WHERE role = 'receive' AND ready"
    with running_gate(tmp_path / "gate", configuration) as gate:
        wait_for("both", lambda: len(gate.rows(alive)) == 2)
        killed = gate.kill_role("receive")
        (survivor,) = (p for (p,) in gate.rows(alive) if not p.endswith(f":{killed}"))
        wait_for("a third", lambda: len(gate.rows(alive)) == 3)
        assert survivor in {p for (p,) in gate.rows(alive)}
