"""In which window a kernel is read, one row of every vendor's names."""

import pytest

from models.kernel import reading

SHARP = [
    ("BONE", "bone"), ("BONEPLUS", "bone"), ("EDGE", "bone"), ("LUNG", "lung"),
    ("B60f", "bone"), ("B70s", "bone"), ("B80f", "bone"), ("Br64", "bone"), ("Hr68", "bone"),
    ("H70h", "bone"), ("I70f", "bone"), ("U90u", "bone"), ("Qr69", "bone"), ("D70f", "bone"),
    ("Bl57d", "lung"), ("Bl64", "lung"),
    ("FC30", "bone"), ("FC35", "bone"), ("FC81", "bone"), ("FC51", "lung"), ("FC86", "lung"),
    ("D", "bone"), ("E", "bone"), ("Y", "bone"), ("YA", "bone"), ("YB", "bone"), ("YE", "bone"),
    ("L", "lung"), ("B_SHARP_C", "bone"), ("B_VSHARP_B", "bone"), ("Lung Standard", "lung"),
]  # fmt: skip
SOFT = [
    "SOFT", "STANDARD", "STND", "B20f", "B30f", "B31s", "B40f", "B46f", "Br36", "Br40d", "Bv36",
    "Bf40", "D30f", "H31s", "Hr40", "I30f", "I41f", "J30s", "Qr40", "FC01", "FC08", "FC13", "FC18",
    "FC26", "FC43", "A", "B", "C", "UA", "UB", "UC", "CA", "CB", "XCB", "SB", "B_SOFT_B", "BODY",
    "Body Standard", "CARDIAC", "BRAIN CTA", "SMOOTH",
]  # fmt: skip


@pytest.mark.parametrize(("kernel", "expected"), SHARP)
def test_sharp_kernels_without_a_window(kernel, expected):
    assert reading(kernel, None, None) == expected


@pytest.mark.parametrize("kernel", SOFT)
def test_soft_kernels_stay_soft_whatever_window_was_stored(kernel):
    assert reading(kernel, None, None) == "soft"
    assert reading(kernel, -600.0, 1600.0) == "soft"
    assert reading(kernel, 300.0, 2500.0) == "soft"


def test_the_window_tells_lung_from_bone_and_decides_on_unknown_names():
    assert reading("B60f", -600.0, 1500.0) == "lung"
    assert reading("D", -450.0, 2000.0) == "lung"
    assert reading("YA", 900.0, 2500.0) == "bone"
    assert reading("B60f", 40.0, 400.0) == "bone", "a sharp name counts without a wide window too"
    assert reading("DETAIL", 40.0, 400.0) == "soft"
    assert reading("DETAIL", 500.0, 2000.0) == "bone"
    assert reading("", -600.0, 1500.0) == "lung"
    assert reading("", None, None) == "soft"
    assert reading("B50f", -600.0, 1200.0) == "lung", "between soft and sharp the window decides"
    assert reading("B50f", 40.0, 400.0) == "soft"
