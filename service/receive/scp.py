"""The Storage SCP: what happens to one C-STORE, from its last byte to its status.

Statuses sent (PS3.4 B.2.3, GG.4.2):

    0x0000  bytes and row are durable
    0xA700  out of resources: the disk nears its reserve, or the ledger cannot be written
    0xA900  the dataset is not the SOP class or instance the command announced
    0xC000  cannot understand: it does not parse, or lacks a UID everything hangs on
    0x0122  the SOP class is refused here by configuration
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from io import BytesIO
from typing import Any, cast

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import AE, _config, evt
from pynetdicom import sop_class as known_sop_classes
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_primitives import A_RELEASE
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ColorPaletteInformationModelFind,
    ColorPaletteInformationModelGet,
    ColorPaletteInformationModelMove,
    ModalityWorklistInformationFind,
    Verification,
)
from sqlalchemy.exc import DBAPIError

from service import header
from service.config import Settings
from service.errors import LedgerUnavailable, ObjectTooLarge, UnreadableObject
from service.ledger import labels, reception
from service.ledger.database import Database
from service.ledger.reception import Arrival, Outcome, ReceivedObject
from service.ledger.wake import Wake
from service.log import line
from service.receive import announcements, rejection
from service.receive.announcements import Announcements
from service.receive.arrears import Arrears
from service.receive.committer import Committer
from service.receive.drain import Drain
from service.receive.origin import Origins
from service.receive.part10 import file_head
from service.receive.server import GuardedServer, start_server
from service.sop_classes import TRANSFER_SYNTAXES, class_name, reason_to_set_aside
from service.spool.face import Spool

log = logging.getLogger("iqgate.receive")

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
CLASS_NOT_SUPPORTED = 0x0122

MAX_FRAMES = 100_000
_SERVICES_BY_OTHER_NAMES: tuple[UID, ...] = (
    ModalityWorklistInformationFind,
    ColorPaletteInformationModelFind,
    ColorPaletteInformationModelGet,
    ColorPaletteInformationModelMove,
)
"""Services that pynetdicom has under another name than PS3.6. It would take them for storage."""
_PREFERENCE = {uid: rank for rank, uid in enumerate(TRANSFER_SYNTAXES)}


class Reception:
    """All that handlers share: where bytes go, where rows go, what time it is."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        spool: Spool,
        wake: Wake,
        receiver: str,
        clock: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.database = database
        self.spool = spool
        self.origins = Origins()
        self.committer = Committer(database, settings.complete)
        self.drain = Drain()
        self.arrears = Arrears(database)
        self.wake = wake
        self.receiver = receiver
        self.clock = clock
        self.ending = threading.Lock()
        """Held while an association's beginning and end find out which of them came last."""


def start(reception_: Reception) -> GuardedServer:
    """Start the SCP; it serves in threads of its own until `shutdown`."""
    # private and unknown storage classes too; the order of syntaxes is set by prefer_syntaxes
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    _config.LOG_HANDLER_LEVEL = "none"
    for service in _SERVICES_BY_OTHER_NAMES:
        setattr(known_sop_classes, service.keyword, service)
    receive = reception_.settings.receive
    ae = AE(ae_title=receive.ae_title)
    ae.add_supported_context(Verification)
    ae.require_called_aet = receive.require_called_ae_title
    ae.require_calling_aet = list(receive.calling_ae_titles)
    ae.maximum_associations = receive.max_associations
    ae.maximum_pdu_size = receive.max_pdu_bytes
    ae.acse_timeout = receive.acse_timeout_s
    ae.dimse_timeout = receive.dimse_timeout_s
    ae.network_timeout = receive.network_timeout_s
    handlers: list[Any] = [
        (evt.EVT_REQUESTED, partial(limit_associations, reception_=reception_)),
        (evt.EVT_REQUESTED, prefer_syntaxes),
        (evt.EVT_ESTABLISHED, partial(_on_established, reception_=reception_)),
        (evt.EVT_PDU_RECV, partial(limit_object_size, max_bytes=receive.max_object_bytes)),
        (evt.EVT_C_STORE, partial(handle_store, reception_=reception_)),
        (evt.EVT_RELEASED, partial(_on_end, reception_=reception_, end="released")),
        (evt.EVT_ABORTED, partial(_on_end, reception_=reception_, end="aborted")),
        (evt.EVT_ACSE_RECV, _on_release_request),
        (evt.EVT_CONN_CLOSE, partial(_on_close, reception_=reception_)),
        *reception_.drain.handlers,
    ]
    if receive.announcements:
        taker = Announcements(
            reception_.database,
            reception_.settings.complete.settle_s,
            reception_.wake,
            reception_.clock,
        )
        taker.add_contexts(ae)
        handlers += taker.handlers
    return start_server(ae, receive, handlers)


