"""Noise of captures: its strength, where it strikes, and what JPEG makes of colour."""

import numpy as np
import pytest

from trainer.degradations import degrade
from trainer.degradations.capture import MOST_IMPULSES, STRONGEST_NOISE
from trainer.degradations.compression import colour_jpeg

GREY = np.full((256, 256), 0.5, np.float32)


def test_noise_is_white_and_as_strong_as_said() -> None:
    noise = degrade("gaussian_noise", GREY, 0.5, np.random.default_rng(0), window=(0.0, 1.0)) - 0.5
    assert noise.std() == pytest.approx(0.5 * STRONGEST_NOISE, rel=0.02)
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.02


def test_noise_stays_within_the_scale_but_for_what_lay_beyond_it() -> None:
    image = np.where(np.indices(GREY.shape).sum(0) % 2, 1.0, 0.0).astype(np.float32)
    image[0, 0] = 7.0
    noisy = degrade("gaussian_noise", image, 1.0, np.random.default_rng(0), window=(0.0, 1.0))
    assert noisy.min() == 0
    assert noisy.flat[1:].max() == 1
    assert noisy[0, 0] == pytest.approx(7, abs=0.5)


@pytest.mark.parametrize("level", [0.0, 0.25, 0.75])
def test_impulses_are_white_and_strike_in_proportion_to_brightness(level: float) -> None:
    image = np.full((512, 512), level, np.float32)
    worse = degrade("impulse_noise", image, 0.5, np.random.default_rng(0), window=(0.0, 1.0))
    struck = worse != image
    assert struck.mean() == pytest.approx(0.5 * MOST_IMPULSES * level, rel=0.1)
    assert (worse[struck] == 1).all()


def test_a_window_upside_down_is_refused() -> None:
    for name in ("gaussian_noise", "impulse_noise"):
        with pytest.raises(ValueError, match="is not"):
            degrade(name, GREY, 0.5, np.random.default_rng(0), window=(1.0, 0.0))


def test_colour_jpeg_takes_the_colour_of_single_pixels() -> None:
    """At its best quality brightness is kept within a grey level or two, colour is halved."""
    picture = np.stack([GREY] * 3)
    picture[1, 100, 100] = 1.0
    stored = colour_jpeg(picture, 0.0)
    luma = np.tensordot(np.float32([0.299, 0.587, 0.114]), picture - stored, axes=1)
    assert np.abs(luma).max() < 3 / 255
    own = picture[1] - picture[0]
    left = stored[1] - stored[0]
    assert left[100, 100] < 0.4 * own[100, 100]


def test_colour_jpeg_worsens_with_severity_and_repeats() -> None:
    rng = np.random.default_rng(0)
    grey = np.clip(0.4 + 0.1 * rng.standard_normal((64, 64)), 0, 1).astype(np.float32)
    picture = np.stack([grey] * 3)
    errors = [float(np.mean((colour_jpeg(picture, s) - picture) ** 2)) for s in (0, 0.25, 0.5, 1)]
    assert errors == sorted(errors)
    assert errors[0] < 0.01 * errors[-1]
    assert np.array_equal(colour_jpeg(picture, 0.5), colour_jpeg(picture, 0.5))


def test_colour_jpeg_refuses_grey_pictures_and_severities_beyond_one() -> None:
    with pytest.raises(ValueError, match=r"a picture \[3, H, W\]"):
        colour_jpeg(GREY, 0.5)
    with pytest.raises(ValueError, match="severity 2"):
        colour_jpeg(np.stack([GREY] * 3), 2)
