"""The report as text, and the code table in the documentation."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from report_subjects import reported, structured_report

from service.report import codes
from service.report.rendered_text import render_text
from service.report.wording import DISCLAIMER


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


def test_the_documented_code_table_is_the_one_in_use() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "report.md").read_text()
    for code in codes.PRIVATE:
        assert f"| `{code.value}` | {code.meaning} |" in page
        assert len(code.value) <= 16
        assert len(code.meaning) <= 64
    assert len({code.value for code in codes.PRIVATE}) == len(codes.PRIVATE)
