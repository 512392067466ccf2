"""The modules every object of ours shares: patient, study, series, equipment, SOP Common.

Patient and study are the images' own, sanitised, so that a PACS files the object beside them;
Type 2 attributes the header lacks are written empty (PS3.3 C.7.1.1, C.7.2.1, C.7.5.1, C.12.1).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from io import BytesIO
from typing import Final

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian

from service.judge.evidence import BundleIdentity
from service.report import codes, header
from service.report.content import code_item, put
from service.report.identity import IMPLEMENTATION_CLASS_UID, algorithm_device_uid
from service.report.subject import Gate, ReportedSeries
from service.report.wording import SERIES_DESCRIPTION

MANUFACTURER: Final = "iqgate"
MODEL: Final = "iqgate image quality gate"


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


def shared_modules(
    series: ReportedSeries,
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    series_instance_uid: str,
    series_number: int,
    instance_number: int,
    modality: str,
    gate: Gate,
    now: datetime,
) -> Dataset:
    """A new dataset with everything that is neither report nor picture."""
    image = series.header
    moment = local(now, image)
    ds = Dataset()
    put(ds, "SpecificCharacterSet", "ISO_IR 192")
    put(ds, "InstanceCreationDate", moment.strftime("%Y%m%d"))
    put(ds, "InstanceCreationTime", moment.strftime("%H%M%S.%f"))
    put(ds, "SOPClassUID", sop_class_uid)
    put(ds, "SOPInstanceUID", sop_instance_uid)
    if header.utc_offset(image):
        put(ds, "TimezoneOffsetFromUTC", header.utc_offset(image))
    _patient(ds, image)
    _study(ds, image, series.facts.study_instance_uid)
    put(ds, "Modality", modality)
    put(ds, "SeriesInstanceUID", series_instance_uid)
    put(ds, "SeriesNumber", series_number)
    put(ds, "SeriesDescription", SERIES_DESCRIPTION)
    put(ds, "InstanceNumber", instance_number)
    put(ds, "ContentDate", moment.strftime("%Y%m%d"))
    put(ds, "ContentTime", moment.strftime("%H%M%S.%f"))
    put(ds, "Manufacturer", MANUFACTURER)
    put(ds, "ManufacturerModelName", MODEL)
    put(ds, "DeviceSerialNumber", gate.device_uid[:64])
    put(ds, "SoftwareVersions", _line(gate.software_version) or "unknown")
    if _line(gate.station_name):
        put(ds, "StationName", _line(gate.station_name, 16))
    if _line(gate.institution_name):
        put(ds, "InstitutionName", _line(gate.institution_name))
    return ds


def _line(value: str, limit: int = 64) -> str:
    """A setting as SH or LO: one value, no control characters."""
    return "".join(char for char in value.replace("\\", "/") if char.isprintable())[:limit].strip()


def _patient(ds: Dataset, image: Dataset) -> None:
    put(ds, "PatientName", header.person_name(image, "PatientName"))
    put(ds, "PatientID", header.text(image, "PatientID"))
    put(ds, "PatientBirthDate", header.date(image, "PatientBirthDate"))
    put(ds, "PatientSex", header.code_string(image, "PatientSex", ("M", "F", "O")))
    optional = {
        "IssuerOfPatientID": header.text(image, "IssuerOfPatientID"),
        "QualityControlSubject": header.code_string(image, "QualityControlSubject", ("YES", "NO")),
        "PatientAge": header.age(image),
    }
    for keyword, value in optional.items():
        if value:
            put(ds, keyword, value)
    _deidentification(ds, image)


def _deidentification(ds: Dataset, image: Dataset) -> None:
    """Images said to be de-identified yield a report that says so (C.7.1.1, both are Type 1C)."""
    removed = header.code_string(image, "PatientIdentityRemoved", ("YES", "NO"))
    if not removed:
        return
    if removed == "YES":
        methods = header.texts(image, "DeidentificationMethod")
        put(ds, "DeidentificationMethod", methods or ["not stated in the images"])
    put(ds, "PatientIdentityRemoved", removed)


def _study(ds: Dataset, image: Dataset, study_instance_uid: str) -> None:
    put(ds, "StudyInstanceUID", study_instance_uid)
    put(ds, "StudyDate", header.date(image, "StudyDate"))
    put(ds, "StudyTime", header.time(image, "StudyTime"))
    put(ds, "ReferringPhysicianName", header.person_name(image, "ReferringPhysicianName"))
    put(ds, "StudyID", header.text(image, "StudyID", limit=16))
    put(ds, "AccessionNumber", header.text(image, "AccessionNumber", limit=16))
    description = header.text(image, "StudyDescription")
    if description:
        put(ds, "StudyDescription", description)


def contributing_equipment(series: Iterable[ReportedSeries], now: datetime) -> list[Dataset]:
    """A scanner each, and a network each, that had a part in the report (C.12.1, CID 7005)."""
    made: dict[tuple[str, ...], Dataset] = {}
    for one in series:
        facts = one.facts
        if facts.manufacturer or facts.model:
            key = ("scanner", facts.manufacturer, facts.model, facts.device_serial_number)
            made.setdefault(key, _scanner(one))
        bundle = one.assessment.bundle
        if bundle is not None:
            made.setdefault(("bundle", bundle.digest), _algorithm(bundle, local(now, one.header)))
    return list(made.values())


def _scanner(one: ReportedSeries) -> Dataset:
    facts = one.facts
    item = Dataset()
    put(item, "Manufacturer", _line(facts.manufacturer) or "unknown")
    named = (
        ("ManufacturerModelName", _line(facts.model)),
        ("DeviceSerialNumber", _line(facts.device_serial_number)),
        ("StationName", _line(facts.station_name, 16)),
        ("InstitutionName", header.text(one.header, "InstitutionName")),
        ("SoftwareVersions", header.texts(one.header, "SoftwareVersions")[:8]),
    )
    for keyword, value in named:
        if value:
            put(item, keyword, value)
    put(item, "PurposeOfReferenceCodeSequence", [code_item(codes.ACQUISITION_EQUIPMENT)])
    return item


def _algorithm(bundle: BundleIdentity, moment: datetime) -> Dataset:
    """The network as equipment (IHE AIR): its Device UID changes whenever it is retrained."""
    item = Dataset()
    put(item, "Manufacturer", MANUFACTURER)
    put(item, "ManufacturerModelName", _line(bundle.name) or "unknown")
    put(item, "DeviceSerialNumber", _line(bundle.digest) or "unknown")
    put(item, "SoftwareVersions", _line(bundle.version) or "unknown")
    put(item, "DeviceUID", algorithm_device_uid(bundle.digest))
    put(item, "ContributionDateTime", moment.strftime("%Y%m%d%H%M%S.%f%z"))
    put(item, "ContributionDescription", "Scored noise and artefact appearance of the images")
    put(item, "PurposeOfReferenceCodeSequence", [code_item(codes.PROCESSING_EQUIPMENT)])
    return item


def to_bytes(ds: Dataset) -> bytes:
    """A complete Part 10 file, Explicit VR Little Endian (PS3.10 7.1)."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = "IQGATE"
    ds.file_meta = meta
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()
