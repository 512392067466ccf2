"""`iqgate assess`: score files and folders, no network, no database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from models.intensity import levels_differ, stack_level
from service import header
from service.config import Settings
from service.deliver import folder
from service.errors import RejectedInput
from service.fusion import Fusion, Pair
from service.judge.commissioning import WAIVED
from service.judge.evidence import Assessment, SeriesFacts, SliceScore, Verdict
from service.judge.judging import judge
from service.judge.policy import Policy
from service.report.identity import report_series_uid, report_uid
from service.report.structured_report import build_structured_report
from service.report.subject import FusedImage, Gate, ReportedSeries
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
    pair: Pair | None = None
    """PET: the CT that it was fused with."""


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
    series: SeriesFiles,
    scorer: Scorer,
    policy: Policy,
    settings: Settings,
    fusion: Fusion | None = None,
) -> AssessedSeries:
    """Score and judge one series: PET with the CT that `fusion` has for it, so that is given the
    CT series first."""
    frames = list(_frames(series))
    pair = None if fusion is None else fusion.pair(series.facts, [one.place for one in frames])
    scored = _Scored(settings.report.worst_slices)
    for batch in _batches(frames, settings.score.batch_size):
        scored.take(batch, scorer.score(_sources(batch, scored.levels(), pair)))
    # what was drawn before its stack's level was known is drawn again, now that it is
    for batch in _batches(scored.drawn_at_other_level(), settings.score.batch_size):
        levels = scored.levels(apart_from=batch)
        scored.take(batch, scorer.score(_sources(batch, levels, pair)))
    slices = [_slice(frame, result) for frame, result in scored.results.items()]
    slices.sort(key=lambda one: (one.stack, one.position_mm or 0.0, one.instance_number or 0))
    assessment = judge(
        series.facts,
        slices,
        next(map(scorer.identity_of, scored.digests()), None),
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
        {(frame.uid, frame.number): picture for frame, picture in scored.thumbnails.items()},
        pair if assessment.slices_scored else None,
    )


def as_json(assessed: AssessedSeries) -> dict[str, Any]:
    """One entry of `assess --json`."""
    assessment = assessed.assessment
    return {
        "series_instance_uid": assessed.facts.series_instance_uid,
        "companion_series": (
            None if assessed.pair is None else assessed.pair.ct.facts.series_instance_uid
        ),
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
        [(sop_uid, _digest(path).hex()) for sop_uid, path in assessed.files.items()]
        + ([] if assessed.pair is None else list(assessed.pair.ct.images)),
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
                companion=None if assessed.pair is None else assessed.pair.ct.facts,
                fused=_fused(assessed),
            )
        ],
        gate=gate,
        sop_instance_uid=uid,
        series_instance_uid=report_series_uid(facts.study_instance_uid, "structured-report"),
        now=now,
    )
    return folder.put(target, uid, body)


def _fused(assessed: AssessedSeries) -> dict[tuple[str, int], FusedImage]:
    """The CT image nearest to each of a PET's worst slices."""
    if assessed.pair is None:
        return {}
    found = {}
    for one in assessed.assessment.worst:
        ct = assessed.pair.nearest(assessed.files[one.sop_instance_uid], one.frame_number)
        if ct is not None:
            found[one.sop_instance_uid, one.frame_number] = FusedImage(
                ct.sop_instance_uid, ct.frame_number, header.read_file(Path(ct.path))
            )
    return found


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for below in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in below.relative_to(path).parts)
            if below.is_file() and not hidden and below.name not in _SKIPPED:
                yield below


@dataclass(frozen=True)
class _Frame:
    """One frame of a file."""

    path: Path
    uid: str
    instance_number: int | None
    number: int

    @property
    def place(self) -> tuple[Path, int]:
        return self.path, self.number


class _Scored:
    """Results of a series' frames so far, and the pictures of the worst of them."""

    def __init__(self, worst: int) -> None:
        self.worst = worst
        self.results: dict[_Frame, FrameResult] = {}
        self.thumbnails: dict[_Frame, npt.NDArray[np.uint8]] = {}

    def take(self, frames: Sequence[_Frame], results: Sequence[FrameResult]) -> None:
        for frame, result in zip(frames, results, strict=True):
            self.thumbnails.pop(frame, None)
            if result.thumbnail is not None:
                self.thumbnails[frame] = result.thumbnail
            self.results[frame] = replace(result, thumbnail=None)
        ranked = sorted(self.thumbnails, key=lambda one: self.results[one].score or 0.0)
        self.thumbnails = {one: self.thumbnails[one] for one in ranked[: self.worst]}

    def levels(self, apart_from: Sequence[_Frame] = ()) -> dict[str, tuple[float, ...]]:
        """MR: what slices said of their stacks' levels, by stack."""
        known: dict[str, tuple[float, ...]] = {}
        for frame, one in self.results.items():
            if one.level is not None and frame not in apart_from:
                known[one.stack] = (*known.get(one.stack, ()), one.level)
        return known

    def drawn_at_other_level(self) -> list[_Frame]:
        """MR: frames that were drawn at another level than their stack's, now that it is known."""
        final = {stack: stack_level(levels) for stack, levels in self.levels().items()}
        return [
            frame
            for frame, one in self.results.items()
            if one.drawn_at_level is not None
            and one.stack in final
            and levels_differ(one.drawn_at_level, final[one.stack])
        ]

    def digests(self) -> list[str]:
        return sorted({one.bundle_digest for one in self.results.values() if one.bundle_digest})


def _frames(series: SeriesFiles) -> Iterator[_Frame]:
    for path, uid, instance_number, count in series.files:
        for number in range(1, count + 1):
            yield _Frame(path, uid, instance_number, number)


def _batches(frames: Iterable[_Frame], size: int) -> Iterator[list[_Frame]]:
    waiting = iter(frames)
    while batch := list(islice(waiting, size)):
        yield batch


def _sources(
    frames: Sequence[_Frame], levels: Mapping[str, tuple[float, ...]], pair: Pair | None
) -> list[FrameSource]:
    return [
        FrameSource(one.path, one.number, levels, None if pair is None else pair.source(*one.place))
        for one in frames
    ]


def _slice(frame: _Frame, result: FrameResult) -> SliceScore:
    return SliceScore(
        sop_instance_uid=frame.uid,
        frame_number=frame.number,
        instance_number=frame.instance_number,
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
