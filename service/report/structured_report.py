"""The Structured Report on one or several series of a study (PS3.16 TID 1500)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Literal

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from service.report import codes
from service.report.content import (
    HAS_CONCEPT_MOD,
    code,
    container,
    device_observer,
    put,
    text,
)
from service.report.document import (
    MANUFACTURER,
    MODEL,
    contributing_equipment,
    require_one_study,
    shared_modules,
    to_bytes,
)
from service.report.measurements import groups, summary
from service.report.references import (
    ImageReference,
    evidence,
    predecessor_documents,
    requests,
    to_header,
    to_slice,
)
from service.report.subject import Gate, Predecessor, ReportedSeries
from service.report.wording import DISCLAIMER

SrClass = Literal["comprehensive", "comprehensive-3d", "enhanced"]

SOP_CLASS_UIDS: Final[dict[SrClass, str]] = {
    "enhanced": "1.2.840.10008.5.1.4.1.1.88.22",
    "comprehensive": "1.2.840.10008.5.1.4.1.1.88.33",
    "comprehensive-3d": "1.2.840.10008.5.1.4.1.1.88.34",
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
    ds = shared_modules(
        series[0],
        sop_class_uid=SOP_CLASS_UIDS[sop_class],
        sop_instance_uid=sop_instance_uid,
        series_instance_uid=series_instance_uid,
        series_number=SERIES_NUMBER,
        instance_number=instance_number,
        modality="SR",
        gate=gate,
        now=now,
    )
    _document(ds, series, now, predecessor)
    for element in _tree(series, gate):
        ds.add(element)
    return to_bytes(ds)


def _document(
    ds: Dataset, series: Sequence[ReportedSeries], now: datetime, predecessor: Predecessor | None
) -> None:
    """SR Document Series and SR Document General (PS3.3 C.17.1, C.17.2)."""
    put(ds, "ReferencedPerformedProcedureStepSequence", [])
    put(ds, "PerformedProcedureCodeSequence", [])
    put(ds, "CompletionFlag", "COMPLETE")
    put(ds, "VerificationFlag", "UNVERIFIED")
    put(ds, "PreliminaryFlag", "FINAL")
    if asked := requests(series):
        put(ds, "ReferencedRequestSequence", asked)
    if used := evidence(_images(series)):
        put(ds, "CurrentRequestedProcedureEvidenceSequence", used)
    if predecessor is not None:
        put(ds, "PredecessorDocumentsSequence", predecessor_documents(predecessor))
    if equipment := contributing_equipment(series, now):
        put(ds, "ContributingEquipmentSequence", equipment)
    scheme = Dataset()
    put(scheme, "CodingSchemeDesignator", codes.PRIVATE_SCHEME)
    put(scheme, "CodingSchemeName", "iqgate image quality codes")
    put(scheme, "CodingSchemeResponsibleOrganization", "iqgate project")
    put(ds, "CodingSchemeIdentificationSequence", [scheme])


def _images(series: Iterable[ReportedSeries]) -> list[ImageReference]:
    """Every image the tree references; for a series without one, the image of its header."""
    found: list[ImageReference] = []
    for one in series:
        worst = [to_slice(one, slice_score) for slice_score in one.assessment.worst]
        stand_in = None if worst else to_header(one)
        found += worst if stand_in is None else [stand_in]
    return found


def _tree(series: Sequence[ReportedSeries], gate: Gate) -> Dataset:
    """The root container: language, observer, procedures, a group a series, what it is not."""
    procedures: dict[str, Code] = {}
    for one in series:
        concept = codes.procedure(one.facts.modality)
        procedures.setdefault(concept.value, concept)
    language = code(codes.LANGUAGE, codes.ENGLISH, HAS_CONCEPT_MOD)
    remarks = [item for one in series for item in summary(one)]
    remarks += [text(codes.DISCLAIMER, line) for line in DISCLAIMER]
    return container(
        codes.IMAGING_MEASUREMENT_REPORT,
        [
            language,
            *device_observer(gate.device_uid, gate.station_name, MANUFACTURER, MODEL),
            *(code(codes.PROCEDURE_REPORTED, one, HAS_CONCEPT_MOD) for one in procedures.values()),
            container(codes.IMAGING_MEASUREMENTS, [item for one in series for item in groups(one)]),
            container(codes.QUALITATIVE_EVALUATIONS, remarks),
        ],
        template="1500",
        relationship=None,
    )
