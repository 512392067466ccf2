"""The listening side of pynetdicom, hardened against peers that mean harm or mean nothing."""

from __future__ import annotations

import ipaddress
import logging
import socket
from socketserver import BaseServer
from typing import Any, cast

from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.transport import (
    AssociationSocket,
    RequestHandler,
    ThreadedAssociationServer,
)

from service.config import Receive
from service.errors import PortUnavailable
from service.log import line
from service.receive.reactor import make_prompt

log = logging.getLogger("iqgate.receive")

STRANGERS_NAMED = 100
"""Addresses turned away that the log names, each once: port scans must not fill the disk."""

PDU_HEADROOM_BYTES = 1024**2
"""An A-ASSOCIATE-RQ with 128 contexts is larger than a small maximum PDU; a PDU that claims more
than both is cut off before anything is allocated for it."""


class GuardedSocket(AssociationSocket):
    """Reads a PDU in as few calls as the kernel allows, and none that claims absurd length."""

    max_bytes: int

    def recv(self, nr_bytes: int) -> bytearray:
        """Read exactly `nr_bytes`, fewer where the peer closed. Raises OSError beyond the limit."""
        if nr_bytes > self.max_bytes:
            raise OSError(f"a PDU of {nr_bytes} bytes is over the limit of {self.max_bytes}")
        connection = cast(socket.socket, self.socket)
        received = bytearray(nr_bytes)
        view = memoryview(received)
        filled = 0
        while filled < nr_bytes:
            count = connection.recv_into(view[filled:])
            if not count:
                break
            filled += count
        view.release()
        del received[filled:]
        return received


class GuardedRequestHandler(RequestHandler):
    """Makes associations that read through a `GuardedSocket`."""

    def _create_association(self) -> Association:
        association = super()._create_association()
        # pynetdicom offers no factory for the socket, and wrapping it twice would open it twice
        guarded = cast(GuardedSocket, association.dul.socket)
        guarded.__class__ = GuardedSocket
        guarded.max_bytes = max(self.ae.maximum_pdu_size, PDU_HEADROOM_BYTES)
        make_prompt(association, guarded.max_bytes)
        return association


class GuardedServer(ThreadedAssociationServer):
    """Turns connections away by address and by number before a thread is spent on them."""

    receive: Receive
    strangers: set[str]
    """Addresses turned away that the log has named."""
    request_queue_size = 128
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind, sharing the port with sibling processes where there are to be any."""
        if self.receive.processes > 1:
            cast(socket.socket, self.socket).setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether this connection may go on (`socketserver` closes it otherwise)."""
        address = ipaddress.ip_address(client_address[0])
        if not any(address in network for network in self._networks):
            self._turn_away(str(address))
            return False
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request.settimeout(self.receive.network_timeout_s)
        return self.associations_of(client_address[0]) < self._most_connections

    def _turn_away(self, address: str) -> None:
        """A sender that is cut off is told nothing, so the log is where its administrator looks."""
        if address not in self.strangers and len(self.strangers) < STRANGERS_NAMED:
            self.strangers.add(address)
            log.warning(line("connection-refused", address=address, why="not in receive.addresses"))

    def associations_of(self, address: str) -> int:
        """How many connections from this address are open, associated or not."""
        return sum(
            association.requestor.address == address for association in self.active_associations
        )

    @property
    def _most_connections(self) -> int:
        """Beyond the cap on associations a peer is told so; far beyond it is cut off unheard."""
        return 4 * self.receive.max_associations_per_address

    def shutdown(self) -> None:
        """Accept no more connections; associations that are open go on."""
        BaseServer.shutdown(self)
        self.server_close()

    @property
    def _networks(self) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        return [ipaddress.ip_network(network) for network in self.receive.addresses]


def start_server(ae: AE, receive: Receive, handlers: list[Any]) -> GuardedServer:
    """Bind and serve in a thread. Raises PortUnavailable."""

    class Server(GuardedServer):
        pass

    Server.receive = receive  # its constructor binds already
    Server.strangers = set()
    try:
        server = ae.make_server(
            (receive.host, receive.port),
            ae_title=receive.ae_title,
            evt_handlers=handlers,
            server_class=Server,
            request_handler=GuardedRequestHandler,
        )
    except OSError as error:
        raise PortUnavailable("receive", receive.host, receive.port, error) from error
    return cast(GuardedServer, server)
