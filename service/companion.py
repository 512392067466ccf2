"""Which CT a PET is fused with, and which of its slices: the rules alone, no database, no files."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime

from service.config import Complete
from service.judge.evidence import SeriesFacts

AXIAL = "axial"


@dataclass(frozen=True)
class Fusing:
    """How PET is fused here. unfit: the reasons for which a CT frame was not scored that also
    keep it from being fused (a localizer, a projection, a phantom, …)."""

    unfit: frozenset[str]
    complete: Complete


@dataclass(frozen=True)
class CtFrame:
    """One frame of a CT as scoring left it. `path` is relative to the spool; `reason` says why it
    has no score, where it has none; `position_mm` is its place along its normal."""

    sop_instance_uid: str
    frame_number: int
    path: str
    position_mm: float | None
    stack: str
    reason: str | None


@dataclass(frozen=True)
class Companion:
    """The CT that a PET is fused with: `images` are (SOP Instance UID, digest) of all its images,
    `frames` as scoring left them, fit to be fused or not."""

    facts: SeriesFacts
    images: tuple[tuple[str, str], ...]
    frames: tuple[CtFrame, ...]


@dataclass(frozen=True)
class CtCandidate:
    """A complete CT of the PET's study and Frame of Reference."""

    series_instance_uid: str
    acquired_at: str
    positions_mm: tuple[float, ...]


def fit_frames(frames: Iterable[CtFrame], unfit: Set[str]) -> list[CtFrame]:
    """The frames a PET may be fused with, in order of position: axial ones, whether scored or not,
    unless they are of a kind that shows no slice of the body."""
    fit = [
        one
        for one in frames
        if one.position_mm is not None
        and one.stack.split(",")[0] == AXIAL
        and one.reason not in unfit
    ]
    return sorted(fit, key=_place)


def choose(
    positions_mm: Sequence[float], acquired_at: str, candidates: Iterable[CtCandidate]
) -> CtCandidate | None:
    """The CT for a PET whose slices lie at `positions_mm` (as far as they are known).

    Largest overlap in z, to the millimetre; then nearest acquisition time; then lowest UID.
    None where none overlaps.
    """
    overlapping = [
        (-round(overlap_mm(positions_mm, one.positions_mm)), _apart_s(acquired_at, one), one)
        for one in candidates
        if one.positions_mm and overlap_mm(positions_mm, one.positions_mm) >= 0
    ]
    if not overlapping:
        return None
    return min(overlapping, key=lambda each: (*each[:2], each[2].series_instance_uid))[2]


def overlap_mm(one: Sequence[float], other: Sequence[float]) -> float:
    """The length that two extents share, negative where they lie apart; 0 where one is unknown."""
    if not one or not other:
        return 0.0
    return min(max(one), max(other)) - max(min(one), min(other))


def nearest(position_mm: float, frames: Sequence[CtFrame]) -> CtFrame | None:
    """Of `frames` in order of position, the one nearest to a position; the lower of two."""
    places = [_place(one)[0] for one in frames]
    above = bisect_left(places, position_mm)
    return min(
        frames[max(0, above - 1) : above + 1],
        key=lambda one: abs(_place(one)[0] - position_mm),
        default=None,
    )


def _place(one: CtFrame) -> tuple[float, str, int]:
    assert one.position_mm is not None
    return one.position_mm, one.sop_instance_uid, one.frame_number


def _apart_s(acquired_at: str, candidate: CtCandidate) -> float:
    ours, theirs = _moment(acquired_at), _moment(candidate.acquired_at)
    if ours is None or theirs is None:
        return float("inf")
    return abs((ours - theirs).total_seconds())


def _moment(acquired_at: str) -> datetime | None:
    """Date and time as headers write them, to the second."""
    try:
        return datetime.strptime(acquired_at[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
