"""Our objects before independent validators, on clean, empty and real headers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Findings
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from report_subjects import PREDECESSOR, facts, reported, structured_report, summary_image

from service.judge.evidence import Assessment, StackResult, Verdict
from service.report.structured_report import SrClass

pytestmark = pytest.mark.peer

Check = Callable[[bytes], Findings]
TID_1500 = "TID_1500"
REAL = ["ct/philips_brilliance16_chest_lidc0314", "petct/ge_discoveryST_acrin042/ct_ctac"]


@pytest.mark.slow
@pytest.mark.parametrize("sop_class", ["comprehensive", "comprehensive-3d", "enhanced"])
def test_the_report_is_valid(check_sr: Check, sop_class: SrClass) -> None:
    stacks = tuple(
        StackResult(name, 18, value, (value - 0.1, value + 0.1), Verdict.MEETS)
        for name, value in (("b 50", 2.9), ("b 800", 2.2))
    )
    other = replace(reported(stacks=stacks), facts=facts(series_instance_uid="1.2.3.4"))
    unknown = replace(
        reported(),
        facts=facts(series_instance_uid="1.2.3.5"),
        assessment=Assessment(Verdict.NOT_ASSESSED, "No rule covers this kernel."),
    )
    report = structured_report(
        reported(), other, unknown, predecessor=PREDECESSOR, sop_class=sop_class
    )
    assert check_sr(report) == Findings([], TID_1500)


@pytest.mark.slow
def test_a_report_on_an_empty_header_is_valid(check_sr: Check) -> None:
    assert check_sr(structured_report(reported(10, Dataset()))) == Findings([], TID_1500)


@pytest.mark.slow
@pytest.mark.parametrize("folder", REAL)
def test_a_report_on_real_images_is_valid(check_sr: Check, shared_data: Path, folder: str) -> None:
    image = dcmread(min((shared_data / folder).glob("*.dcm")), stop_before_pixels=True)
    series = reported(40, image)
    assert check_sr(structured_report(series)) == Findings([], TID_1500)


@pytest.mark.parametrize("folder", REAL)
def test_a_summary_image_of_real_images_is_valid(
    check_iod: Check, shared_data: Path, folder: str
) -> None:
    image = dcmread(min((shared_data / folder).glob("*.dcm")), stop_before_pixels=True)
    assert check_iod(summary_image(reported(40, image))).errors == []


def test_summary_images_are_valid(check_iod: Check) -> None:
    assert check_iod(summary_image(reported())).errors == []
    assert check_iod(summary_image(reported(10, Dataset()))).errors == []


def test_hostile_headers_yield_valid_objects(check_iod: Check, shared_data: Path) -> None:
    checked = 0
    for file in sorted((shared_data / "hostile").rglob("*")):
        image = _header(file)
        if image is None:
            continue
        series = reported(5, image)
        assert check_iod(structured_report(series)).errors == [], file.name
        assert check_iod(summary_image(series)).errors == [], file.name
        checked += 1
    assert checked > 10


def _header(file: Path) -> Dataset | None:
    if not file.is_file():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's, on files that are hostile by intent
            return dcmread(file, stop_before_pixels=True)
    except (InvalidDicomError, NotImplementedError, EOFError, ValueError, RecursionError):
        return None
