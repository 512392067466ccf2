"""The summary image: one page on one series as a Secondary Capture (PS3.3 A.8.1, C.8.6).

What reaches viewers that show no Structured Reports. highdicom's `SCImage` builds it; what it
fixes otherwise (a digitised film, oriented like a patient, captured now) is set here.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import numpy as np
from highdicom.sc import SCImage
from highdicom.sr import CodedConcept
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from service.report import header
from service.report.document import complete, shared_arguments, study_header, to_bytes
from service.report.references import (
    companion_frames_of,
    companion_image_of,
    frames_of,
    image_of,
    images,
)
from service.report.subject import Gate, ReportedSeries
from service.report.summary_page import draw_summary_page

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
    number = instance_number if instance_number is not None else series.facts.series_number
    # what may be invalid is UIDs of images, and those are written as the archive knows them
    with disable_value_validation():
        source = study_header(series, sop_instance_uid)
        ds = SCImage.from_ref_dataset(
            source,
            pixel_array=np.asarray(draw_summary_page(series, gate)),
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            patient_orientation=("L", "P"),
            series_instance_uid=series_instance_uid,
            series_number=SERIES_NUMBER,
            sop_instance_uid=sop_instance_uid,
            instance_number=number if number is not None and 0 < number < 2**31 else 1,
            transfer_syntax_uid=ExplicitVRLittleEndian,
            **shared_arguments(series, gate, now),
        )
        ds.copy_patient_and_study_information(source)
        complete(ds, [series], gate, now)
        _capture(ds)
        _sources(ds, series)
        _lossy_history(ds, series.header)
        return to_bytes(ds)


def _capture(ds: Dataset) -> None:
    """Drawn on a workstation, of no body part, without identity in its pixels."""
    ds.ConversionType = "WSD"
    ds.SecondaryCaptureDeviceManufacturer = ds.Manufacturer
    ds.SecondaryCaptureDeviceManufacturerModelName = ds.ManufacturerModelName
    ds.SecondaryCaptureDeviceSoftwareVersions = ds.SoftwareVersions
    ds.DateOfSecondaryCapture, ds.TimeOfSecondaryCapture = ds.ContentDate, ds.ContentTime
    ds.PatientOrientation = ds.Laterality = ""
    ds.BurnedInAnnotation = "NO"
    ds.DerivationDescription = "Chart and thumbnails drawn from the scores of one series"


def _sources(ds: Dataset, series: ReportedSeries) -> None:
    """The images the page was drawn from, as far as they are shown (C.7.6.1.1.4)."""
    worst = series.assessment.worst
    shown = [(image_of(series, one), frames_of(series, one)) for one in worst]
    fused = [(companion_image_of(series, one), companion_frames_of(series, one)) for one in worst]
    shown += [(image, frames) for image, frames in fused if image is not None]
    items = []
    for image, frames in shown or [(image, None) for image in images(series)]:
        item = Dataset()
        item.ReferencedSOPClassUID = image.SOPClassUID
        item.ReferencedSOPInstanceUID = image.SOPInstanceUID
        if frames:
            item.ReferencedFrameNumber = frames
        item.PurposeOfReferenceCodeSequence = [
            CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)
        ]
        items.append(item)
    if items:
        ds.SourceImageSequence = items


def _lossy_history(ds: Dataset, image: Dataset) -> None:
    """Once lossy, always lossy: the thumbnails inherit it (C.7.6.1.1.5)."""
    if header.code_string(image, "LossyImageCompression") != "01":
        return
    ratios = header.decimals(image, "LossyImageCompressionRatio")
    methods = header.texts(image, "LossyImageCompressionMethod", limit=16)
    ds.LossyImageCompression = "01"
    ds.LossyImageCompressionRatio = [f"{ratio:.6g}" for ratio in ratios] or ["1"]
    if len(methods) == len(ratios):
        ds.LossyImageCompressionMethod = methods
