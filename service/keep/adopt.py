"""A file that no row names, read as the object it was when it was received."""

from __future__ import annotations

from service import header
from service.errors import UnreadableObject
from service.ledger.reception import ReceivedObject
from service.sop_classes import reason_to_set_aside
from service.spool.face import Spool, digest_in, path_of

MAX_FRAMES = 100_000


def received_object(files: Spool, path: str) -> ReceivedObject:
    """What receiving would have recorded of the file. Raises RejectedInput with the reason why it
    never would have; FileNotFoundError; SpoolUnavailable."""
    ds = files.read(path)
    sha256 = digest_in(path)
    if path != path_of(sha256):
        raise UnreadableObject("it lies where the gate puts no file of its name")
    facts = header.series_facts(ds)
    if not facts.study_instance_uid or not facts.series_instance_uid:
        raise UnreadableObject("Study or Series Instance UID is missing")
    frames = header.integer(ds, "NumberOfFrames") or 1
    if not 1 <= frames <= MAX_FRAMES:
        raise UnreadableObject(f"Number of Frames is {frames}")
    sop_class_uid = header.text(ds, "SOPClassUID")
    return ReceivedObject(
        facts=facts,
        patient_name=header.text(ds, "PatientName", 324),
        patient_id=header.text(ds, "PatientID"),
        study_date=header.text(ds, "StudyDate", 16),
        sop_instance_uid=header.text(ds, "SOPInstanceUID"),
        sop_class_uid=sop_class_uid,
        transfer_syntax_uid=header.text(ds.file_meta, "TransferSyntaxUID"),
        instance_number=header.integer(ds, "InstanceNumber"),
        frames=frames,
        path=path,
        sha256=sha256,
        size_bytes=files.size_bytes(path),
        set_aside=reason_to_set_aside(sop_class_uid),
    )
