"""One series as every page shows it: numbers already in words, nothing left to compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from service.judge.evidence import Assessment, StackResult
from service.ledger.labels import Label
from service.ledger.series_reading import Patient, SeriesReading, SliceReading
from service.ledger.tables import FrameState
from service.report import wording
from service.watch import moment
from service.watch.face import Face, Phase, face_of_series, phase_of

NO_DESCRIPTION = "no description"
_PENDING = (FrameState.AWAITING_COMPANION, FrameState.WAITING, FrameState.LEASED)


@dataclass(frozen=True)
class SliceCounts:
    """Frames of a series by what became of them."""

    total: int
    scored: int
    excluded: int
    pending: int
    awaiting: int
    """Of the pending, those of PET whose CT is not complete."""


@dataclass(frozen=True)
class SeriesEntry:
    """Texts for people beside the reading they come from."""

    reading: SeriesReading
    face: Face
    phase: Phase
    counts: SliceCounts
    title: str
    number: str
    description: str
    protocol: str
    when: str
    when_iso: str
    age: str
    headline: str
    reason: str
    progress: str
    score: str
    interval: str
    noise: str
    snr: str
    snr_place: str
    companion: str
    companion_path: str
    path: str
    room_path: str

    @property
    def assessment(self) -> Assessment | None:
        return self.reading.assessment

    @property
    def patient(self) -> Patient | None:
        return self.reading.patient

    @property
    def provisional(self) -> bool:
        return self.phase is Phase.PROVISIONAL

    @property
    def borderline(self) -> bool:
        return self.assessment is not None and self.assessment.borderline


def entry_of(one: SeriesReading, slices: Sequence[SliceReading], now: float) -> SeriesEntry:
    """Put a series into words. `slices` are its frames."""
    facts, assessment = one.facts, one.assessment
    face, phase = face_of_series(one), phase_of(one)
    counts = counts_of(slices)
    companion = one.companion if counts.scored or counts.pending else None
    return SeriesEntry(
        reading=one,
        face=face,
        phase=phase,
        counts=counts,
        title=wording.series_title(facts),
        number="–" if facts.series_number is None else str(facts.series_number),
        description=facts.series_description or NO_DESCRIPTION,
        protocol=facts.protocol_name,
        when=moment.clock_time(one.last_object_at, now),
        when_iso=moment.iso(one.last_object_at),
        age=moment.ago(one.last_object_at, now),
        headline=face.headline,
        reason="" if assessment is None else assessment.reason,
        progress=_progress(phase, counts, one),
        score="" if assessment is None else value_in_words(assessment.score),
        interval="" if assessment is None else interval_in_words(assessment.interval),
        noise=(
            ""
            if assessment is None or assessment.noise_hu is None
            else f"{assessment.noise_hu:.1f} HU"
        ),
        snr="" if assessment is None or assessment.snr is None else f"{assessment.snr:.1f}",
        snr_place=wording.site_of_snr(facts.modality),
        companion="" if companion is None else wording.series_title(companion),
        companion_path=(
            ""
            if companion is None
            else series_path(companion.series_instance_uid, companion.study_instance_uid)
        ),
        path=series_path(facts.series_instance_uid, facts.study_instance_uid),
        room_path=room_path(one.scanner),
    )


def counts_of(slices: Sequence[SliceReading]) -> SliceCounts:
    return SliceCounts(
        total=len(slices),
        scored=sum(one.state is FrameState.SCORED for one in slices),
        excluded=sum(one.state in (FrameState.EXCLUDED, FrameState.DEAD) for one in slices),
        pending=sum(one.state in _PENDING for one in slices),
        awaiting=sum(one.state is FrameState.AWAITING_COMPANION for one in slices),
    )


def value_in_words(value: float | None) -> str:
    """A value of the statistic: a score, or a share of slices from 0 to 1."""
    return "" if value is None else f"{value:.2f}"


def interval_in_words(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else " to ".join(value_in_words(value) for value in interval)


def scores_of(label: Label, slices: Sequence[SliceReading]) -> str:
    """What the network said of the images that somebody labelled: lowest to highest score."""
    of_label = set(label.sop_instance_uids)
    scores = [
        one.score for one in slices if one.sop_instance_uid in of_label and one.score is not None
    ]
    return interval_in_words((min(scores), max(scores)) if scores else None)


def limits_in_words(assessment: Assessment | None) -> str:
    if assessment is None or assessment.limits is None:
        return ""
    return wording.limits_in_words(assessment.limits)


def stack_in_words(stack: StackResult) -> str:
    return stack.stack or "all slices"


def series_path(series_instance_uid: str, study_instance_uid: str) -> str:
    """The detail page of a series."""
    query = urlencode({"study": study_instance_uid})
    return f"/series/{quote(series_instance_uid, safe='')}?{query}"


def room_path(scanner: str) -> str:
    """The room page of a scanner, whatever its name is made of."""
    return f"/room/{quote(scanner, safe='')}"


def as_json(entry: SeriesEntry) -> dict[str, Any]:
    """One series for programs: values as the ledger holds them, times as ISO 8601."""
    one, assessment = entry.reading, entry.assessment
    facts = one.facts
    bundle = None if assessment is None else assessment.bundle
    shown: dict[str, Any] = {
        "series_instance_uid": facts.series_instance_uid,
        "study_instance_uid": facts.study_instance_uid,
        "modality": facts.modality,
        "scanner": one.scanner,
        "series_number": facts.series_number,
        "series_description": facts.series_description,
        "protocol_name": facts.protocol_name,
        "phase": entry.phase,
        "first_object_at": moment.iso(one.first_object_at),
        "last_object_at": moment.iso(one.last_object_at),
        "assessed_at": None if one.assessed_at is None else moment.iso(one.assessed_at),
        "verdict": None if assessment is None else assessment.verdict,
        "borderline": entry.borderline,
        "reason": None if assessment is None else assessment.reason,
        "score": None if assessment is None else assessment.score,
        "interval": None if assessment is None else assessment.interval,
        "noise_hu": None if assessment is None else assessment.noise_hu,
        "snr": None if assessment is None else assessment.snr,
        "companion_series": (
            one.companion.series_instance_uid
            if one.companion is not None and entry.companion
            else None
        ),
        "alarm": one.alarm,
        "mode": None if assessment is None else assessment.mode,
        "hold": None if assessment is None else assessment.hold,
        "commissioned": None if assessment is None else assessment.commissioned,
        "bundle": None if bundle is None else bundle.name,
        "bundle_version": None if bundle is None else bundle.version,
        "slices_total": entry.counts.total,
        "slices_scored": entry.counts.scored,
        "slices_excluded": entry.counts.excluded,
        "slices_pending": entry.counts.pending,
    }
    if one.patient is not None:
        shown["patient_name"] = one.patient.name
        shown["patient_id"] = one.patient.patient_id
        shown["study_date"] = one.patient.study_date
    return shown


def slice_as_json(one: SliceReading) -> dict[str, Any]:
    """One slice as `iqgate assess --json` prints it, with its state."""
    return {
        "sop_instance_uid": one.sop_instance_uid,
        "frame_number": one.frame_number,
        "instance_number": one.instance_number,
        "stack": one.stack,
        "state": one.state,
        "score": one.score,
        "excluded": one.reason,
    }


def _progress(phase: Phase, counts: SliceCounts, one: SeriesReading) -> str:
    """What is still going on with a series, in words; empty when nothing is."""
    if phase is Phase.FINAL:
        return ""
    slices = "1 slice" if counts.total == 1 else f"{counts.total} slices"
    if phase is Phase.PROVISIONAL and one.provisional is None:
        return f"Earlier verdict; slices arrived again, {slices} so far"
    if counts.awaiting:
        return f"{slices} so far, {counts.awaiting} waiting for the CT they are fused with"
    if counts.pending:
        return f"Slices still arriving: {slices} so far, {counts.pending} not scored yet"
    return f"Slices still arriving: {slices} so far"
