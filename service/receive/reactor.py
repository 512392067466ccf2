"""pynetdicom's two threads an association, made to wait for events instead of polling for them.

Upstream, both the upper layer's thread and the association's sleep a millisecond between looks at
their queues, on every association, idle or not: of the 6 ms that one image once cost, two were such
sleep. Here the upper layer waits on the socket and on its own queue at once, and the association
on its messages. A P-DATA-TF is read into one buffer and handed on without being copied again.
"""

from __future__ import annotations

import queue
import select
import socket
import ssl
import struct
from typing import Any, cast

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_STORE, DimsePrimitiveType
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_items import PresentationDataValueItem
from pynetdicom.pdu_primitives import P_DATA

LOOK_S = 0.05
"""Timers, and threads told to end, are looked at this often while nothing happens."""

_P_DATA = 0x04
_HEADER = struct.Struct(">BBL")
_ITEM = struct.Struct(">LB")
_COMMAND_US = struct.Struct("<HHLH")


class SignallingQueue(queue.Queue[Any]):
    """A queue that also makes a socket readable, for a thread that waits on another one too."""

    def __init__(self) -> None:
        super().__init__()
        self.signal, self._signaller = socket.socketpair()
        self.signal.setblocking(False)
        self._signaller.setblocking(False)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        try:
            self._signaller.send(b"x")
        except OSError:
            return  # it is readable already, or nobody reads any more

    def heard(self) -> None:
        """Make the socket unreadable until the next `put`."""
        try:
            while self.signal.recv(64):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        """Free the sockets; what is put from now on is heard by nobody."""
        self.signal.close()
        self._signaller.close()


class RousingQueue(queue.Queue[Any]):
    """What the upper layer tells the association; the association waits on its messages."""

    messages: queue.Queue[Any]

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self.messages.put((None, None))


class PromptMessages(DIMSEServiceProvider):
    """Waits for a message where the association's loop would look and sleep."""

    def get_msg(self, block: bool = False) -> Any:
        """The next (context id, message), or (None, None) after a short wait."""
        if block:
            return super().get_msg(block=True)
        try:
            return self.msg_queue.get(timeout=LOOK_S)
        except queue.Empty:
            return None, None

    def send_msg(self, primitive: DimsePrimitiveType, context_id: int) -> None:
        """Send a message; a plain answer to a C-STORE is written by hand, ten times as fast."""
        plain = (
            isinstance(primitive, C_STORE)
            and primitive.MessageIDBeingRespondedTo is not None
            and getattr(primitive, "ErrorComment", None) is None
            and getattr(primitive, "OffendingElement", None) is None
        )
        if not plain:
            super().send_msg(primitive, context_id)
            return
        data = P_DATA()
        command = b"\x03" + store_answer(cast(C_STORE, primitive))
        data.presentation_data_value_list.append((context_id, command))
        self.dul.send_pdu(data)


def store_answer(answer: C_STORE) -> bytes:
    """The command set of a C-STORE-RSP (PS3.7 9.3.1.2), in Implicit VR Little Endian."""
    elements = b"".join(
        (
            _command_uid(0x0002, answer.AffectedSOPClassUID),
            _COMMAND_US.pack(0, 0x0100, 2, 0x8001),
            _COMMAND_US.pack(0, 0x0120, 2, answer.MessageIDBeingRespondedTo),
            _COMMAND_US.pack(0, 0x0800, 2, 0x0101),  # no dataset
            _COMMAND_US.pack(0, 0x0900, 2, answer.Status),
            _command_uid(0x1000, answer.AffectedSOPInstanceUID),
        )
    )
    return struct.pack("<HHLL", 0, 0, 4, len(elements)) + elements


def _command_uid(element: int, uid: str | None) -> bytes:
    value = (uid or "").encode("ascii")
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHL", 0, element, len(value)) + value


