"""The summary image: its attributes, and that every kind of series gets a page."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pydicom import dcmread
from pydicom.dataset import Dataset
from report_subjects import GATE, clean_header, facts, reported, slices, summary_image

from service.judge.evidence import Assessment, Limits, StackResult, Verdict
from service.report.score_chart import draw_score_chart
from service.report.subject import ReportedSeries
from service.report.summary_page import draw_summary_page
from service.report.typeface import drawable, fit, typeface, wrap


def read(data: bytes) -> Dataset:
    return dcmread(BytesIO(data))


def test_the_attributes_say_what_it_is() -> None:
    ds = read(summary_image(reported()))
    assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert ds.BurnedInAnnotation == "NO"
    assert list(ds.ImageType) == ["DERIVED", "SECONDARY", "OTHER"]
    assert (ds.ConversionType, ds.SeriesNumber, ds.InstanceNumber) == ("WSD", 9902, 3)
    assert "not for diagnosis" in ds.SeriesDescription
    assert ds.pixel_array.shape == (960, 1280, 3)
    assert ds.ContentTime == "140506.789000"
    assert len(ds.SourceImageSequence) == 6


def test_a_lossy_source_stays_lossy() -> None:
    image = clean_header(LossyImageCompression="01", LossyImageCompressionRatio=10)
    ds = read(summary_image(reported(10, image)))
    assert (ds.LossyImageCompression, ds.LossyImageCompressionRatio) == ("01", 10)


def test_equal_arguments_give_equal_bytes() -> None:
    assert summary_image(reported()) == summary_image(reported())


def test_no_patient_identity_reaches_the_picture() -> None:
    """The page is drawn from facts and scores; another patient's header changes no pixel."""
    other = clean_header(PatientName="Other^Person", PatientID="X", PatientBirthDate="20000101")
    pages = [draw_summary_page(reported(20, image), GATE) for image in (clean_header(), other)]
    assert pages[0].tobytes() == pages[1].tobytes()


def _many_stacks() -> ReportedSeries:
    scores = tuple(
        replace(one, stack=f"b {stack}", sop_instance_uid=f"{one.sop_instance_uid}.{stack}")
        for stack in range(7)
        for one in slices(12)
    )
    stacks = tuple(StackResult(f"b {n}", 10, 3.0 - n / 4, None, Verdict.MEETS) for n in range(7))
    return replace(
        reported(12, stacks=stacks), slices=scores, facts=facts(series_description="ep2d")
    )


def _without_scores() -> ReportedSeries:
    scores = tuple(replace(one, score=None, excluded="outside the body") for one in slices(9))
    assessment = Assessment(Verdict.NOT_ASSESSED, "Nothing could be scored.", slices_total=9)
    return replace(reported(9), slices=scores, assessment=assessment, thumbnails={})


CASES = {
    "one slice": lambda: reported(1),
    "700 slices": lambda: reported(700),
    "no scores": _without_scores,
    "no slices": lambda: replace(_without_scores(), slices=()),
    "several stacks": _many_stacks,
    "long words": lambda: replace(
        reported(20, reason="word " * 200, warnings=("warning " * 60,)),
        facts=facts(series_description="D" * 300, protocol_name="P" * 300),
    ),
    "japanese": lambda: replace(reported(20), facts=facts(series_description="胸部 単純 5mm")),
    "equal scores without bundle": lambda: replace(reported(2, bundle=None)),
    "odd thumbnails": lambda: replace(
        reported(20),
        thumbnails={
            (f"{one.sop_instance_uid}", 1): np.zeros((3, 200), np.uint8) for one in slices(20)
        },
    ),
    "thumbnails in colour": lambda: replace(
        reported(20),
        thumbnails={
            (f"{one.sop_instance_uid}", 1): np.full((160, 160, 3), (250, 120, 0), np.uint8)
            for one in slices(20)
        },
    ),
    "share of slices": lambda: reported(20, score=0.3, limits=Limits(0.2, 0.5, more_is_worse=True)),
    "lower is better": lambda: reported(20, bundle=replace_scale()),
}


def replace_scale():  # type: ignore[no-untyped-def]
    bundle = reported(1).assessment.bundle
    assert bundle is not None
    return replace(bundle, score_worst=4.0, score_best=0.0)


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_series_gets_a_page(case: str) -> None:
    page = draw_summary_page(CASES[case](), GATE)
    assert page.size == (1280, 960)
    assert np.asarray(page).std() > 5


@pytest.mark.parametrize("verdict", list(Verdict))
def test_verdicts_differ_in_shape_and_not_in_colour_alone(verdict: Verdict) -> None:
    sign = (24, 12, 110, 92)
    grey = {
        one: np.asarray(draw_summary_page(reported(5, verdict=one), GATE).convert("L").crop(sign))
        > 200
        for one in Verdict
    }
    others = [grey[one] for one in Verdict if one is not verdict]
    assert all((grey[verdict] != other).sum() > 100 for other in others)


def test_shares_of_slices_are_not_drawn_on_the_scale_of_scores() -> None:
    def chart(**changes: object) -> bytes:
        series = reported(20, **changes)
        page = Image.new("RGB", (800, 400))
        draw_score_chart(ImageDraw.Draw(page), (0, 0, 800, 400), series.slices, series.assessment)
        return page.tobytes()

    bare = chart(score=None, limits=None)
    assert chart(score=0.3, limits=Limits(0.2, 0.5, more_is_worse=True)) == bare
    assert chart(score=0.3, limits=Limits(0.2, 0.5)) != bare


def test_what_cannot_be_drawn_is_named_once() -> None:
    assert drawable("胸部 単純 5mm 軸位断") == "[Japanese or Chinese text]  5mm …"
    assert drawable("흉부 CT") == "[Korean text] CT"
    assert drawable("Thorax ° µ Ж é") == "Thorax ° μ Ж é"
    assert drawable("a\nb") == "a b"


def test_lines_fit() -> None:
    font = typeface(20)
    assert font.getlength(fit("W" * 500, font, 300)) <= 300
    lines = wrap("several words that need more than one line " * 9, font, 300, 2)
    assert len(lines) == 2
    assert lines[1].endswith("…")
    assert all(font.getlength(line) <= 300 for line in lines)
    assert wrap("", font, 300, 2) == []
