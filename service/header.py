"""What a DICOM header says, read from bytes nobody has vouched for.

Reading stops at the pixels, allocates nothing the bytes do not fill, and turns every way a
header can be broken into one of two errors. The accessors never raise: an attribute that is
absent, empty or malformed reads as "not stated".
"""

from __future__ import annotations

import struct
import zlib
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pydicom.config
from pydicom import Dataset, FileDataset, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from service.errors import ObjectTooLarge, UnreadableObject
from service.judge.evidence import SeriesFacts

pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

BROKEN = (
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    IndexError,
    OverflowError,
    NotImplementedError,
    EOFError,
    OSError,
    LookupError,
    struct.error,
    zlib.error,
    RecursionError,
    MemoryError,
    InvalidDicomError,
    BytesLengthException,
)
"""What pydicom raises on malformed bytes: it documents none of it, so all that was seen."""

MAX_INFLATED_BYTES = 1024**3
_PIXELS = (Tag("PixelData"), Tag("FloatPixelData"), Tag("DoubleFloatPixelData"))

ROUTING_TAGS: list[BaseTag | int] = [
    Tag(keyword)
    for keyword in (
        "SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "StudyDate",
        "SeriesDate", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "Modality",
        "Manufacturer", "StationName", "SeriesDescription", "ManufacturerModelName",
        "IrradiationEventUID", "PatientName", "PatientID", "PatientBirthDate", "PatientAge",
        "BodyPartExamined", "SliceThickness", "DeviceSerialNumber", "ProtocolName",
        "ConvolutionKernel", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber",
        "InstanceNumber", "FrameOfReferenceUID", "NumberOfFrames",
    )
]  # fmt: skip
"""All that receiving reads of an object."""


def _at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag in _PIXELS


def parse_header(
    dataset: bytes, transfer_syntax_uid: str, tags: list[BaseTag | int] | None = None
) -> Dataset:
    """The header of an encoded dataset (no preamble, no file meta), up to its pixels.

    With `tags`, only those elements are kept. Raises UnreadableObject, ObjectTooLarge.
    """
    syntax = UID(transfer_syntax_uid)
    if syntax == DeflatedExplicitVRLittleEndian:
        dataset = inflate(dataset)
    try:
        return read_dataset(
            BytesIO(dataset),
            is_implicit_VR=syntax == ImplicitVRLittleEndian,
            is_little_endian=syntax != ExplicitVRBigEndian,
            stop_when=_at_pixels,
            specific_tags=tags,
        )
    except RecursionError as error:
        raise UnreadableObject("sequences are nested beyond reason") from error
    except BROKEN as error:
        raise UnreadableObject(f"the dataset does not parse ({type(error).__name__})") from error


def inflate(dataset: bytes) -> bytes:
    """Undo Deflated Explicit VR (PS3.5 A.5), refusing to grow beyond `MAX_INFLATED_BYTES`."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(dataset, MAX_INFLATED_BYTES)
    except zlib.error as error:
        raise UnreadableObject("the deflated dataset does not inflate") from error
    if inflater.unconsumed_tail:
        raise ObjectTooLarge(f"the deflated dataset inflates beyond {MAX_INFLATED_BYTES} bytes")
    return inflated


def read_file(source: Path | BinaryIO, *, stop_before_pixels: bool = True) -> FileDataset:
    """Read a Part 10 file, or a bare dataset without preamble and meta.

    Raises UnreadableObject, ObjectTooLarge, and OSError where the file itself cannot be read.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            return read_file(file, stop_before_pixels=stop_before_pixels)
    try:
        ds = dcmread(source, force=True, stop_before_pixels=stop_before_pixels)
    except RecursionError as error:
        raise UnreadableObject("sequences are nested beyond reason") from error
    except BROKEN as error:
        raise UnreadableObject(f"it does not parse as DICOM ({type(error).__name__})") from error
    if not ds.get("SOPClassUID") or not ds.get("SOPInstanceUID"):
        raise UnreadableObject("it is not a DICOM object: no SOP Class or SOP Instance UID")
    return ds