def admit(server: GuardedServer, reception_: Reception, settings: Settings) -> None:
    """Have associations yet to come admitted by these settings; those that are open go on."""
    reception_.settings = settings
    server.receive = settings.receive
    server.ae.require_calling_aet = list(settings.receive.calling_ae_titles)


def limit_associations(event: evt.Event, reception_: Reception) -> None:
    """Reject what one address asks for beyond its cap: transient, local limit exceeded
    (PS3.8 9.3.4)."""
    association: Any = event.assoc
    address = association.requestor.address
    most = reception_.settings.receive.max_associations_per_address
    if association._server.associations_of(address) > most:
        log.warning(line("association-rejected", address=address, why="too many at once"))
        association.acse.send_reject(0x02, 0x03, 0x02)
        association.kill()  # returns once the rejection is sent


def prefer_syntaxes(event: evt.Event) -> None:
    """Put each proposed context's transfer syntaxes into the gate's order of preference.

    An unrestricted acceptor takes the first one proposed; sorting makes that the best one.
    """
    for context in cast(Any, event.assoc).requestor.primitive.presentation_context_definition_list:
        context.transfer_syntax = sorted(
            context.transfer_syntax, key=lambda uid: _PREFERENCE.get(uid, len(_PREFERENCE))
        )


def limit_object_size(event: evt.Event, max_bytes: int) -> None:
    """Abort an association whose current object outgrows the limit, before memory does."""
    if not isinstance(event.pdu, P_DATA_TF):
        return
    association: Any = event.assoc
    for item in event.pdu.presentation_data_value_items:
        data = cast(bytes, item.data)
        if data[0] & 1:
            association.object_bytes = 0
            continue
        association.object_bytes = getattr(association, "object_bytes", 0) + len(data)
        if association.object_bytes > max_bytes:
            log.warning(line("object-too-large", max_object_bytes=max_bytes, action="abort"))
            association.abort(block=False)  # in the upper layer's own thread
            return


def handle_store(event: evt.Event, reception_: Reception) -> Dataset | int:
    """EVT_C_STORE: store durably, record, answer."""
    request = cast(C_STORE, event.request)
    dataset = cast(BytesIO, request.DataSet).getvalue()
    try:
        status, comment = _store(event, dataset, reception_)
    except UnreadableObject as error:
        status, comment = CANNOT_UNDERSTAND, str(error)
    except ObjectTooLarge as error:
        status, comment = OUT_OF_RESOURCES, str(error)
    except OSError as error:
        log.exception(line("spool-failed", spool=reception_.spool.name))
        status, comment = OUT_OF_RESOURCES, f"the spool cannot be written: {error.strerror}"
    except LedgerUnavailable:
        status, comment = OUT_OF_RESOURCES, "the ledger is away"
    except DBAPIError:
        log.exception(line("ledger-failed"))
        status, comment = OUT_OF_RESOURCES, "the ledger cannot be written"
    if status != SUCCESS:
        log.warning(
            line(
                "object-refused",
                status=f"0x{status:04X}",
                sop_instance_uid=request.AffectedSOPInstanceUID,
                reason=comment,
            )
        )
        reception_.arrears.refused(status)
    if not comment:
        return status
    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = comment[:64]
    return answer


