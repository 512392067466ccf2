"""Which images, requests and earlier documents a report points at (PS3.3 10.6, C.17.2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
)

from service.judge.evidence import SliceScore
from service.report import header
from service.report.subject import Predecessor, ReportedSeries

_FALLBACK_SOP_CLASS: Final = {
    "CT": CTImageStorage,
    "PT": PositronEmissionTomographyImageStorage,
    "MR": MRImageStorage,
}


def image_of(series: ReportedSeries, one: SliceScore) -> Dataset:
    """The image that a score belongs to, by its four UIDs.

    UIDs are written as the archive knows them, valid or not.
    """
    return _image(series, one.sop_instance_uid, _header_of(series, one))


def frames_of(series: ReportedSeries, one: SliceScore) -> list[int] | None:
    """The frame that a score belongs to; None where its image holds one frame (C.18.4)."""
    frames = header.decimals(_header_of(series, one), "NumberOfFrames")
    many = one.frame_number > 1 or (bool(frames) and frames[0] > 1)
    return [one.frame_number] if many else None


def companion_image_of(series: ReportedSeries, one: SliceScore) -> Dataset | None:
    """The CT image that a PET slice was fused with, by its four UIDs; None where there is none."""
    fused = series.fused.get((one.sop_instance_uid, one.frame_number))
    if fused is None or series.companion is None:
        return None
    ds = Dataset()
    ds.SOPClassUID = header.uid(fused.header, "SOPClassUID") or CTImageStorage
    ds.SOPInstanceUID = fused.sop_instance_uid
    ds.SeriesInstanceUID = series.companion.series_instance_uid
    ds.StudyInstanceUID = series.companion.study_instance_uid
    return ds


def companion_frames_of(series: ReportedSeries, one: SliceScore) -> list[int] | None:
    """The frame of that CT image; None where it holds one frame (C.18.4)."""
    fused = series.fused.get((one.sop_instance_uid, one.frame_number))
    if fused is None:
        return None
    frames = header.decimals(fused.header, "NumberOfFrames")
    many = fused.frame_number > 1 or (bool(frames) and frames[0] > 1)
    return [fused.frame_number] if many else None


def images(series: ReportedSeries) -> list[Dataset]:
    """Every image the report on a series shows, each once, with the CT images that PET was fused
    with; where it shows none, the image whose header stands for the series, if that names
    itself."""
    worst = series.assessment.worst
    shown = {one.sop_instance_uid: image_of(series, one) for one in worst}
    for companion in (companion_image_of(series, one) for one in worst):
        if companion is not None:
            shown.setdefault(companion.SOPInstanceUID, companion)
    stand_in = header.uid(series.header, "SOPInstanceUID")
    if not shown and stand_in:
        return [_image(series, stand_in, series.header)]
    return list(shown.values())


def _header_of(series: ReportedSeries, one: SliceScore) -> Dataset:
    return series.evidence.get(one.sop_instance_uid, series.header)


def _image(series: ReportedSeries, sop_instance_uid: str, image: Dataset) -> Dataset:
    declared = header.uid(image, "SOPClassUID") or header.uid(series.header, "SOPClassUID")
    ds = Dataset()
    ds.SOPClassUID = declared or _FALLBACK_SOP_CLASS.get(
        series.facts.modality, SecondaryCaptureImageStorage
    )
    ds.SOPInstanceUID = sop_instance_uid
    ds.SeriesInstanceUID = series.facts.series_instance_uid
    ds.StudyInstanceUID = series.facts.study_instance_uid
    return ds


def document(predecessor: Predecessor) -> Dataset:
    """An earlier report, by its four UIDs."""
    ds = Dataset()
    ds.SOPClassUID = predecessor.sop_class_uid
    ds.SOPInstanceUID = predecessor.sop_instance_uid
    ds.SeriesInstanceUID = predecessor.series_instance_uid
    ds.StudyInstanceUID = predecessor.study_instance_uid
    return ds


def requests(series: Iterable[ReportedSeries]) -> list[Dataset]:
    """Items of Referenced Request Sequence (C.17.2), from the images' own or, as images rarely
    have one, from their Request Attributes Sequence (10.6). Empty where they name no request."""
    made: dict[tuple[str, ...], Dataset] = {}
    for one in series:
        image = one.header
        charset = header.terms(image)
        found = header.items(image, "ReferencedRequestSequence")
        for item in found or header.items(image, "RequestAttributesSequence"):
            accession = header.text(item, "AccessionNumber", limit=16, charset=charset)
            values = (
                accession or header.text(image, "AccessionNumber", limit=16),
                header.text(item, "RequestedProcedureID", limit=16, charset=charset),
                header.text(item, "RequestedProcedureDescription", charset=charset),
                header.text(item, "PlacerOrderNumberImagingServiceRequest", charset=charset),
                header.text(item, "FillerOrderNumberImagingServiceRequest", charset=charset),
            )
            if any(values):
                made.setdefault(values, _request(one.facts.study_instance_uid, values))
    return list(made.values())


def _request(study_instance_uid: str, values: tuple[str, ...]) -> Dataset:
    item = Dataset()
    item.ReferencedStudySequence = []
    item.StudyInstanceUID = study_instance_uid
    item.RequestedProcedureCodeSequence = []
    (
        item.AccessionNumber,
        item.RequestedProcedureID,
        item.RequestedProcedureDescription,
        item.PlacerOrderNumberImagingServiceRequest,
        item.FillerOrderNumberImagingServiceRequest,
    ) = values
    return item
