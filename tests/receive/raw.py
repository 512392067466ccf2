"""C-STORE of bytes as they are, which pynetdicom's own sender would parse and mend first."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from pydicom.filebase import DicomBytesIO
from pydicom.filereader import _read_file_meta_info, read_preamble
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE

from tests.waiting import wait_for


def send_bytes(
    association: Association, body: bytes, sop_class_uid: str, sop_instance_uid: str
) -> int | None:
    """The status, or None where the peer ended the association instead."""
    request = C_STORE()
    request.MessageID = 1
    request.AffectedSOPClassUID = sop_class_uid
    request.AffectedSOPInstanceUID = sop_instance_uid
    request.Priority = 2
    request.DataSet = BytesIO(body)
    # as send_c_store does: else the association's own thread takes the answer
    association._reactor_checkpoint.clear()
    wait_for("the pause", lambda: association._is_paused)
    association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    return None if answer is None else int(answer.Status)


def send_file(association: Association, path: Path) -> int | None:
    """A Part 10 file's dataset under the UIDs its file meta states."""
    content = path.read_bytes()
    stream = DicomBytesIO(content)
    read_preamble(stream, force=False)
    meta = _read_file_meta_info(stream)
    return send_bytes(
        association,
        content[stream.tell() :],
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