def _store(event: evt.Event, dataset: bytes, reception_: Reception) -> tuple[int, str]:
    """Store and record one object; the C-STORE status and a comment where it is not success."""
    receive = reception_.settings.receive
    if len(dataset) > receive.max_object_bytes:  # whole within the PDU that was one too many
        return OUT_OF_RESOURCES, "the object is over the limit"
    if not reception_.spool.has_room(len(dataset), receive.disk_reserve_bytes):
        return OUT_OF_RESOURCES, "the disk nears its reserve"
    request = cast(C_STORE, event.request)
    sop_class_uid = str(request.AffectedSOPClassUID)
    sop_instance_uid = str(request.AffectedSOPInstanceUID)
    syntax = str(event.context.transfer_syntax)
    ds = header.parse_header(dataset, syntax, header.ROUTING_TAGS)
    stated = (header.text(ds, "SOPClassUID"), header.text(ds, "SOPInstanceUID"))
    if stated != (sop_class_uid, sop_instance_uid):
        return DOES_NOT_MATCH, "SOP Class or Instance UID differs from the command's"
    set_aside = reason_to_set_aside(sop_class_uid)
    if set_aside is not None and receive.other_objects == "refuse":
        return CLASS_NOT_SUPPORTED, f"{class_name(sop_class_uid)} is not taken here"
    origin = reception_.origins.of(ds)
    frames = header.integer(ds, "NumberOfFrames") or 1
    if not 1 <= frames <= MAX_FRAMES:
        raise UnreadableObject(f"Number of Frames is {frames}")
    head = file_head(sop_class_uid, sop_instance_uid, syntax)
    stored = reception_.spool.store(head, dataset)
    received = ReceivedObject(
        facts=origin.facts,
        patient_name=origin.patient_name,
        patient_id=origin.patient_id,
        study_date=origin.study_date,
        sop_instance_uid=sop_instance_uid,
        sop_class_uid=sop_class_uid,
        transfer_syntax_uid=syntax,
        instance_number=header.integer(ds, "InstanceNumber"),
        frames=frames,
        path=stored.path,
        sha256=stored.sha256,
        size_bytes=stored.size_bytes,
        set_aside=set_aside,
    )
    outcome = reception_.committer.record(
        Arrival(received, _begin(event.assoc, reception_), reception_.clock())
    )
    if outcome is not Outcome.REPEATED:
        reception_.wake.role("score")
        if origin.facts.modality == "PT":
            reception_.wake.role("conclude")  # which finds its CT first
    if sop_class_uid == rejection.KEY_OBJECT_SELECTION and receive.rejection_notes:
        _reject(event, dataset, syntax, reception_)
    return SUCCESS, ""


def _reject(event: evt.Event, dataset: bytes, syntax: str, reception_: Reception) -> None:
    """Take a rejection note at its word, before it is acknowledged. One that comes again, because
    the receiver died before it could answer, says nothing new. What cannot be read stays a document
    like others."""
    try:
        note = rejection.read_note(dataset, syntax)
    except UnreadableObject as error:
        log.warning(line("rejection-note-unreadable", reason=error))
        return
    if note is None:
        return
    images = labels.reject(
        reception_.database,
        note,
        calling_ae_title=cast(Any, event.assoc).requestor.ae_title.strip(),
        settle_s=reception_.settings.complete.settle_s,
        now=reception_.clock(),
    )
    log.info(line("images-rejected", images=images, title=note.meaning))
    if images:
        reception_.wake.role("conclude")


def _on_established(event: evt.Event, reception_: Reception) -> None:
    """Record the association before it can carry anything, unless it is for no objects."""
    association: Any = event.assoc
    association.ledger_id = None
    carries_none = (Verification, *announcements.SOP_CLASSES)
    if all(one.abstract_syntax in carries_none for one in association.accepted_contexts):
        return
    with suppress(LedgerUnavailable):  # it is recorded with its first object, or that is refused
        _begin(association, reception_)


def _begin(association: Any, reception_: Reception) -> int:
    """The association's id in the ledger, where it is recorded unless it was. Raises
    LedgerUnavailable."""
    if association.ledger_id is None:
        association_id = reception.start_association(
            reception_.database,
            calling_ae_title=association.requestor.ae_title.strip(),
            address=association.requestor.address,
            receiver=reception_.receiver,
            now=reception_.clock(),
        )
        with reception_.ending:
            association.ledger_id = association_id
            end = getattr(association, "how_it_ended", None)
        if end is not None:  # by a peer faster than the ledger
            _record_end(association, reception_, end)
    return int(association.ledger_id)


def _on_release_request(event: evt.Event) -> None:
    if isinstance(cast(Any, event).primitive, A_RELEASE):
        cast(Any, event.assoc).release_requested = True


def _on_close(event: evt.Event, reception_: Reception) -> None:
    """The connection closed. A peer may close it before the release it asked for is noted."""
    released = getattr(event.assoc, "release_requested", False)
    _on_end(event, reception_, "released" if released else "aborted")


def _on_end(event: evt.Event, reception_: Reception, end: str) -> None:
    """Note how the association ended; the first of release, abort and close to come counts."""
    association: Any = event.assoc
    with reception_.ending:
        if getattr(association, "how_it_ended", None) is not None:
            return
        association.how_it_ended = end
        known = getattr(association, "ledger_id", None) is not None
    if known:
        _record_end(association, reception_, end)


def _record_end(association: Any, reception_: Reception, end: str) -> None:
    sender = reception_.settings.receive.senders.get(association.requestor.ae_title.strip())
    whole_series = sender is not None and sender.whole_series_on_one_association
    settle_s = reception_.settings.complete.settle_s if whole_series else None
    association_id, at = association.ledger_id, reception_.clock()

    def record() -> None:
        if reception.end_association(
            reception_.database, association_id, end, settle_s=settle_s, now=at
        ):
            reception_.wake.role("score")

    reception_.arrears.ended(record)
