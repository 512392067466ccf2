"""The curve of slice scores along a series, as the shapes of an inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.judge.evidence import Assessment
from service.ledger.series_reading import SliceReading
from service.ledger.tables import FrameState
from service.report import wording

DEFAULT_SCALE = (0.0, 4.0)
"""Worst and best score where no bundle says its own."""

_MOST_POINTS = 400


@dataclass(frozen=True)
class Dot:
    x: float
    y: float
    title: str


@dataclass(frozen=True)
class Line:
    """A horizontal line at a limit, or a vertical one between stacks."""

    at: float
    label: str


@dataclass(frozen=True)
class Curve:
    """`lines` are SVG point lists, one a stack; y grows downwards, the best score on top."""

    width: float
    height: float
    lines: tuple[str, ...]
    dots: tuple[Dot, ...]
    limits: tuple[Line, ...]
    seams: tuple[Line, ...]
    excluded: tuple[Dot, ...]
    label: str


def draw(
    slices: Sequence[SliceReading],
    assessment: Assessment | None,
    *,
    width: float,
    height: float,
    marked: bool,
) -> Curve | None:
    """The curve of slices in order; None where none is scored.

    `marked` adds dots to hover over, seams between stacks and a mark for each excluded slice.
    """
    scored = [one for one in slices if one.score is not None]
    if not scored:
        return None
    worst, best = _scale(assessment)
    step = width / max(len(slices), 1)

    def down(score: float) -> float:
        share = (score - worst) / ((best - worst) or 1.0)
        return round(height * (1 - min(max(share, 0.0), 1.0)), 1)

    lines: list[str] = []
    dots: list[Dot] = []
    excluded: list[Dot] = []
    seams: list[Line] = []
    points: list[tuple[float, float]] = []
    for index, one in enumerate(slices):
        across = round(step * (index + 0.5), 1)
        if index and one.stack != slices[index - 1].stack:
            lines.append(_points(points))
            points = []
            seams.append(Line(round(step * index, 1), one.stack))
        if one.score is not None:
            points.append((across, down(one.score)))
            if marked:
                dots.append(Dot(across, down(one.score), f"{_name(one)}: {one.score:.2f}"))
        elif marked and one.state in (FrameState.EXCLUDED, FrameState.DEAD):
            excluded.append(Dot(across, height, f"{_name(one)}: {one.reason or 'not scored'}"))
    lines.append(_points(points))
    lowest = min(scored, key=_score)
    return Curve(
        width=width,
        height=height,
        lines=tuple(line for line in lines if line),
        dots=tuple(dots) if len(dots) <= _MOST_POINTS else (),
        limits=tuple(Line(down(limit), label) for limit, label in _limits(assessment)),
        seams=tuple(seams) if marked else (),
        excluded=tuple(excluded),
        label=(
            f"Scores of {len(scored)} of {len(slices)} slices, "
            f"lowest {_score(lowest):.2f} at {_name(lowest)}"
        ),
    )


def _points(points: Sequence[tuple[float, float]]) -> str:
    """An SVG point list; beyond what a screen shows, the worst of each run of neighbours."""
    run = -(-len(points) // _MOST_POINTS) or 1
    shown = [max(points[i : i + run], key=_depth) for i in range(0, len(points), run)]
    if len(shown) == 1:
        shown = [(shown[0][0] - 1, shown[0][1]), (shown[0][0] + 1, shown[0][1])]
    return " ".join(f"{x:g},{y:g}" for x, y in shown)


def _depth(point: tuple[float, float]) -> float:
    return point[1]


def _score(one: SliceReading) -> float:
    return float("inf") if one.score is None else one.score


def _scale(assessment: Assessment | None) -> tuple[float, float]:
    bundle = None if assessment is None else assessment.bundle
    return DEFAULT_SCALE if bundle is None else (bundle.score_worst, bundle.score_best)


def _limits(assessment: Assessment | None) -> list[tuple[float, str]]:
    """Limits that lie on the score scale; those on a share of slices do not."""
    if assessment is None or assessment.limits is None or wording.is_share(assessment):
        return []
    limits = [(assessment.limits.meets, f"meets from {assessment.limits.meets:g}")]
    if assessment.limits.unusable is not None:
        limits.append(
            (assessment.limits.unusable, f"unusable below {assessment.limits.unusable:g}")
        )
    return limits


def _name(one: SliceReading) -> str:
    number = one.instance_number
    name = "slice" if number is None else f"slice {number}"
    return name if one.frame_number == 1 else f"{name}, frame {one.frame_number}"
