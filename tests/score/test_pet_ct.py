"""PET drawn on its CT: the right slice, the right place, the right uptake, or the reason."""

from __future__ import annotations

import numpy as np
import pytest

from models.card import load_bundle
from models.render import PetCtFused, Window, hot_iron
from service import header
from service.companion import CtFrame, nearest
from service.score.decode import decode_frame
from service.score.drawing import Frame, FrameSource, NotScored
from service.score.frame import frame_header
from service.score.pet_ct import PetCtDraw
from tests.factories import chest, ct_slice, pt_slice, write
from tests.synthetic import FUSED, write_bundle

SPEC = {**FUSED, "rows": 128, "columns": 128}
ALL_PIXELS = 64 * 1024**2


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return load_bundle(write_bundle(tmp_path_factory.mktemp("bundles") / "pet", "PT", SPEC))


@pytest.fixture
def opened(tmp_path):
    """Opens frames from files as the scorer does, counting what is decoded."""
    decoded = []

    def opener(source):
        ds = header.read_file(source.where, stop_before_pixels=False)

        def decode():
            decoded.append(source.where)
            return decode_frame(ds, source.frame_number, ALL_PIXELS)

        return Frame(source, frame_header(ds, source.frame_number), decode, opener)

    def make(pet, *cts):
        paths = write(tmp_path / str(len(decoded)), *cts, pet)
        *companions, own = [FrameSource(path, 1) for path in paths]
        return opener(FrameSource(own.where, 1, companion=next(iter(companions), None)))

    make.decoded = decoded
    return make


def grey(share):
    """The CT's part of a fused picture, one channel."""
    return np.float32(0.5) * np.float32(share)


def level(hu):
    return float(Window(40, 400).apply(np.float32([hu]))[0])


def test_uptake_and_hounsfield_units_meet_in_the_picture(opened, bundle):
    """CT of 40 HU, PET of SUV 2 in 10: half grey, half the palette at a fifth."""
    ct = ct_slice(1, pixels=ramp(1064), PixelSpacing=[1.0, 1.0])
    pet = pt_slice(1, pixels=ramp(5000, 64), ImagePositionPatient=[-164.0, -164.0, 1.0])
    picture = PetCtDraw()(opened(pet, ct), bundle).picture
    assert picture.shape == (3, 128, 128)
    expected = grey(level(40)) + 0.5 * hot_iron(np.float32([[0.2]]))[:, 0, 0]
    np.testing.assert_allclose(picture[:, 64, 64], expected, atol=0.01)


def ramp(value, rows=128):
    """Even, but for one pixel, since a constant image is not scored."""
    pixels = np.full((rows, rows), value, np.int16)
    pixels[0, 0] = 0
    return pixels


def test_a_hot_spot_lies_where_the_patient_says(opened, bundle):
    """PET of 4 mm pixels from (-164, -164): its pixel (row 30, column 50) is at x = 36, y = -44;
    on the CT of 1 mm pixels from (-100, -100) that is column 136, row 56."""
    pixels = np.zeros((64, 64), np.int16)
    pixels[30, 50] = 25000
    pet = pt_slice(1, pixels=pixels, ImagePositionPatient=[-164.0, -164.0, 1.0])
    ct = ct_slice(1, pixels=ramp(1, 256), PixelSpacing=[1.0, 1.0])
    spec = {**FUSED, "rows": 256, "columns": 256}
    picture = PetCtDraw()(opened(pet, ct), with_render(bundle, spec)).picture
    green = picture[1]
    assert np.unravel_index(int(np.argmax(green)), green.shape) == (56, 136)
    assert green[56, 136] == pytest.approx(0.5)
    assert green[56, 137] == pytest.approx(0.5 * 126 / 255), "three quarters of it, linearly"


