"""A port that cannot be had: which setting, why, and the way out."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from service.config import Receive
from service.errors import PortUnavailable
from service.ports import bound
from service.receive.server import start_server
from tests.gate import Gate, running_gate


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_a_port_that_is_taken(taken: int) -> None:
    said = f"port = {taken} on 127.0.0.1: Address already in use; another process listens there"
    gate = AE()
    gate.add_supported_context(Verification)
    with pytest.raises(PortUnavailable, match=f"^receive.{said}"):
        start_server(gate, Receive(host="127.0.0.1", port=taken), [])
    with pytest.raises(PortUnavailable, match=f"^watch.{said}"):
        bound("watch", "127.0.0.1", taken)


def test_a_port_that_only_the_privileged_may_have() -> None:
    error = PortUnavailable("receive", "0.0.0.0", 104, PermissionError(13, "Permission denied"))
    assert str(error) == (
        "receive.port = 104 on 0.0.0.0: Permission denied; "
        "ports below 1024 need CAP_NET_BIND_SERVICE (docs/install.md#port-104)"
    )


def test_an_address_of_another_host() -> None:
    with pytest.raises(PortUnavailable, match="; this host has no such address"):
        bound("watch", "192.0.2.77", 8642)


def test_a_gate_does_not_share_its_port_with_another_one(tmp_path: Path) -> None:
    with running_gate(tmp_path / "one", 'mode = "shadow"\n[receive]\nprocesses = 2\n') as one:
        two = Gate(tmp_path / "two", port=one.port)
        two.configure('mode = "shadow"\n[receive]\nprocesses = 2\n')
        with pytest.raises(AssertionError, match="another process listens there"):
            two.start()
