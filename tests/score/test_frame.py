"""A frame's own header: functional groups, stacks, position."""

import pytest
from pydicom import Dataset

from service.score.frame import frame_header, position_mm, stack
from tests.factories import ct_slice


def group(**sequences):
    item = Dataset()
    for name, values in sequences.items():
        inner = Dataset()
        for keyword, value in values.items():
            setattr(inner, keyword, value)
        setattr(item, name, [inner])
    return item


def enhanced():
    ds = ct_slice(1, RescaleSlope=None, RescaleIntercept=None, ImagePositionPatient=None)
    del ds.ImageOrientationPatient
    ds.SharedFunctionalGroupsSequence = [
        group(
            PixelValueTransformationSequence={"RescaleSlope": 2, "RescaleIntercept": -1000},
            PlaneOrientationSequence={"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
        )
    ]
    ds.PerFrameFunctionalGroupsSequence = [
        group(
            PlanePositionSequence={"ImagePositionPatient": [0, 0, 5.0 * number]},
            FrameContentSequence={"TemporalPositionIndex": 1 + number},
        )
        for number in (0, 1)
    ]
    return ds


def test_shared_and_own_groups_are_laid_over_the_header():
    flat = frame_header(enhanced(), 2)
    assert flat.RescaleSlope == 2
    assert flat.Modality == "CT"
    assert position_mm(flat) == 5.0
    assert stack(flat) == "axial, time 2, kV 120"


def test_a_single_frame_header_is_its_own():
    ds = ct_slice(4)
    assert frame_header(ds, 1) is ds
    assert position_mm(ds) == 4.0


@pytest.mark.parametrize(
    ("orientation", "name"),
    [
        ([1, 0, 0, 0, 1, 0], "axial"),
        ([0, 1, 0, 0, 0, -1], "sagittal"),
        ([1, 0, 0, 0, 0, -1], "coronal"),
        ([1, 0, 0, 0, 0.8, 0.6], "axial [0.0, -0.6, 0.8]"),
        ([0, 0, 0, 0, 0, 0], ""),
    ],
)
def test_stacks_are_named_by_orientation(orientation, name):
    assert stack(ct_slice(1, ImageOrientationPatient=orientation, KVP=None)) == name


def test_a_header_without_geometry():
    ds = ct_slice(1, ImagePositionPatient=None, ImageOrientationPatient=None, SliceLocation=7.5)
    assert position_mm(ds) == 7.5
    assert position_mm(ct_slice(1, ImagePositionPatient=None)) is None