def test_a_flipped_ct_grid_turns_the_pet_with_it(opened, bundle):
    """Columns counted towards the patient's right from x = 155: x = 36 is column 119."""
    pixels = np.zeros((64, 64), np.int16)
    pixels[30, 50] = 25000
    pet = pt_slice(1, pixels=pixels, ImagePositionPatient=[-164.0, -164.0, 1.0])
    ct = ct_slice(
        1,
        pixels=ramp(1, 256),
        PixelSpacing=[1.0, 1.0],
        ImagePositionPatient=[155.0, -100.0, 1.0],
        ImageOrientationPatient=[-1, 0, 0, 0, 1, 0],
    )
    spec = {**FUSED, "rows": 256, "columns": 256}
    picture = PetCtDraw()(opened(pet, ct), with_render(bundle, spec)).picture
    assert np.unravel_index(int(np.argmax(picture[1])), (256, 256)) == (56, 119)


def with_render(bundle, table):
    from dataclasses import replace

    return replace(bundle, card=replace(bundle.card, render=PetCtFused.from_table(table)))


@pytest.mark.parametrize(
    ("z", "expected_hu"),
    [(1.0, 0), (1.4, 0), (1.6, 100), (0.5, 0), (3.0, 100)],
    ids=["on the lower", "nearer the lower", "nearer the upper", "below both", "above both"],
)
def test_the_nearest_ct_slice_is_taken_as_it_is(opened, bundle, z, expected_hu):
    """CT slices of 0 HU at 1 mm and of 100 HU at 2 mm; PET slices of 1 mm."""
    slices = {
        float(number): ct_slice(number, pixels=ramp(1024 + hu), PixelSpacing=[1.0, 1.0])
        for number, hu in ((1, 0), (2, 100))
    }
    frames = [CtFrame(ct.SOPInstanceUID, 1, "", at, "axial", None) for at, ct in slices.items()]
    pet = pt_slice(9, pixels=corner(), ImagePositionPatient=[-164.0, -164.0, z])
    chosen = slices[nearest(z, frames).position_mm]
    picture = PetCtDraw()(opened(pet, chosen), bundle).picture
    assert picture[1, 64, 64] == pytest.approx(grey(level(expected_hu)), abs=0.01)


def corner():
    """A little uptake far from the middle."""
    pixels = np.zeros((64, 64), np.int16)
    pixels[-1, -1] = 100
    return pixels


def test_a_ct_slice_is_decoded_once(opened, bundle):
    """It is the nearest of several PET slices where those are thinner."""
    draw = PetCtDraw()
    ct = ct_slice(1, pixels=chest(seed=1))
    frame = opened(pt_slice(1, ImagePositionPatient=[-120.0, -120.0, 1.4]), ct)
    first = draw(frame, bundle).picture
    second = draw(frame, bundle).picture
    np.testing.assert_array_equal(first, second)
    assert [path.name for path in opened.decoded].count(f"{ct.SOPInstanceUID}.dcm") == 1


def test_what_is_kept_decoded_is_bounded(opened, bundle):
    draw = PetCtDraw(slices_kept=1)
    one, two = ct_slice(1), ct_slice(2)
    for number, ct in ((1, one), (2, two), (3, two)):
        frame = opened(pt_slice(number, ImagePositionPatient=[-120.0, -120.0, 2.0]), ct)
        draw(frame, bundle)
    assert len(draw._places) == 1


@pytest.mark.parametrize(
    ("pet", "cts", "reason"),
    [
        ({}, [], "no CT of its study and Frame of Reference was found"),
        ({"ImagePositionPatient": [-120, -120, 9.0]}, [{}], "no CT slice lies within 1 mm of it"),
        ({"ImagePositionPatient": None}, [{}], "its position, orientation or pixel spacing"),
        ({"PatientWeight": None}, [{}], r"Patient's Weight \(0010,1030\) is not stated"),
        ({}, [{"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}], "not oriented alike"),
        ({}, [{"PixelSpacing": None}], "pixel spacing of its CT is not stated"),
        ({"pixels": np.zeros((64, 64), np.int16)}, [{}], "the image is constant"),
        ({}, [{"pixels": np.zeros((128, 128), np.int16)}], "the image is constant"),
    ],
)
def test_reasons(opened, bundle, pet, cts, reason):
    frame = opened(pt_slice(1, **pet), *(ct_slice(1, **ct) for ct in cts))
    with pytest.raises(NotScored, match=reason):
        PetCtDraw()(frame, bundle)
