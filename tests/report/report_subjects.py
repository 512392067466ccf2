"""Series, headers and gates to report on, made up; no patient here ever lived."""

from __future__ import annotations

import warnings
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from io import BytesIO
from struct import pack

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.tag import Tag

from service.judge.evidence import (
    Assessment,
    BundleIdentity,
    Limits,
    SeriesFacts,
    SliceScore,
    StackResult,
    Verdict,
)
from service.report.identity import named_uid
from service.report.structured_report import SrClass, build_structured_report
from service.report.subject import Gate, Predecessor, ReportedSeries
from service.report.summary_image import build_summary_image

NOW = datetime(2025, 3, 4, 14, 5, 6, 789000, tzinfo=timezone(timedelta(hours=1)))
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
STUDY_UID = "1.2.826.0.1.3680043.8.498.1"
SERIES_UID = "1.2.826.0.1.3680043.8.498.1.3"

GATE = Gate(named_uid("test gate"), "CT-GATE-1", "0.1.0", "St. Example Hospital")
BUNDLE = BundleIdentity("ct-md-iqa-compact", "1.2.0", "ab" * 32, 0.0, 4.0)
PREDECESSOR = Predecessor(
    "1.2.840.10008.5.1.4.1.1.88.33", named_uid("old"), named_uid("old series"), STUDY_UID
)


