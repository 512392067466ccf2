"""The page a summary image shows, as a picture; no patient identity and no date is on it.

Light on dark for reading rooms. Every meaning carried by a colour is carried by a shape or a
word too, and no letter is smaller than 20 pixels, so that half size stays legible.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from service.judge.evidence import Assessment, SliceScore, Verdict
from service.report.score_chart import INK, MUTED, PANEL, Colour, draw_score_chart
from service.report.subject import Gate, ReportedSeries
from service.report.typeface import fit, typeface, wrap
from service.report.wording import (
    DISCLAIMER,
    headline,
    is_share,
    limits_in_words,
    series_title,
    site_of_snr,
)

WIDTH_PX: Final = 1280
HEIGHT_PX: Final = 960
_MARGIN: Final = 28
_BACKGROUND: Final = (12, 16, 20)
_BANNER: Final[dict[Verdict, Colour]] = {
    Verdict.MEETS: (22, 104, 66),
    Verdict.DOES_NOT_MEET: (148, 84, 0),
    Verdict.UNUSABLE: (150, 30, 34),
    Verdict.NOT_ASSESSED: (74, 84, 94),
}
_WARNING: Final = (255, 206, 110)
_THUMBNAILS: Final = 6
_THUMBNAIL_PX: Final = 166
_FACT_X: Final = 872
_CHART_BOTTOM: Final = 592


def draw_summary_page(series: ReportedSeries, gate: Gate) -> Image.Image:
    """The page, RGB, 1280 x 960."""
    page = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), _BACKGROUND)
    draw = ImageDraw.Draw(page)
    _draw_banner(draw, series.assessment)
    top = _draw_subject(draw, series)
    chart = (_MARGIN, top, _FACT_X - 24, _CHART_BOTTOM)
    draw_score_chart(draw, chart, series.slices, series.assessment)
    _draw_facts(draw, series, top)
    _draw_worst(page, draw, series)
    _draw_foot(draw, series.assessment, gate)
    return page


def _draw_banner(draw: ImageDraw.ImageDraw, assessment: Assessment) -> None:
    draw.rectangle((0, 0, WIDTH_PX, 100), fill=_BANNER[assessment.verdict])
    _draw_sign(draw, assessment.verdict, (64, 50), 34)
    words = headline(assessment.verdict, borderline=assessment.borderline)
    score = "" if assessment.score is None else f"{assessment.score:.2f}"
    room = WIDTH_PX - 120 - _MARGIN - (280 if score else 0)
    size = 42
    while size > 28 and typeface(size, bold=True).getlength(words) > room:
        size -= 2
    font = typeface(size, bold=True)
    draw.text((120, 50), fit(words, font, room), INK, font, anchor="lm")
    if score:
        right = WIDTH_PX - _MARGIN
        draw.text((right, 38), score, INK, typeface(42, bold=True), anchor="rm")
        draw.text((right, 80), _scale_in_words(assessment), INK, typeface(20), anchor="rm")


def _scale_in_words(assessment: Assessment) -> str:
    bundle = assessment.bundle
    if is_share(assessment):
        return "share of slices, less is better"
    if bundle is None:
        return "score"
    return f"score, {bundle.score_worst:g} worst to {bundle.score_best:g} best"


def _draw_sign(
    draw: ImageDraw.ImageDraw, verdict: Verdict, centre: tuple[int, int], radius: int
) -> None:
    """A tick in a circle, a mark in a triangle, a cross in a square, a question in a circle."""
    x, y = centre
    around = (x - radius, y - radius, x + radius, y + radius)
    if verdict is Verdict.MEETS:
        draw.ellipse(around, outline=INK, width=5)
        draw.line((x - 16, y + 1, x - 4, y + 14, x + 17, y - 13), INK, 7, joint="curve")
    elif verdict is Verdict.DOES_NOT_MEET:
        corners = [
            (x, y - radius),
            (x + radius + 4, y + radius - 4),
            (x - radius - 4, y + radius - 4),
        ]
        draw.polygon(corners, outline=INK, width=5)
        draw.text((x, y + 9), "!", INK, typeface(38, bold=True), anchor="mm")
    elif verdict is Verdict.UNUSABLE:
        draw.rectangle(around, outline=INK, width=5)
        draw.line((x - 17, y - 17, x + 17, y + 17), INK, 7)
        draw.line((x - 17, y + 17, x + 17, y - 17), INK, 7)
    else:
        draw.ellipse(around, outline=INK, width=5)
        draw.text((x, y + 1), "?", INK, typeface(42, bold=True), anchor="mm")


def _draw_subject(draw: ImageDraw.ImageDraw, series: ReportedSeries) -> int:
    """What was looked at, and why the verdict is as it is; returns the row below."""
    facts, room = series.facts, WIDTH_PX - 2 * _MARGIN
    title, plain, reason = typeface(28, bold=True), typeface(21), typeface(24)
    draw.text((_MARGIN, 112), fit(series_title(facts), title, room), INK, title)
    thickness = "" if facts.slice_thickness_mm is None else f"{facts.slice_thickness_mm:g} mm"
    parts = (
        facts.scanner,
        f"protocol {facts.protocol_name}" if facts.protocol_name else "",
        f"kernel {facts.kernel}" if facts.kernel else "",
        thickness,
    )
    about = "  ·  ".join(part for part in parts if part)
    draw.text((_MARGIN, 150), fit(about, plain, room), MUTED, plain)
    row = 184
    for line in wrap(series.assessment.reason, reason, room, 2):
        draw.text((_MARGIN, row), line, INK, reason)
        row += 31
    return row + 8


def _draw_facts(draw: ImageDraw.ImageDraw, series: ReportedSeries, top: int) -> None:
    """Figures in words at the right of the chart."""
    box = (_FACT_X, top, WIDTH_PX - _MARGIN, _CHART_BOTTOM)
    draw.rectangle(box, fill=PANEL)
    name, value = typeface(20), typeface(21, bold=True)
    room = box[2] - box[0] - 32
    row = top + 12
    for label, shown in _facts(series):
        lines = wrap(shown, value, room, 2)
        if row + 24 + 27 * len(lines) > _CHART_BOTTOM:
            break
        draw.text((_FACT_X + 16, row), label, MUTED, name)
        for number, line in enumerate(lines):
            draw.text((_FACT_X + 16, row + 24 + 27 * number), line, INK, value)
        row += 24 + 27 * len(lines) + 8


def _facts(series: ReportedSeries) -> list[tuple[str, str]]:
    assessment = series.assessment
    shown: list[tuple[str, str]] = []
    if assessment.score is not None:
        interval = assessment.interval
        spread = "" if interval is None else f"  (95 %: {interval[0]:.2f} to {interval[1]:.2f})"
        shown.append((assessment.statistic or "Score", f"{assessment.score:.2f}{spread}"))
    if assessment.limits is not None:
        shown.append(("Limits", limits_in_words(assessment.limits)))
    if assessment.noise_hu is not None:
        shown.append(("Noise in soft tissue", f"{assessment.noise_hu:.1f} HU"))
    if assessment.snr is not None:
        place = site_of_snr(series.facts.modality)
        shown.append((f"Signal to noise {place}", f"{assessment.snr:.1f}"))
    if series.companion is not None:
        shown.append(("Scored fused with", series_title(series.companion)))
    shown.append(("Slices scored", f"{assessment.slices_scored} of {assessment.slices_total}"))
    if len(assessment.stacks) > 1:
        held = sorted(assessment.stacks, key=lambda stack: stack.value)
        named = ", ".join(f"{stack.stack or 'unnamed'} {stack.value:.2f}" for stack in held)
        shown.append((f"{len(held)} stacks, from low to high", named))
    if assessment.bundle is not None:
        shown.append(("Network", f"{assessment.bundle.name} {assessment.bundle.version}"))
    return shown


def _draw_worst(page: Image.Image, draw: ImageDraw.ImageDraw, series: ReportedSeries) -> None:
    """The worst slices, worst first, each with its image number and score."""
    worst = series.assessment.worst[:_THUMBNAILS]
    if not worst:
        return
    font = typeface(20)
    step = (WIDTH_PX - 2 * _MARGIN - _THUMBNAIL_PX) // (_THUMBNAILS - 1)
    top = _CHART_BOTTOM + 14
    for index, one in enumerate(worst):
        left = _MARGIN + index * step
        frame = (left - 1, top - 1, left + _THUMBNAIL_PX, top + _THUMBNAIL_PX)
        draw.rectangle(frame, outline=MUTED, fill=(0, 0, 0))
        thumbnail = series.thumbnails.get((one.sop_instance_uid, one.frame_number))
        if thumbnail is not None and thumbnail.size:
            small = _scaled(thumbnail)
            at = (
                left + (_THUMBNAIL_PX - small.width) // 2,
                top + (_THUMBNAIL_PX - small.height) // 2,
            )
            page.paste(small, at)
        else:
            middle = (left + _THUMBNAIL_PX // 2, top + _THUMBNAIL_PX // 2)
            draw.text(middle, "no picture", MUTED, font, anchor="mm")
        if len(series.assessment.stacks) > 1 and one.stack:
            name = fit(one.stack, font, _THUMBNAIL_PX - 12)
            draw.rectangle((left, top, left + font.getlength(name) + 12, top + 28), fill=(0, 0, 0))
            draw.text((left + 6, top + 3), name, INK, font)
        label = fit(_slice_label(one, series.slices), font, step - 6)
        draw.text((left, top + _THUMBNAIL_PX + 6), label, INK, font)


def _scaled(thumbnail: NDArray[np.uint8]) -> Image.Image:
    """Grey `[H, W]` or RGB `[H, W, 3]`, as large as the frame allows without distortion."""
    picture = Image.fromarray(np.ascontiguousarray(thumbnail))
    factor = _THUMBNAIL_PX / max(picture.size)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Image.Resampling.BICUBIC).convert("RGB")


def _slice_label(one: SliceScore, slices: Sequence[SliceScore]) -> str:
    """Image number, frame where the image holds several that were scored, and score."""
    frames = sum(other.sop_instance_uid == one.sop_instance_uid for other in slices)
    if frames > 1:
        name = f"frame {one.frame_number}"
    else:
        name = "slice" if one.instance_number is None else f"image {one.instance_number}"
    return name if one.score is None else f"{name}:  {one.score:.2f}"


def _draw_foot(draw: ImageDraw.ImageDraw, assessment: Assessment, gate: Gate) -> None:
    """Warnings, then what this picture is not, then who made it."""
    font, strong = typeface(20), typeface(20, bold=True)
    room = WIDTH_PX - 2 * _MARGIN
    row = 808
    said = f"Warning: {'  '.join(assessment.warnings)}" if assessment.warnings else ""
    for number, line in enumerate(wrap(said, strong, room, 2)):
        draw.text((_MARGIN, row + 26 * number), line, _WARNING, strong)
    draw.line((_MARGIN, row + 55, WIDTH_PX - _MARGIN, row + 55), MUTED, 1)
    for number, line in enumerate(wrap(" ".join(DISCLAIMER), font, room, 2)):
        draw.text((_MARGIN, row + 63 + 26 * number), line, INK, font)
    made = f"iqgate {gate.software_version}  ·  {gate.station_name}"
    draw.text((_MARGIN, row + 119), fit(made, font, room), MUTED, font)
