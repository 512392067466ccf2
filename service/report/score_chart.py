"""The score curve: every slice's score in order of position, limits, excluded slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final

from PIL import ImageDraw

from service.judge.evidence import Assessment, SliceScore
from service.report.typeface import drawable, fit, typeface
from service.report.wording import is_share

INK: Final = (236, 240, 244)
MUTED: Final = (176, 186, 196)
GRID: Final = (62, 72, 82)
PANEL: Final = (22, 28, 34)
_EXCLUDED: Final = (56, 64, 72)
_LIMIT: Final = (255, 196, 84)
_UNUSABLE: Final = (255, 128, 112)
_CURVES: Final = ((120, 196, 255), (242, 242, 242), (150, 226, 150), (236, 176, 236))
_DASHES: Final = ((), (14, 8), (4, 7), (18, 6, 4, 6))
"""Each curve differs in colour and in dash, so that grey screens tell them apart."""
_MOST_CURVES: Final = len(_CURVES)

Box = tuple[int, int, int, int]
Point = tuple[float, float]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class _Frame:
    """Where scores and slices lie: `left, top, right, bottom` in pixels; best score on top."""

    box: Box
    count: int
    score_worst: float
    score_best: float

    def x(self, index: float) -> float:
        left, _, right, _ = self.box
        return left + (right - left) * (index + 0.5) / max(self.count, 1)

    def y(self, score: float) -> float:
        _, top, _, bottom = self.box
        share = (score - self.score_worst) / (self.score_best - self.score_worst)
        return bottom - (bottom - top) * min(max(share, 0.0), 1.0)


def draw_score_chart(
    draw: ImageDraw.ImageDraw, box: Box, slices: Sequence[SliceScore], assessment: Assessment
) -> None:
    """Draws into `box`, labels and all."""
    left, top, right, bottom = box
    curves = _curves(slices, assessment)
    scores = [one.score for one in slices if one.score is not None]
    if not scores:
        _draw_nothing_scored(draw, box, slices)
        return
    worst, best = _scale(assessment, scores)
    many = len(curves) > 1
    plot = (left + 70, top + (70 if many else 40), right - 150, bottom - 66)
    frame = _Frame(plot, max(len(curve) for _, curve in curves), worst, best)
    drawn = curves[:_MOST_CURVES]
    if not many:
        _draw_excluded(draw, frame, drawn[0][1])
    _draw_axes(draw, frame, drawn)
    _draw_levels(draw, frame, assessment)
    for number, (_, curve) in enumerate(drawn):
        _draw_curve(draw, frame, curve, number)
    _draw_worst(draw, frame, drawn, assessment.worst)
    _draw_legend(draw, (left + 70, top), [name for name, _ in curves], right - left - 70)


def _curves(
    slices: Sequence[SliceScore], assessment: Assessment
) -> list[tuple[str, list[SliceScore]]]:
    """Slices a stack, the worst stack first."""
    stacks: dict[str, list[SliceScore]] = {}
    for one in slices:
        stacks.setdefault(one.stack, []).append(one)
    value = {stack.stack: stack.value for stack in assessment.stacks}
    bundle = assessment.bundle
    rising = bundle is None or bundle.score_best >= bundle.score_worst
    rising = rising and not is_share(assessment)
    last = float("inf")

    def rank(stack: str) -> float:
        return last if stack not in value else value[stack] if rising else -value[stack]

    return [(stack, stacks[stack]) for stack in sorted(stacks, key=rank)]


def _scale(assessment: Assessment, scores: Sequence[float]) -> tuple[float, float]:
    bundle = assessment.bundle
    if bundle is not None and bundle.score_worst != bundle.score_best:
        return bundle.score_worst, bundle.score_best
    low, high = min(scores), max(scores)
    return (low, high) if high > low else (low - 1.0, low + 1.0)


def _draw_nothing_scored(draw: ImageDraw.ImageDraw, box: Box, slices: Sequence[SliceScore]) -> None:
    left, top, right, bottom = box
    draw.rectangle(box, fill=PANEL)
    font, small = typeface(30, bold=True), typeface(22)
    middle = (top + bottom) // 2
    draw.text(((left + right) / 2, middle - 70), "No slice was scored", INK, font, anchor="mm")
    reasons: dict[str, int] = {}
    for one in slices:
        reason = one.excluded or "no score"
        reasons[reason] = reasons.get(reason, 0) + 1
    commonest = sorted(reasons.items(), key=lambda held: (-held[1], held[0]))[:4]
    for row, (reason, count) in enumerate(commonest):
        noun = "slice" if count == 1 else "slices"
        line = fit(f"{count} {noun}: {reason}", small, right - left - 40)
        draw.text(((left + right) / 2, middle - 20 + 32 * row), line, MUTED, small, anchor="mm")


def _draw_excluded(draw: ImageDraw.ImageDraw, frame: _Frame, curve: Sequence[SliceScore]) -> None:
    """A band behind each run of excluded slices, crossed at its foot."""
    _, top, _, bottom = frame.box
    runs = groupby(enumerate(curve), key=lambda held: held[1].score is None)
    for excluded, held in runs:
        if not excluded:
            continue
        indices = [index for index, _ in held]
        start, end = frame.x(indices[0] - 0.5), frame.x(indices[-1] + 0.5)
        draw.rectangle((start, top, max(end, start + 1), bottom), fill=_EXCLUDED)
        if end - start >= 10:
            x, y, reach = (start + end) / 2, bottom - 12, 5
            draw.line((x - reach, y - reach, x + reach, y + reach), MUTED, 2)
            draw.line((x - reach, y + reach, x + reach, y - reach), MUTED, 2)


def _draw_axes(
    draw: ImageDraw.ImageDraw, frame: _Frame, curves: Sequence[tuple[str, list[SliceScore]]]
) -> None:
    left, top, right, bottom = frame.box
    font = typeface(20)
    for step in range(5):
        score = frame.score_worst + (frame.score_best - frame.score_worst) * step / 4
        y = frame.y(score)
        draw.line((left, y, right, y), GRID, 1)
        draw.text((left - 10, y), f"{score:.3g}", MUTED, font, anchor="rm")
    draw.line((left, top, left, bottom), MUTED, 2)
    draw.line((left, bottom, right, bottom), MUTED, 2)
    longest = max((curve for _, curve in curves), key=len)
    numbered = len(curves) == 1 and all(one.instance_number is not None for one in longest)
    label = "image number, in order of position" if numbered else "slice, in order of position"
    for index in _ticks(frame.count):
        x = frame.x(index)
        shown = longest[index].instance_number if numbered else index + 1
        draw.line((x, bottom, x, bottom + 6), MUTED, 2)
        draw.text((x, bottom + 10), str(shown), MUTED, font, anchor="mt")
    draw.text(((left + right) / 2, bottom + 38), label, MUTED, font, anchor="mt")


def _ticks(count: int) -> list[int]:
    """At most seven slices, first and last among them, evenly spread."""
    last = count - 1
    parts = min(6, last)
    return sorted({round(last * part / parts) for part in range(parts + 1)}) if parts else [0]


def _draw_levels(draw: ImageDraw.ImageDraw, frame: _Frame, assessment: Assessment) -> None:
    """Limits and the statistic as lines, named at the right where they do not collide.

    Nothing where they are shares of slices: those have no place on a scale of scores.
    """
    if is_share(assessment):
        return
    left, top, right, bottom = frame.box
    levels: list[tuple[float, str, Colour, tuple[int, ...]]] = []
    if assessment.limits is not None:
        levels.append((assessment.limits.meets, "limit", _LIMIT, (16, 8)))
        if assessment.limits.unusable is not None:
            levels.append((assessment.limits.unusable, "unusable", _UNUSABLE, (4, 6)))
    if assessment.score is not None:
        levels.append((assessment.score, "result", INK, ()))
    levels.sort(key=lambda level: frame.y(level[0]))
    font = typeface(20)
    height = 25.0
    places = [frame.y(score) for score, *_ in levels]
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + height)
    overshoot = max(0.0, (places[-1] if places else top) - bottom)
    places = [place - overshoot for place in places]
    for (score, name, colour, dash), place in zip(levels, places, strict=True):
        y = frame.y(score)
        _dashed(draw, [(left, y), (right, y)], colour, 2, dash)
        draw.line((right, y, right + 10, place), colour, 2)
        draw.text((right + 14, place), f"{name} {score:.2f}", colour, font, anchor="lm")


def _draw_curve(
    draw: ImageDraw.ImageDraw, frame: _Frame, curve: Sequence[SliceScore], number: int
) -> None:
    """A line through runs of scored slices; dots where there is room for them."""
    points = [
        None if one.score is None else (frame.x(index), frame.y(one.score))
        for index, one in enumerate(curve)
    ]
    colour, dash = _CURVES[number], _DASHES[number]
    for scored, held in groupby(points, key=lambda point: point is not None):
        run = [point for point in held if point is not None]
        if scored and len(run) > 1:
            _dashed(draw, run, colour, 3, dash)
        if scored and (len(run) == 1 or frame.count <= 80):
            for x, y in run:
                draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)


def _draw_worst(
    draw: ImageDraw.ImageDraw,
    frame: _Frame,
    curves: Sequence[tuple[str, list[SliceScore]]],
    worst: Sequence[SliceScore],
) -> None:
    marked = {(one.sop_instance_uid, one.frame_number) for one in worst}
    for _, curve in curves:
        for index, one in enumerate(curve):
            if one.score is not None and (one.sop_instance_uid, one.frame_number) in marked:
                x, y = frame.x(index), frame.y(one.score)
                draw.ellipse((x - 8, y - 8, x + 8, y + 8), outline=_UNUSABLE, width=3)


def _draw_legend(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], stacks: Sequence[str], width: int
) -> None:
    left, top = at
    font = typeface(20)
    draw.text((left - 60, top + 22), "score: up is better", MUTED, font, anchor="lm")
    x = float(left + 170)
    draw.ellipse((x, top + 13, x + 16, top + 29), outline=_UNUSABLE, width=3)
    draw.text((x + 24, top + 22), "worst slices, shown below", MUTED, font, anchor="lm")
    if len(stacks) == 1:
        x += 24 + font.getlength("worst slices, shown below") + 30
        draw.rectangle((x, top + 12, x + 22, top + 32), fill=_EXCLUDED)
        draw.text((x + 30, top + 22), "not scored", MUTED, font, anchor="lm")
        return
    x, y, share = float(left), top + 48, width / min(len(stacks), _MOST_CURVES + 1)
    for number, stack in enumerate(stacks[:_MOST_CURVES]):
        _dashed(draw, [(x, y), (x + 44, y)], _CURVES[number], 3, _DASHES[number])
        name = fit(stack or "unnamed stack", font, share - 70)
        draw.text((x + 52, y), name, MUTED, font, anchor="lm")
        x += share
    if len(stacks) > _MOST_CURVES:
        more = drawable(f"+ {len(stacks) - _MOST_CURVES} more, better")
        draw.text((x, y), more, MUTED, font, anchor="lm")


def _dashed(
    draw: ImageDraw.ImageDraw,
    points: Sequence[Point],
    colour: Colour,
    width: int,
    dash: tuple[int, ...],
) -> None:
    """A polyline; `dash` is drawn and skipped lengths in pixels in turn, empty for a solid one."""
    if not dash:
        draw.line(list(points), colour, width, joint="curve")
        return
    part, left = 0, float(dash[0])
    for (x0, y0), (x1, y1) in pairwise(points):
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        done = 0.0
        while done < length:
            step = min(left, length - done)
            if part % 2 == 0:
                a, b = done / length, (done + step) / length
                ends = (
                    x0 + (x1 - x0) * a,
                    y0 + (y1 - y0) * a,
                    x0 + (x1 - x0) * b,
                    y0 + (y1 - y0) * b,
                )
                draw.line(ends, colour, width)
            done += step
            left -= step
            if left <= 1e-9:
                part = (part + 1) % len(dash)
                left = float(dash[part])