def text(ds: Dataset, keyword: str, limit: int = 64) -> str:
    """A value as one line of at most `limit` characters; empty where it is not stated."""
    try:
        value = ds.get(keyword)
        if value is None:
            return ""
        if isinstance(value, (list, tuple)) or (
            hasattr(value, "__iter__")
            and not isinstance(value, (str, bytes))
            and not hasattr(value, "family_name")
        ):
            value = "\\".join(str(part) for part in value)
        return " ".join(str(value).replace("\0", " ").split())[:limit]
    except BROKEN:
        return ""


def values(ds: Dataset, keyword: str) -> tuple[str, ...]:
    """A multi-valued string attribute, upper case, stripped."""
    joined = text(ds, keyword, limit=1024)
    return tuple(part.strip().upper() for part in joined.split("\\")) if joined else ()


def number(ds: Dataset, keyword: str) -> float | None:
    """The first value as a finite number, or None."""
    try:
        value = float(text(ds, keyword).split("\\")[0])
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def private_number(ds: Dataset, tag: tuple[int, int]) -> float | None:
    """The first value of a private attribute as a finite number, or None.

    Where it arrived in Implicit VR and its creator is not known, its bytes are taken for text, or
    for a little-endian whole number.
    """
    try:
        raw = ds[tag].value
        if isinstance(raw, bytes):
            text_ = raw.decode("ascii", "replace").strip(" \0")
            raw = text_ if text_.isprintable() and text_ else int.from_bytes(raw, "little")
        if isinstance(raw, str):
            raw = raw.split("\\")
        value = float(raw[0] if hasattr(raw, "__getitem__") else raw)
    except BROKEN:
        return None
    return value if abs(value) < float("inf") else None


def integer(ds: Dataset, keyword: str) -> int | None:
    value = number(ds, keyword)
    return None if value is None else int(value)


def series_facts(ds: Dataset) -> SeriesFacts:
    """The facts of the series a header belongs to."""
    acquired = text(ds, "AcquisitionDateTime") or (
        text(ds, "AcquisitionDate") + text(ds, "AcquisitionTime")
    )
    return SeriesFacts(
        series_instance_uid=text(ds, "SeriesInstanceUID"),
        study_instance_uid=text(ds, "StudyInstanceUID"),
        modality=text(ds, "Modality", 16).upper(),
        series_number=integer(ds, "SeriesNumber"),
        series_description=text(ds, "SeriesDescription"),
        protocol_name=text(ds, "ProtocolName"),
        body_part=text(ds, "BodyPartExamined"),
        manufacturer=text(ds, "Manufacturer"),
        model=text(ds, "ManufacturerModelName"),
        device_serial_number=text(ds, "DeviceSerialNumber"),
        station_name=text(ds, "StationName"),
        kernel=text(ds, "ConvolutionKernel"),
        slice_thickness_mm=number(ds, "SliceThickness"),
        age_years=_age_years(ds),
        frame_of_reference_uid=text(ds, "FrameOfReferenceUID"),
        irradiation_event_uid=text(ds, "IrradiationEventUID").split("\\")[0],
        acquired_at=acquired,
    )


def _age_years(ds: Dataset) -> float | None:
    """Patient's Age (PS3.5 AS, its leading zeros not insisted on), else from birth date and study
    date. Equal dates are what de-identification leaves, not a newborn, whose age is stated."""
    stated = text(ds, "PatientAge")
    per_year = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}
    count, unit = stated[:-1], stated[-1:].upper()
    if count.isdigit() and len(count) <= 3 and unit in per_year:
        return int(count) / per_year[unit]
    born, studied = _date(text(ds, "PatientBirthDate")), _date(text(ds, "StudyDate"))
    if born is None or studied is None or studied <= born:
        return None
    return (studied - born).days / 365.25


def _date(value: str) -> date | None:
    try:
        return date(int(value[:4]), int(value[4:6]), int(value[6:8]))
    except ValueError:
        return None
