"""The summary image: one page on one series as a Secondary Capture (PS3.3 A.8.1, C.8.6).

What reaches viewers that show no Structured Reports.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pydicom.dataset import Dataset

from service.report import codes, header
from service.report.content import code_item, put, reference
from service.report.document import (
    MANUFACTURER,
    MODEL,
    contributing_equipment,
    shared_modules,
    to_bytes,
)
from service.report.references import to_header, to_slice
from service.report.subject import Gate, ReportedSeries
from service.report.summary_page import draw_summary_page

SOP_CLASS_UID: Final = "1.2.840.10008.5.1.4.1.1.7"
SERIES_NUMBER: Final = 9902


def build_summary_image(
    series: ReportedSeries,
    *,
    gate: Gate,
    sop_instance_uid: str,
    series_instance_uid: str,
    now: datetime,
    instance_number: int | None = None,
) -> bytes:
    """A complete Part 10 file, Explicit VR Little Endian, RGB; equal arguments give equal bytes.

    `instance_number` defaults to the number of the series reported on, so that the pages of a
    study, which share a series, are in its order. `now` must be aware (else ValueError).
    """
    page = draw_summary_page(series, gate)
    number = instance_number if instance_number is not None else series.facts.series_number
    ds = shared_modules(
        series,
        sop_class_uid=SOP_CLASS_UID,
        sop_instance_uid=sop_instance_uid,
        series_instance_uid=series_instance_uid,
        series_number=SERIES_NUMBER,
        instance_number=number if number is not None and 0 < number < 2**31 else 1,
        modality="OT",
        gate=gate,
        now=now,
    )
    put(ds, "ConversionType", "WSD")
    put(ds, "SecondaryCaptureDeviceManufacturer", MANUFACTURER)
    put(ds, "SecondaryCaptureDeviceManufacturerModelName", MODEL)
    put(ds, "SecondaryCaptureDeviceSoftwareVersions", ds.SoftwareVersions)
    put(ds, "DateOfSecondaryCapture", ds.ContentDate)
    put(ds, "TimeOfSecondaryCapture", ds.ContentTime)
    put(ds, "ImageType", ["DERIVED", "SECONDARY", "OTHER"])
    put(ds, "PatientOrientation", "")
    put(ds, "Laterality", "")
    put(ds, "BurnedInAnnotation", "NO")
    put(ds, "DerivationDescription", "Chart and thumbnails drawn from the scores of one series")
    _sources(ds, series)
    _lossy_history(ds, series)
    if equipment := contributing_equipment([series], now):
        put(ds, "ContributingEquipmentSequence", equipment)
    put(ds, "SamplesPerPixel", 3)
    put(ds, "PhotometricInterpretation", "RGB")
    put(ds, "PlanarConfiguration", 0)
    put(ds, "Rows", page.height)
    put(ds, "Columns", page.width)
    put(ds, "BitsAllocated", 8)
    put(ds, "BitsStored", 8)
    put(ds, "HighBit", 7)
    put(ds, "PixelRepresentation", 0)
    put(ds, "PixelData", page.tobytes())
    ds["PixelData"].VR = "OB"
    return to_bytes(ds)


def _sources(ds: Dataset, series: ReportedSeries) -> None:
    """The images the page was drawn from, as far as they are shown (C.7.6.1.1.4)."""
    found = [to_slice(series, one) for one in series.assessment.worst]
    stand_in = to_header(series)
    if not found and stand_in is not None:
        found = [stand_in]
    items = []
    for one in found:
        item = reference(one.sop_class_uid, one.sop_instance_uid)
        if one.frame_number is not None:
            put(item, "ReferencedFrameNumber", one.frame_number)
        put(item, "PurposeOfReferenceCodeSequence", [code_item(codes.SOURCE_IMAGE)])
        items.append(item)
    if items:
        put(ds, "SourceImageSequence", items)


def _lossy_history(ds: Dataset, series: ReportedSeries) -> None:
    """Once lossy, always lossy: the thumbnails inherit it (C.7.6.1.1.5)."""
    image = series.header
    if header.code_string(image, "LossyImageCompression") != "01":
        return
    ratios = header.decimals(image, "LossyImageCompressionRatio")
    methods = header.texts(image, "LossyImageCompressionMethod", limit=16)
    put(ds, "LossyImageCompression", "01")
    put(ds, "LossyImageCompressionRatio", [f"{ratio:.6g}" for ratio in ratios] or ["1"])
    if len(methods) == len(ratios):
        put(ds, "LossyImageCompressionMethod", methods)
