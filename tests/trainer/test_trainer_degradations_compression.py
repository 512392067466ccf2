"""Compression: blocks of eight pixels, and nothing beyond the window."""

import numpy as np
import pytest
from PIL import features

from trainer.degradations import degrade
from trainer.degradations.compression import features as pillow_features


def textured() -> np.ndarray:
    rng = np.random.default_rng(0)
    ramp = np.add.outer(np.linspace(0, 60, 128), np.linspace(0, 40, 128))
    return (ramp + 8 * rng.standard_normal((128, 128)) + 40).astype(np.float32)


def test_jpeg_breaks_at_blocks_of_eight() -> None:
    worse = degrade("jpeg", textured(), 1.0, np.random.default_rng(0))
    steps = np.abs(np.diff(worse, axis=1)).mean(axis=0)
    at_edges = steps[7::8].mean()
    within = np.delete(steps, np.s_[7::8]).mean()
    clean = np.abs(np.diff(textured(), axis=1)).mean(axis=0)
    assert at_edges / within > 1.5
    assert clean[7::8].mean() / np.delete(clean, np.s_[7::8]).mean() < 1.1


def test_jpeg2000_has_no_blocks_and_takes_detail() -> None:
    if not features.check("jpg_2000"):
        pytest.skip("this Pillow has no JPEG 2000")
    clean = textured()
    worse = degrade("jpeg2000", clean, 1.0, np.random.default_rng(0))
    steps = np.abs(np.diff(worse, axis=1)).mean(axis=0)
    assert steps[7::8].mean() / np.delete(steps, np.s_[7::8]).mean() < 1.3
    assert steps.mean() < 0.5 * np.abs(np.diff(clean, axis=1)).mean()


@pytest.mark.parametrize("name", ["jpeg", "jpeg2000"])
def test_what_lies_beyond_the_window_is_kept(name: str) -> None:
    """A flat window has nothing to lose, so what is far above it comes back as it was."""
    image = np.full((64, 64), 10, np.float32)
    image[20:40, 20:40] = 3000
    worse = degrade(name, image, 0.3, np.random.default_rng(0), window=(0.0, 5.0))
    assert worse == pytest.approx(image, abs=0.5)


def test_a_window_upside_down_is_refused() -> None:
    with pytest.raises(ValueError, match="is not"):
        degrade("jpeg", textured(), 0.5, np.random.default_rng(0), window=(5.0, 1.0))


def test_a_pillow_without_jpeg_2000_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pillow_features, "check", lambda _: False)
    with pytest.raises(ValueError, match="this Pillow has no JPEG 2000"):
        degrade("jpeg2000", textured(), 0.5, np.random.default_rng(0))
