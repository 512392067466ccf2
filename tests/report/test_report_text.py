"""The report as text, and the code table in the documentation."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from report_subjects import BUNDLE, facts, reported, slices, structured_report

from service.judge.evidence import Limits
from service.judge.judging import judge
from service.judge.policy import parse_policy
from service.report import codes
from service.report.rendered_text import render_text
from service.report.wording import DISCLAIMER, limits_in_words


def test_the_text_says_what_the_report_says_and_names_no_patient() -> None:
    text = render_text(dcmread(BytesIO(structured_report(reported()))))
    joined = " ".join(text.split())
    for said in (
        "CT series 3: Thorax 2.0 B30f",
        "Image quality score, 0 (worst) to 4 (best): 1.62",
        "Noise in soft tissue, median over the scored slices: 21.5 HU",
        "Quality Assessment: Usable - Does not meet the quality control standard",
        "Image number: 34",
        *DISCLAIMER,
    ):
        assert said in joined
    for identity in ("Müller", "P-0815", "1950"):
        assert identity not in text
    assert max(len(line) for line in text.splitlines()) <= 100


POLICY = """
[[rule]]
name = "any"
modality = "CT"
statistic = { name = "share-below", score = 2.0 }
meets = 0.1
unusable = 0.9
"""


def test_limits_on_a_share_are_worded_as_upper_limits() -> None:
    assessment = judge(facts(), slices(40), BUNDLE, parse_policy(POLICY))
    assert assessment.limits is not None
    assert limits_in_words(assessment.limits) == "meets up to 0.10, unusable above 0.90"
    assert limits_in_words(Limits(2.5, 1.0)) == "meets from 2.50, unusable below 1.00"
    said = render_text(
        dcmread(BytesIO(structured_report(replace(reported(40), assessment=assessment))))
    )
    assert (
        f"Share of slices below the score that the statistic names: {assessment.score:.4g}" in said
    )
    assert "Limit: meets the standard up to this share of slices: 0.1" in said


def test_the_documented_code_table_is_the_one_in_use() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "report.md").read_text()
    for code in codes.PRIVATE:
        assert f"| `{code.value}` | {code.meaning} |" in page
        assert len(code.value) <= 16
        assert len(code.meaning) <= 64
    assert len({code.value for code in codes.PRIVATE}) == len(codes.PRIVATE)