def clean_header(**changes: object) -> Dataset:
    """A valid CT header; `changes` are keyword → value, None deletes."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID = CT_IMAGE
    ds.SOPInstanceUID = f"{SERIES_UID}.1"
    ds.StudyInstanceUID = STUDY_UID
    ds.SeriesInstanceUID = SERIES_UID
    ds.StudyDate, ds.StudyTime = "20250304", "133000"
    ds.AccessionNumber = "A-4711"
    ds.StudyID = "77"
    ds.StudyDescription = "CT thorax"
    ds.ReferringPhysicianName = "Referrer^Rita"
    ds.PatientName, ds.PatientID = "Müller^Jürgen", "P-0815"
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = "19500102", "M", "075Y"
    ds.Modality, ds.Manufacturer = "CT", "ACME"
    ds.ManufacturerModelName, ds.DeviceSerialNumber = "Scan 9000", "S123"
    ds.SeriesNumber = 3
    ds.CTDIvol = 7.25
    ds.LossyImageCompression = "00"
    request = Dataset()
    request.RequestedProcedureID = "RP-1"
    request.RequestedProcedureDescription = "Thorax nativ"
    request.ScheduledProcedureStepID = "SPS-1"
    ds.RequestAttributesSequence = [request]
    for keyword, value in changes.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    return ds


def raw_header(*changes: tuple[str, str, bytes], base: Dataset | None = None) -> Dataset:
    """A header as read from a file that holds these very bytes: (keyword, VR, value) each."""
    kept = base if base is not None else clean_header(PatientName="Doe^Jane")
    for keyword, _, _ in changes:
        if keyword in kept:
            del kept[keyword]
    written: list[tuple[int, bytes]] = []
    for keyword, vr, value in changes:
        tag = Tag(keyword)
        padded = value + (b"" if len(value) % 2 == 0 else b"\0" if vr == "UI" else b" ")
        start = pack("<HH", tag.group, tag.element) + vr.encode()
        long = vr in {"UN", "OB", "SQ", "UT", "UC", "UR"}
        length = pack("<HI", 0, len(padded)) if long else pack("<H", len(padded))
        written.append((int(tag), start + length + padded))
    for element in kept:
        alone = Dataset()
        alone.add(element)
        part = BytesIO()
        alone.save_as(part, implicit_vr=False, little_endian=True)
        written.append((int(element.tag), part.getvalue()))
    body = b"".join(data for _, data in sorted(written))
    meta = Dataset()
    meta.add_new(0x00020010, "UI", "1.2.840.10008.1.2.1")
    head = BytesIO()
    write_file_meta_info(head, FileMetaDataset(meta), enforce_standard=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, on what is damaged by intent
        return dcmread(BytesIO(b"\0" * 128 + b"DICM" + head.getvalue() + body))


def slices(count: int, *, stack: str = "", start: int = 0) -> tuple[SliceScore, ...]:
    """Scores that wave between about 1.5 and 3.5; every tenth slice is excluded."""
    made = []
    for index in range(start, start + count):
        excluded = "outside the body" if index % 10 == 9 else None
        score = None if excluded else 2.5 + float(np.sin(index / 7.0))
        made.append(
            SliceScore(
                sop_instance_uid=f"{SERIES_UID}.{index + 1}",
                frame_number=1,
                instance_number=index + 1,
                position_mm=-300.0 + 2.5 * index,
                stack=stack,
                score=score,
                spread=None if excluded else 0.12,
                noise_hu=None if excluded else 18.0,
                excluded=excluded,
            )
        )
    return tuple(made)


def assessed(scores: tuple[SliceScore, ...], **changes: object) -> Assessment:
    """A borderline "does not meet" on these scores, changed where the test needs another."""
    scored = [one for one in scores if one.score is not None]
    worst = tuple(sorted(scored, key=lambda one: one.score or 0.0)[:6])
    assessment = Assessment(
        verdict=Verdict.DOES_NOT_MEET,
        reason="The 10th percentile of the slice scores, 1.62, is below the limit of 1.80.",
        borderline=True,
        score=1.62,
        interval=(1.48, 1.77),
        statistic="10th percentile of the slice scores",
        limits=Limits(1.8, 1.0),
        stacks=(StackResult("", len(scored), 1.62, (1.48, 1.77), Verdict.DOES_NOT_MEET),),
        worst=worst,
        noise_hu=21.5,
        slices_total=len(scores),
        slices_scored=len(scored),
        rule="ct-body",
        mode="report",
        bundle=BUNDLE,
        policy_digest="cd" * 32,
        warnings=("Limits not commissioned at this site.",),
    )
    return replace(assessment, **changes)  # type: ignore[arg-type] # a test says what it changes


def facts(**changes: object) -> SeriesFacts:
    """What the clean header says."""
    said = SeriesFacts(
        series_instance_uid=SERIES_UID,
        study_instance_uid=STUDY_UID,
        modality="CT",
        series_number=3,
        series_description="Thorax 2.0 B30f",
        protocol_name="Thorax routine",
        body_part="CHEST",
        manufacturer="ACME",
        model="Scan 9000",
        device_serial_number="S123",
        station_name="CT01",
        kernel="B30f",
        slice_thickness_mm=2.0,
    )
    return replace(said, **changes)  # type: ignore[arg-type] # a test says what it changes


def thumbnail(seed: int, size: int = 128) -> np.ndarray:
    """A disc with noise, something like a slice."""
    grid = np.hypot(*np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j])
    noise = np.random.default_rng(seed).normal(0, 25, (size, size))
    return np.clip(np.where(grid < 0.8, 130 + noise, 0), 0, 255).astype(np.uint8)


def reported(count: int = 40, header: Dataset | None = None, **changes: object) -> ReportedSeries:
    """One series with thumbnails of its worst slices; `changes` are those of its assessment."""
    scores = slices(count)
    assessment = assessed(scores, **changes)
    image = header if header is not None else clean_header()
    pictures = {
        (one.sop_instance_uid, one.frame_number): thumbnail(index)
        for index, one in enumerate(assessment.worst)
    }
    return ReportedSeries(facts(), assessment, scores, image, {}, pictures)


def structured_report(
    *series: ReportedSeries,
    predecessor: Predecessor | None = None,
    sop_class: SrClass = "comprehensive",
) -> bytes:
    """The report on these series, with UIDs and a time of our own."""
    return build_structured_report(
        series,
        gate=GATE,
        sop_instance_uid=named_uid("report"),
        series_instance_uid=named_uid("report series"),
        now=NOW,
        predecessor=predecessor,
        sop_class=sop_class,
    )


def summary_image(series: ReportedSeries) -> bytes:
    """The summary image of one series, with UIDs and a time of our own."""
    return build_summary_image(
        series,
        gate=GATE,
        sop_instance_uid=named_uid("picture"),
        series_instance_uid=named_uid("picture series"),
        now=NOW,
    )
