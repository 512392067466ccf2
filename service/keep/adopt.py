"""A file that no row names, read as the object it was when it was received."""

from __future__ import annotations

from service import header
from service.errors import UnreadableObject
from service.keep.spool_files import SpoolFiles
from service.ledger.reception import ReceivedObject
from service.sop_classes import reason_to_set_aside
from service.spooled import read_spooled

MAX_FRAMES = 100_000


def received_object(files: SpoolFiles, path: str) -> ReceivedObject:
    """What receiving would have recorded of the file. Raises RejectedInput with the reason why it
    never would have; FileNotFoundError; SpoolUnavailable."""
    full = files.root / path
    ds = read_spooled(full)
    sha256 = full.stem
    if path != f"{sha256[:2]}/{sha256}.dcm":
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
        size_bytes=full.stat().st_size,
        set_aside=reason_to_set_aside(sop_class_uid),
    )
