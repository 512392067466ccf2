"""Rendering: stored values to HU, HU to the network's picture."""

from types import SimpleNamespace

import numpy as np
import pytest

from models.physical import AIR_HU, HIGHEST_HU, to_hu
from models.render import CtWindow, RenderSpec, resize

SPEC = CtWindow(64, 64, 40.0, 400.0)


@pytest.mark.parametrize(
    ("stored", "slope", "intercept", "expected"),
    [
        (np.array([[0, 1064]], np.uint16), 1, -1024, [-1024, 40]),
        (np.array([[-1000, 40]], np.int16), 1, 0, [-1000, 40]),
        (np.array([[-500, 20]], np.int16), 2, 0, [-1000, 40]),
        (np.array([[0, 65535]], np.uint16), 1, -1024, [-1024, HIGHEST_HU]),
        (np.array([[-32768, 0]], np.int16), 1, 0, [AIR_HU, 0]),
    ],
)
def test_slope_and_intercept(
    stored: np.ndarray, slope: float, intercept: float, expected: list[float]
) -> None:
    hu = to_hu(stored, SimpleNamespace(RescaleSlope=slope, RescaleIntercept=intercept))
    assert hu.dtype == np.float32
    assert hu[0].tolist() == expected


def test_without_rescale_attributes_values_are_hu() -> None:
    assert to_hu(np.array([[7]], np.int16), SimpleNamespace())[0, 0] == 7


def test_padding_becomes_air() -> None:
    stored = np.array([[-2000, 100]], np.int16)
    ds = SimpleNamespace(RescaleSlope=1, RescaleIntercept=0, PixelPaddingValue=-2000)
    assert to_hu(stored, ds)[0].tolist() == [AIR_HU, 100]


def test_padding_range_becomes_air() -> None:
    stored = np.array([[2990, 3000, 100]], np.int16)
    ds = SimpleNamespace(PixelPaddingValue=3000, PixelPaddingRangeLimit=2980)
    assert to_hu(stored, ds)[0].tolist() == [AIR_HU, AIR_HU, 100]


def test_window_is_linear_and_clipped() -> None:
    hu = np.full((64, 64), 40.0, np.float32)
    hu[0, :3] = -161, 241, 140
    picture = SPEC.draw(hu)
    assert picture.shape == (1, 64, 64)
    assert picture[0, 0, :3].tolist() == pytest.approx([0, 1, 0.75])
    assert picture[0, 1, 1] == pytest.approx(0.5)


def test_window_comes_before_averaging() -> None:
    """Noise beyond the window is clipped as on a screen; averaging first would hide it."""
    hu = np.tile(np.array([[-2000, 2000]], np.float32), (128, 64))
    assert SPEC.draw(hu).mean() == pytest.approx(0.5, abs=0.01)
    bright = np.tile(np.array([[240, 2000]], np.float32), (128, 64))
    assert SPEC.draw(bright) == pytest.approx(np.ones((1, 64, 64)))


def test_aspect_is_kept_on_black() -> None:
    picture = SPEC.draw(np.full((100, 50), 240.0, np.float32))
    assert picture[0, :, 16:48] == pytest.approx(np.ones((64, 32)))
    assert picture[0, :, :16].max() == 0
    assert picture[0, :, 48:].max() == 0


def test_resize_equals_a_triangle_filter_by_hand() -> None:
    rng = np.random.default_rng(5)
    image = rng.random((12, 18)).astype(np.float32)
    small = resize(image, 6, 9)
    # Step 2: target pixel 2 lies at 4.5; weights of a triangle 2 wide at 3, 4, 5, 6.
    weights = np.array([0.25, 0.75, 0.75, 0.25]) / 2
    expected = weights @ image[3:7, 5:9] @ weights
    assert small[2, 3] == pytest.approx(expected, rel=1e-5)


def test_resize_equals_pillow() -> None:
    from PIL import Image

    image = np.random.default_rng(6).random((64, 96)).astype(np.float32)
    expected = np.asarray(Image.fromarray(image).resize((36, 24), Image.Resampling.BILINEAR))
    assert resize(image, 24, 36) == pytest.approx(expected, abs=1e-5)


def test_resize_upwards_keeps_the_range() -> None:
    image = np.random.default_rng(7).random((8, 8)).astype(np.float32)
    large = resize(image, 32, 32)
    assert large.min() >= image.min()
    assert large.max() <= image.max()


def test_noise_is_averaged_and_never_folded() -> None:
    noise = np.random.default_rng(8).standard_normal((512, 512)).astype(np.float32)
    assert resize(noise, 256, 256).std() < 0.5 * noise.std()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"kind": "mr"}, "'mr' is not known"), ({"rows": 0}, "must be positive")],
)
def test_impossible_specs_are_refused(change: dict[str, object], message: str) -> None:
    table: dict[str, object] = {
        "kind": "ct-window",
        "rows": 64,
        "columns": 64,
        "window_center_hu": 40,
        "window_width_hu": 400,
    }
    with pytest.raises(ValueError, match=message):
        RenderSpec.from_table(table | change)