class PromptUpperLayer(DULServiceProvider):
    """Waits on its socket and its queue at once, and reads P-DATA-TF into a buffer of its own."""

    _buffer: bytearray
    max_bytes: int

    def run(self) -> None:
        try:
            super().run()
        finally:
            cast(SignallingQueue, self.to_provider_queue).close()

    def _is_transport_event(self) -> bool:
        if not self.event_queue.empty():
            return False  # what came before first: the buffer holds one PDU
        own = cast(SignallingQueue, self.to_provider_queue)
        peer = None if self.socket is None else self.socket.socket
        if peer is not None and self.state_machine.current_state != "Sta13":
            waiting: list[socket.socket] = [own.signal, peer]
            try:
                ready = bool(_pending(peer)) or select.select(waiting, [], [], LOOK_S)[0]
            except (OSError, ValueError):
                ready = True  # closed meanwhile: upstream says so to the state machine
            if not ready:
                return False
            own.heard()
            if self._process_recv_primitive():
                return False
        return super()._is_transport_event()

    def _read_pdu_data(self) -> None:
        """Read one PDU: a P-DATA-TF here, all others, and whatever is wrong, as upstream does."""
        peer = None if self.socket is None else self.socket.socket
        if peer is None or isinstance(peer, ssl.SSLSocket):
            super()._read_pdu_data()
            return
        try:
            head = peer.recv(_HEADER.size, socket.MSG_PEEK)
        except OSError:
            head = b""
        if len(head) < _HEADER.size or head[0] != _P_DATA:
            super()._read_pdu_data()
            return
        length = _HEADER.size + _HEADER.unpack(head)[2]
        if length > self.max_bytes:
            super()._read_pdu_data()
            return
        if len(self._buffer) < length:
            self._buffer = bytearray(length)
        received = memoryview(self._buffer)[:length]
        if not _fill(peer, received):
            self.event_queue.put("Evt17")  # transport connection closed
            return
        pdu = _p_data(received)
        if pdu is None:
            self.event_queue.put("Evt19")  # invalid PDU
            return
        evt.trigger(self.assoc, evt.EVT_PDU_RECV, {"pdu": pdu})
        self.event_queue.put("Evt10")
        self._recv_pdu.put(pdu)


def make_prompt(association: Association, max_bytes: int) -> None:
    """Make an acceptor's association, not started yet, wait for events. It refuses PDUs of more
    than `max_bytes`."""
    # pynetdicom has no factories for these; each keeps what it already is and knows
    messages = association.dimse
    messages.__class__ = PromptMessages
    upper = cast(PromptUpperLayer, association.dul)
    upper.__class__ = PromptUpperLayer
    upper.max_bytes = max_bytes
    upper._buffer = bytearray()
    upper.to_provider_queue = SignallingQueue()
    told = upper.to_user_queue = RousingQueue()
    told.messages = messages.msg_queue


def _pending(peer: socket.socket) -> int:
    """Bytes that TLS has decrypted already and `select` does not see."""
    return peer.pending() if isinstance(peer, ssl.SSLSocket) else 0


def _fill(peer: socket.socket, received: memoryview) -> bool:
    """Fill `received`; False where the connection ended or timed out first."""
    filled = 0
    try:
        while filled < len(received):
            count = peer.recv_into(received[filled:])
            if not count:
                return False
            filled += count
    except OSError:
        return False
    return True


def _p_data(received: memoryview) -> P_DATA_TF | None:
    """The PDU (PS3.8 9.3.5), its values views of `received`; None where it is malformed."""
    pdu = P_DATA_TF()
    at = _HEADER.size
    while at < len(received):
        if at + _ITEM.size > len(received):
            return None
        length, context_id = _ITEM.unpack_from(received, at)
        end = at + 4 + length
        if length < 2 or end > len(received):
            return None
        item = PresentationDataValueItem()
        item.presentation_context_id = context_id
        # read-only for whoever gets it, and over before the next PDU is read
        item.presentation_data_value = cast(bytes, received[at + _ITEM.size : end])
        pdu.presentation_data_value_items.append(item)
        at = end
    return pdu
