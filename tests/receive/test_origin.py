"""Where objects come from: read once a series."""

import pytest

from service.errors import UnreadableObject
from service.receive.origin import Origins
from tests.factories import ct_slice


def test_the_first_object_of_a_series_speaks_for_it():
    origins = Origins()
    first = origins.of(ct_slice(1))
    assert (first.patient_name, first.facts.modality) == ("Doe^Jane", "CT")
    assert first.facts.series_instance_uid == ct_slice(1).SeriesInstanceUID
    assert origins.of(ct_slice(2, PatientName="Other^Name")) is first


@pytest.mark.parametrize(
    "other", [{"SeriesInstanceUID": "1.2.3"}, {"StudyInstanceUID": "1.2.3"}, {"Modality": "PT"}]
)
def test_what_differs_in_study_series_or_modality_speaks_for_itself(other):
    origins = Origins()
    first, second = origins.of(ct_slice(1)), origins.of(ct_slice(2, **other))
    assert first.facts != second.facts


def test_only_the_last_series_are_remembered():
    origins = Origins(remembered=2)
    first = origins.of(ct_slice(1))
    for number in range(2):
        origins.of(ct_slice(1, SeriesInstanceUID=f"1.2.3.{number}"))
    assert origins.of(ct_slice(1)) == first
    assert origins.of(ct_slice(1)) is not first


@pytest.mark.parametrize("missing", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_an_object_of_no_series_is_refused(missing):
    with pytest.raises(UnreadableObject, match="missing"):
        Origins().of(ct_slice(1, **{missing: None}))
