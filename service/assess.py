"""`iqgate assess`: score files and folders, no network, no database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from service import header
from service.config import Settings
from service.deliver import folder
from service.errors import RejectedInput
from service.judge.commissioning import WAIVED
from service.judge.evidence import Assessment, SeriesFacts, SliceScore, Verdict
from service.judge.judging import judge
from service.judge.policy import Policy
from service.report.identity import report_series_uid, report_uid
from service.report.structured_report import build_structured_report
from service.report.subject import Gate, ReportedSeries
from service.score.compare import difference
from service.score.drawing import FrameSource
from service.score.scorer import FrameResult, Scorer

_SKIPPED = frozenset({"DICOMDIR"})


@dataclass(frozen=True)
class Unreadable:
    """A file that could not be read, or that contradicts another one."""

    path: Path
    reason: str


@dataclass
class SeriesFiles:
    """The files of one series."""

    facts: SeriesFacts
    files: list[tuple[Path, str, int | None, int]] = field(default_factory=list)
    """Path, SOP Instance UID, instance number, number of frames."""


@dataclass(frozen=True)
class AssessedSeries:
    """One series judged."""

    facts: SeriesFacts
    assessment: Assessment
    slices: tuple[SliceScore, ...]
    files: dict[str, Path]
    thumbnails: dict[tuple[str, int], npt.NDArray[np.uint8]]


def gather(paths: Sequence[Path], max_pixels: int) -> tuple[list[SeriesFiles], list[Unreadable]]:
    """Sort all files below `paths` into series by their headers, each object once.

    The same image twice, in whatever transfer syntax, is one; a different image under a known
    SOP Instance UID is named as such, decoding no frame of more than `max_pixels` to tell.
    """
    series: dict[tuple[str, str], SeriesFiles] = {}
    unreadable: list[Unreadable] = []
    seen: dict[str, Path] = {}
    for path in _files(paths):
        try:
            ds = header.read_file(path)
        except RejectedInput as error:
            unreadable.append(Unreadable(path, str(error)))
            continue
        except OSError as error:
            unreadable.append(Unreadable(path, f"it cannot be read: {error.strerror}"))
            continue
        uid = header.text(ds, "SOPInstanceUID")
        if uid in seen:
            differs = _digest(seen[uid]) != _digest(path) and difference(
                seen[uid], path, max_pixels
            )
            if differs:
                reason = f"it shares the SOP Instance UID of {seen[uid]}, but {differs}"
                unreadable.append(Unreadable(path, reason))
            continue
        seen[uid] = path
        facts = header.series_facts(ds)
        key = (facts.study_instance_uid, facts.series_instance_uid)
        frames = min(max(header.integer(ds, "NumberOfFrames") or 1, 1), 100_000)
        series.setdefault(key, SeriesFiles(facts)).files.append(
            (path, uid, header.integer(ds, "InstanceNumber"), frames)
        )
    return list(series.values()), unreadable


def assess(
    series: SeriesFiles, scorer: Scorer, policy: Policy, settings: Settings
) -> AssessedSeries:
    """Score and judge one series."""
    slices: list[SliceScore] = []
    thumbnails: list[tuple[float, tuple[str, int], npt.NDArray[np.uint8]]] = []
    digest = None
    for batch in _batches(series, settings.score.batch_size):
        results = scorer.score([FrameSource(path, number) for path, _, _, number in batch])
        for (_, uid, instance_number, number), result in zip(batch, results, strict=True):
            slices.append(_slice(uid, number, instance_number, result))
            digest = digest or result.bundle_digest
            if result.score is not None and result.thumbnail is not None:
                thumbnails.append((result.score, (uid, number), result.thumbnail))
        thumbnails = sorted(thumbnails, key=lambda one: one[0])[: settings.report.worst_slices]
    slices.sort(key=lambda one: (one.stack, one.position_mm or 0.0, one.instance_number or 0))
    assessment = judge(
        series.facts,
        slices,
        None if digest is None else scorer.identity_of(digest),
        policy,
        configured_mode=settings.mode,
        commissioning=WAIVED,  # there is no ledger to hold a record
        worst_count=settings.report.worst_slices,
    )
    return AssessedSeries(
        series.facts,
        assessment,
        tuple(slices),
        {uid: path for path, uid, _, _ in series.files},
        {key: picture for _, key, picture in thumbnails},
    )


def as_json(assessed: AssessedSeries) -> dict[str, Any]:
    """One entry of `assess --json`."""
    assessment = assessed.assessment
    return {
        "series_instance_uid": assessed.facts.series_instance_uid,
        "companion_series": None,
        "modality": assessed.facts.modality,
        "bundle": None if assessment.bundle is None else assessment.bundle.name,
        "bundle_version": None if assessment.bundle is None else assessment.bundle.version,
        "verdict": str(assessment.verdict),
        "borderline": assessment.borderline,
        "reason": assessment.reason,
        "score": assessment.score,
        "interval": assessment.interval,
        "slices": [
            {
                "sop_instance_uid": one.sop_instance_uid,
                "frame_number": one.frame_number,
                "instance_number": one.instance_number,
                "stack": one.stack,
                "score": one.score,
                "excluded": one.excluded,
            }
            for one in assessed.slices
        ],
    }


def as_text(assessed: AssessedSeries) -> str:
    """A few lines for people."""
    assessment, facts = assessed.assessment, assessed.facts
    name = facts.series_description or facts.protocol_name or facts.series_instance_uid
    number = "" if facts.series_number is None else f" {facts.series_number}"
    verdict = assessment.verdict.replace("-", " ")
    lines = [
        f"{facts.modality} series{number} ({name}): {verdict}"
        + (" (borderline)" if assessment.borderline else ""),
        f"  {assessment.reason}",
        f"  {assessment.slices_scored} of {assessment.slices_total} slices scored"
        + ("" if assessment.noise_hu is None else f"; noise {assessment.noise_hu:.0f} HU"),
    ]
    return "\n".join([*lines, *(f"  {warning}" for warning in assessment.warnings)])


def was_assessed(assessed: AssessedSeries) -> bool:
    return assessed.assessment.verdict is not Verdict.NOT_ASSESSED


def unreadable_as_json(one: Unreadable) -> dict[str, Any]:
    return {"path": str(one.path), "verdict": str(Verdict.NOT_ASSESSED), "reason": one.reason}


def write_report(assessed: AssessedSeries, target: Path, gate: Gate, now: datetime) -> Path | None:
    """Write the series' Structured Report into `target`; None for a series not assessed.

    Raises FolderUnavailable.
    """
    assessment, facts = assessed.assessment, assessed.facts
    if assessment.verdict is Verdict.NOT_ASSESSED or assessment.bundle is None:
        return None
    evidence = {
        one.sop_instance_uid: header.read_file(assessed.files[one.sop_instance_uid])
        for one in assessment.worst
    }
    uid = report_uid(
        "structured-report",
        facts.study_instance_uid,
        facts.series_instance_uid,
        [assessment.bundle.digest],
        assessment.policy_digest,
        f"{assessment.verdict}:{assessment.score or 0:.4f}",
        [(sop_uid, _digest(path).hex()) for sop_uid, path in assessed.files.items()],
    )
    body = build_structured_report(
        [
            ReportedSeries(
                facts=facts,
                assessment=assessment,
                slices=assessed.slices,
                header=next(iter(evidence.values()), Dataset()),
                evidence=evidence,
                thumbnails=assessed.thumbnails,
            )
        ],
        gate=gate,
        sop_instance_uid=uid,
        series_instance_uid=report_series_uid(facts.study_instance_uid, "structured-report"),
        now=now,
    )
    return folder.put(target, uid, body)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for below in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in below.relative_to(path).parts)
            if below.is_file() and not hidden and below.name not in _SKIPPED:
                yield below


def _batches(series: SeriesFiles, size: int) -> Iterator[list[tuple[Path, str, int | None, int]]]:
    """Frames of a series, `size` at a time: path, UID, instance number, frame number."""
    frames = (
        (path, uid, instance_number, number)
        for path, uid, instance_number, count in series.files
        for number in range(1, count + 1)
    )
    batch = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _slice(
    uid: str, frame_number: int, instance_number: int | None, result: FrameResult
) -> SliceScore:
    return SliceScore(
        sop_instance_uid=uid,
        frame_number=frame_number,
        instance_number=instance_number,
        position_mm=result.position_mm,
        stack=result.stack,
        score=result.score,
        spread=result.spread,
        noise_hu=result.noise_hu,
        snr=result.snr,
        excluded=result.excluded,
    )


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
