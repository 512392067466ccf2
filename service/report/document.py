"""What the report and the picture share as DICOM objects, beyond what highdicom does by itself.

Both are built by highdicom, from `study_header`: a header with the images' patient and study,
sanitised, since highdicom raises for Type 2 attributes that are absent and for character sets and
SOP classes it does not know. `complete` then adds what its constructors have no argument for, and
sets the times it reads from the clock, so that equal arguments give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, CTImageStorage

from service.report import header
from service.report.equipment import contributing_equipment, gate_equipment, one_line
from service.report.identity import IMPLEMENTATION_CLASS_UID
from service.report.subject import Gate, ReportedSeries
from service.report.wording import SERIES_DESCRIPTION


def require_one_study(series: Iterable[ReportedSeries]) -> None:
    """Raises ValueError unless there are series and all are of one study."""
    studies = {one.facts.study_instance_uid for one in series}
    if len(studies) != 1:
        raise ValueError(f"a report covers one study, not {len(studies)}")


def local(now: datetime, image: Dataset) -> datetime:
    """`now`, which must be aware, in the time zone the header declares, if it declares one."""
    if now.tzinfo is None:
        raise ValueError("the time of a report must carry its time zone")
    offset = header.utc_offset(image)
    if not offset:
        return now
    minutes = int(offset[1:3]) * 60 + int(offset[3:])
    return now.astimezone(timezone(timedelta(minutes=minutes if offset[0] == "+" else -minutes)))


def study_header(series: ReportedSeries, sop_instance_uid: str) -> Dataset:
    """Patient and study of the images, valid, as the header of an image that does not exist.

    Type 2 attributes that are missing are there and empty (PS3.3 C.7.1.1, C.7.2.1). Names are left
    to `complete`: highdicom warns of those of one component, which are many. `sop_instance_uid`
    is any that no image has.
    """
    image = series.header
    ds = Dataset()
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = sop_instance_uid
    ds.SeriesInstanceUID = sop_instance_uid
    ds.StudyInstanceUID = series.facts.study_instance_uid
    ds.StudyDate = header.date(image, "StudyDate")
    ds.StudyTime = header.time(image, "StudyTime")
    ds.StudyID = header.text(image, "StudyID", limit=16)
    ds.AccessionNumber = header.text(image, "AccessionNumber", limit=16)
    ds.ReferringPhysicianName = ds.PatientName = ""
    ds.PatientID = header.text(image, "PatientID")
    ds.PatientBirthDate = header.date(image, "PatientBirthDate")
    ds.PatientSex = header.code_string(image, "PatientSex", ("M", "F", "O"))
    removed = header.code_string(image, "PatientIdentityRemoved", ("YES", "NO"))
    methods = header.texts(image, "DeidentificationMethod") or ["not stated in the images"]
    optional = {
        "StudyDescription": header.text(image, "StudyDescription"),
        "IssuerOfPatientID": header.text(image, "IssuerOfPatientID"),
        "QualityControlSubject": header.code_string(image, "QualityControlSubject", ("YES", "NO")),
        "PatientAge": header.age(image),
        "PatientIdentityRemoved": removed,
        "DeidentificationMethod": methods if removed == "YES" else "",
    }
    for keyword, value in optional.items():
        if value:
            setattr(ds, keyword, value)
    return ds


def shared_arguments(series: ReportedSeries, gate: Gate, now: datetime) -> dict[str, Any]:
    """Arguments of every highdicom constructor used here."""
    moment = local(now, series.header)
    return {
        **gate_equipment(gate),
        "series_description": SERIES_DESCRIPTION,
        "content_date": f"{moment:%Y%m%d}",
        "content_time": f"{moment:%H%M%S.%f}",
        "specific_character_set": "ISO_IR 192",
    }


def complete(ds: Dataset, series: Sequence[ReportedSeries], gate: Gate, now: datetime) -> None:
    """Names, times, time zone, station and equipment of an object that highdicom has built."""
    image = series[0].header
    ds.PatientName = header.person_name(image, "PatientName")
    ds.ReferringPhysicianName = header.person_name(image, "ReferringPhysicianName")
    ds.InstanceCreationDate, ds.InstanceCreationTime = ds.ContentDate, ds.ContentTime
    if offset := header.utc_offset(image):
        ds.TimezoneOffsetFromUTC = offset
    if station := one_line(gate.station_name, 16):
        ds.StationName = station
    # highdicom appends itself, with a time from the clock: our bytes would vary with its version
    ds.ContributingEquipmentSequence = contributing_equipment(series, local(now, image))
    if not ds.ContributingEquipmentSequence:
        del ds.ContributingEquipmentSequence


def to_bytes(ds: Dataset) -> bytes:
    """A complete Part 10 file, in the transfer syntax that highdicom has set (PS3.10 7.1)."""
    ds.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    ds.file_meta.ImplementationVersionName = "IQGATE"
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()
