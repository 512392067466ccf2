"""A frame's own header: functional groups, stacks, position."""

import numpy as np
import pytest
from pydicom import Dataset

from service.score.frame import frame_header, position_mm, spacing_mm, stack
from tests.factories import ct_slice, mr_slice


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


def test_a_tilted_gantry_keeps_its_slices_evenly_apart():
    """z steps of 5 mm at a tilt of 20 degrees: along the normal they are 5 mm · cos 20°."""
    tilt = np.deg2rad(20)
    places = [
        position_mm(
            ct_slice(
                number,
                GantryDetectorTilt=20,
                ImageOrientationPatient=[1, 0, 0, 0, float(np.cos(tilt)), float(-np.sin(tilt))],
                ImagePositionPatient=[-100, -100, 5.0 * number],
            )
        )
        for number in range(4)
    ]
    assert np.diff(places) == pytest.approx([5 * np.cos(tilt)] * 3)


@pytest.mark.parametrize(
    ("manufacturer", "tag", "vr", "value", "name"),
    [
        ("SIEMENS", (0x0019, "SIEMENS MR HEADER", 0x0C), "IS", "800", "axial, b 800"),
        ("Siemens Healthineers", (0x0019, "SIEMENS MR HEADER", 0x0C), "UN", b"50", "axial, b 50"),
        ("GE MEDICAL SYSTEMS", (0x0043, "GEMS_PARM_01", 0x39), "IS", [1000, 0, 0], "axial, b 1000"),
        ("GE MEDICAL SYSTEMS", (0x0043, "GEMS_PARM_01", 0x39), "IS", [1000000600], "axial, b 600"),
        ("GE MEDICAL SYSTEMS", (0x0043, "GEMS_PARM_01", 0x39), "IS", [0, 0], "axial"),
        ("Philips", (0x2001, "Philips Imaging DD 001", 0x03), "FL", 400.0, "axial, b 400"),
        ("Other", (0x0019, "SIEMENS MR HEADER", 0x0C), "IS", "800", "axial"),
        ("Philips", (0x2001, "Philips Imaging DD 001", 0x03), "LO", "none", "axial"),
    ],
)
def test_a_b_value_is_found_where_its_vendor_keeps_it(manufacturer, tag, vr, value, name):
    ds = mr_slice(1, Manufacturer=manufacturer)
    group_, creator, element = tag
    ds.private_block(group_, creator, create=True).add_new(element, vr, value)
    assert stack(ds) == name


def test_a_stated_b_value_wins():
    ds = mr_slice(1, Manufacturer="SIEMENS", DiffusionBValue=1000.0)
    ds.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", "50")
    assert stack(ds) == "axial, b 1000"


def test_spacing_is_the_mean_of_both_directions():
    assert spacing_mm(ct_slice(1, PixelSpacing=[0.5, 2.0])) == pytest.approx(1.0)
    assert spacing_mm(ct_slice(1, PixelSpacing=None)) is None
    assert spacing_mm(ct_slice(1, PixelSpacing=[0, 1])) is None
