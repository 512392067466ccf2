"""Which images a report points at, and how (PS3.3 10.8, C.17.2.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset

from service.judge.evidence import SliceScore
from service.report import header
from service.report.content import put, reference
from service.report.subject import Predecessor, ReportedSeries

_FALLBACK_SOP_CLASS: Final[dict[str, str]] = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
}
_SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"


@dataclass(frozen=True)
class ImageReference:
    """One image, or one frame of it where it is multi-frame."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    frame_number: int | None


def to_slice(series: ReportedSeries, one: SliceScore) -> ImageReference:
    """The image, and frame, that a score belongs to."""
    image = series.evidence.get(one.sop_instance_uid, series.header)
    frames = header.decimals(image, "NumberOfFrames")
    many = one.frame_number > 1 or (bool(frames) and frames[0] > 1)
    return ImageReference(
        series.facts.study_instance_uid,
        series.facts.series_instance_uid,
        _sop_class(series, image),
        one.sop_instance_uid,
        one.frame_number if many else None,
    )


def to_header(series: ReportedSeries) -> ImageReference | None:
    """The image whose header stands for the series, if it names itself."""
    sop_instance_uid = header.uid(series.header, "SOPInstanceUID")
    if not sop_instance_uid:
        return None
    return ImageReference(
        series.facts.study_instance_uid,
        series.facts.series_instance_uid,
        _sop_class(series, series.header),
        sop_instance_uid,
        None,
    )


def _sop_class(series: ReportedSeries, image: Dataset) -> str:
    declared = header.uid(image, "SOPClassUID") or header.uid(series.header, "SOPClassUID")
    return declared or _FALLBACK_SOP_CLASS.get(series.facts.modality, _SECONDARY_CAPTURE)


def evidence(images: Iterable[ImageReference]) -> list[Dataset]:
    """Items of Current Requested Procedure Evidence Sequence, each image once."""
    studies: dict[str, dict[str, dict[str, Dataset]]] = {}
    for one in images:
        instances = studies.setdefault(one.study_instance_uid, {}).setdefault(
            one.series_instance_uid, {}
        )
        instances.setdefault(
            one.sop_instance_uid, reference(one.sop_class_uid, one.sop_instance_uid)
        )
    return [
        _study_item(study, [_series_item(uid, list(held.values())) for uid, held in series.items()])
        for study, series in studies.items()
    ]


def predecessor_documents(predecessor: Predecessor) -> list[Dataset]:
    """Items of Predecessor Documents Sequence."""
    document = reference(predecessor.sop_class_uid, predecessor.sop_instance_uid)
    series = _series_item(predecessor.series_instance_uid, [document])
    return [_study_item(predecessor.study_instance_uid, [series])]


def _series_item(series_instance_uid: str, instances: Sequence[Dataset]) -> Dataset:
    item = Dataset()
    put(item, "SeriesInstanceUID", series_instance_uid)
    put(item, "ReferencedSOPSequence", list(instances))
    return item


def _study_item(study_instance_uid: str, series: Sequence[Dataset]) -> Dataset:
    item = Dataset()
    put(item, "ReferencedSeriesSequence", list(series))
    put(item, "StudyInstanceUID", study_instance_uid)
    return item


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
    accession, procedure_id, description, placer, filler = values
    item = Dataset()
    put(item, "AccessionNumber", accession)
    put(item, "ReferencedStudySequence", [])
    put(item, "StudyInstanceUID", study_instance_uid)
    put(item, "RequestedProcedureDescription", description)
    put(item, "RequestedProcedureCodeSequence", [])
    put(item, "RequestedProcedureID", procedure_id)
    put(item, "PlacerOrderNumberImagingServiceRequest", placer)
    put(item, "FillerOrderNumberImagingServiceRequest", filler)
    return item
