"""Several receiving processes on one port."""

from __future__ import annotations

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom import AE, build_context
from pynetdicom.sop_class import Verification

from service.config import Receive
from service.errors import PortUnavailable
from service.receive.server import start_server
from tests.gate import running_gate
from tests.peers import free_port
from tests.waiting import wait_for
from tests.whole.test_to_pacs import QUICK


def test_siblings_share_the_port_and_strangers_do_not():
    port = free_port()
    siblings = []
    try:
        for _ in range(2):
            ae = AE("IQGATE")
            ae.add_supported_context(Verification)
            siblings.append(start_server(ae, Receive(port=port, processes=2), []))
        with pytest.raises(PortUnavailable, match="in use"):
            start_server(ae, Receive(port=port, processes=1), [])
    finally:
        for one in siblings:
            one.server_close()


def test_with_two_receivers_only_the_dead_ones_associations_are_lost(tmp_path):
    configuration = QUICK + "\n[receive]\nprocesses = 2\n"
    ready = "SELECT process FROM role WHERE role = 'receive' AND ready"
    carrying = "SELECT receiver, end FROM association ORDER BY id"
    with running_gate(tmp_path / "gate", configuration) as gate:
        wait_for("both", lambda: len(gate.rows(ready)) == 2)
        held = []
        try:
            # the kernel deals connections out by chance: until both have one
            while len({receiver for receiver, _ in gate.rows(carrying)}) < 2 and len(held) < 14:
                contexts = [build_context(CTImageStorage)]
                one = AE().associate("127.0.0.1", gate.port, contexts, ae_title="IQGATE")
                assert one.is_established
                held.append(one)
                wait_for("its row", lambda: len(gate.rows(carrying)) == len(held))
            killed = gate.kill_role("receive")
            wait_for("their end", lambda: ("lost",) in [row[1:] for row in gate.rows(carrying)])
            for receiver, end in gate.rows(carrying):
                assert (end == "lost") == receiver.endswith(f":{killed}")
        finally:
            for one in held:
                one.abort()
