"""C-STORE and C-ECHO to a peer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from service import header
from service.config import Peer
from service.errors import PacsRefused, PacsUnavailable

_OUT_OF_RESOURCES = range(0xA700, 0xA800)
_WARNINGS = range(0xB000, 0xC000)
_PROCESSING_FAILURE = 0x0110
_MAX_CONTEXTS = 128


def echo(peer: Peer, timeout_s: float) -> None:
    """C-ECHO. Raises PacsUnavailable."""
    with _association(peer, [build_context(Verification)], timeout_s) as association:
        status = association.send_c_echo()
        if "Status" not in status:
            raise PacsUnavailable(f"{_named(peer)} did not answer the C-ECHO")
        if status.Status != 0x0000:
            raise PacsUnavailable(f"{_named(peer)} answered the C-ECHO with 0x{status.Status:04X}")


def store(peer: Peer, part10: bytes, timeout_s: float) -> None:
    """C-STORE one Part 10 object. Raises PacsUnavailable, PacsRefused."""
    ds = header.read_file(BytesIO(part10), stop_before_pixels=False)
    # a peer that takes no explicit syntax gets the same values in the implicit one
    context = build_context(
        ds.SOPClassUID, [ds.file_meta.TransferSyntaxUID, ImplicitVRLittleEndian]
    )
    with _association(peer, [context], timeout_s) as association:
        _send(association, peer, ds)


def send_files(peer: Peer, paths: Sequence[Path], timeout_s: float) -> Iterator[tuple[Path, str]]:
    """C-STORE files on one association, as they are; yields each with what went wrong (or "").

    Raises PacsUnavailable.
    """
    headers = [(path, header.read_file(path)) for path in paths]
    wanted = sorted({(ds.SOPClassUID, _syntax(ds)) for _, ds in headers})[:_MAX_CONTEXTS]
    contexts = [build_context(sop_class, [syntax]) for sop_class, syntax in wanted]
    with _association(peer, contexts, timeout_s) as association:
        for path, _ in headers:
            try:
                _send(association, peer, header.read_file(path, stop_before_pixels=False))
            except PacsRefused as error:
                yield path, str(error)
            else:
                yield path, ""


def _syntax(ds: Dataset) -> str:
    return str(ds.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian))


def _send(association: Association, peer: Peer, ds: Dataset) -> None:
    try:
        status = association.send_c_store(ds)
    except ValueError as error:  # no accepted context for this class and syntax
        raise PacsRefused(f"{_named(peer)} takes no {ds.SOPClassUID.name}") from error
    except RuntimeError as error:
        raise PacsUnavailable(f"{_named(peer)} ended the association") from error
    if "Status" not in status:
        raise PacsUnavailable(f"{_named(peer)} did not answer the C-STORE")
    code = int(status.Status)
    if code == 0x0000 or code in _WARNINGS:
        return
    comment = header.text(status, "ErrorComment")
    message = f"{_named(peer)} answered 0x{code:04X}" + (f": {comment}" if comment else "")
    if code in _OUT_OF_RESOURCES or code == _PROCESSING_FAILURE:
        raise PacsUnavailable(message)
    raise PacsRefused(message)


@contextmanager
def _association(
    peer: Peer, contexts: list[PresentationContext], timeout_s: float
) -> Iterator[Association]:
    ae = AE(ae_title=peer.calling_ae_title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = timeout_s
    association = ae.associate(peer.host, peer.port, contexts, ae_title=peer.ae_title)
    if association.is_rejected:
        raise PacsUnavailable(f"{_named(peer)} rejected the association; check both AE titles")
    if not association.is_established:
        if association.rejected_contexts:
            raise PacsRefused(f"{_named(peer)} accepts none of the presentation contexts")
        raise PacsUnavailable(f"{_named(peer)} cannot be reached")
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _named(peer: Peer) -> str:
    return f"{peer.ae_title} at {peer.host}:{peer.port}"
