"""The patient's age, by which policies tell children: as stated, else from two dates."""

import pytest

from service import header
from tests.factories import ct_slice


@pytest.mark.parametrize(
    ("stated", "years"),
    [("056Y", 56), ("5Y", 5), ("018M", 1.5), ("026W", 0.498), ("003D", 0.008), ("12y", 12)],
)
def test_as_stated(stated: str, years: float) -> None:
    assert header.series_facts(ct_slice(PatientAge=stated)).age_years == pytest.approx(
        years, abs=1e-3
    )


@pytest.mark.parametrize("stated", [None, "", "Y", "056", "unknown", "1234Y"])
def test_from_the_dates_where_it_is_not(stated: str | None) -> None:
    ds = ct_slice(PatientAge=stated, PatientBirthDate="20160101", StudyDate="20260101")
    assert header.series_facts(ds).age_years == pytest.approx(10, abs=0.01)


@pytest.mark.parametrize("born", ["20260101", "20270101", "", "19"])
def test_dates_that_tell_nothing(born: str) -> None:
    """Equal dates are what de-identification leaves behind."""
    ds = ct_slice(PatientAge=None, PatientBirthDate=born, StudyDate="20260101")
    assert header.series_facts(ds).age_years is None
