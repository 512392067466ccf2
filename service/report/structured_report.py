"""The Structured Report on one or several series of a study (PS3.16 TID 1500)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Literal

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import (
    CodedConcept,
    Comprehensive3DSR,
    ComprehensiveSR,
    ContainerContentItem,
    ContentSequence,
    EnhancedSR,
    LanguageOfContentItemAndDescendants,
    MeasurementReport,
)
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from service.report import codes
from service.report.document import (
    complete,
    require_one_study,
    shared_arguments,
    study_header,
    to_bytes,
)
from service.report.equipment import observer
from service.report.measurements import groups, summary, texts
from service.report.references import document, images, requests
from service.report.subject import Gate, Predecessor, ReportedSeries
from service.report.wording import DISCLAIMER

SrClass = Literal["comprehensive", "comprehensive-3d", "enhanced"]

_DOCUMENTS: Final = {
    "enhanced": EnhancedSR,
    "comprehensive": ComprehensiveSR,
    "comprehensive-3d": Comprehensive3DSR,
}
SERIES_NUMBER: Final = 9901


def build_structured_report(
    series: Sequence[ReportedSeries],
    *,
    gate: Gate,
    sop_instance_uid: str,
    series_instance_uid: str,
    now: datetime,
    predecessor: Predecessor | None = None,
    sop_class: SrClass = "comprehensive",
    instance_number: int = 1,
) -> bytes:
    """A complete Part 10 file, Explicit VR Little Endian; equal arguments give equal bytes.

    `now` must be aware. Patient and study are those of the first series. Nothing a header
    contains raises; no series, series of several studies or a naive `now` are ValueErrors.
    """
    require_one_study(series)
    # what may be invalid is UIDs of images, and those are written as the archive knows them
    with disable_value_validation():
        source = study_header(series[0], sop_instance_uid)
        ds = _DOCUMENTS[sop_class](
            evidence=[source, *(image for one in series for image in images(one))],
            content=_content(series, gate),
            series_instance_uid=series_instance_uid,
            series_number=SERIES_NUMBER,
            sop_instance_uid=sop_instance_uid,
            instance_number=instance_number,
            is_complete=True,
            is_final=True,
            requested_procedures=requests(series) or None,
            previous_versions=None if predecessor is None else [document(predecessor)],
            coding_schemes=[
                CodingSchemeIdentificationItem(
                    codes.PRIVATE_SCHEME,
                    name="iqgate image quality codes",
                    responsible_organization="iqgate project",
                )
            ],
            **shared_arguments(series[0], gate, now),
        )
        _forget_source(ds)
        complete(ds, series, gate, now)
        return to_bytes(ds)


def _forget_source(ds: Dataset) -> None:
    """Takes the header that patient and study came from out of the evidence: it is no image."""
    listed = ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    del listed[0]
    if not listed:
        del ds.CurrentRequestedProcedureEvidenceSequence


def _content(series: Sequence[ReportedSeries], gate: Gate) -> MeasurementReport:
    """Language, observer, procedures, a group a series, and in words what it is not."""
    report = MeasurementReport(
        observer(gate),
        _procedure(series),
        [group for one in series for group in groups(one)],
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(
            CodedConcept.from_code(codes.ENGLISH)
        ),
    )
    # highdicom declares containers running text, which viewers show without the items' names
    for container in (report[0], report[0].ContentSequence[-1]):
        container.ContinuityOfContent = "SEPARATE"
    # TID 1500 has Qualitative Evaluations, MeasurementReport no argument for them
    remarks = ContainerContentItem(
        codes.QUALITATIVE_EVALUATIONS, is_content_continuous=False, relationship_type="CONTAINS"
    )
    remarks.ContentSequence = ContentSequence(
        [
            *(item for one in series for item in summary(one)),
            *texts(*((codes.DISCLAIMER, line) for line in DISCLAIMER)),
        ]
    )
    report[0].ContentSequence.append(remarks)
    return report


def _procedure(series: Iterable[ReportedSeries]) -> Code:
    """One for all series: that of their modality, or of imaging at large where they differ. TID
    1500 may hold several, but DicomSRValidator calls a second one an error."""
    modalities = {one.facts.modality for one in series}
    return codes.procedure(modalities.pop() if len(modalities) == 1 else "")
