"""The projector against the analytic sinogram of an ellipse, and back."""

import numpy as np
import pytest

from trainer.projection import WATER_PER_MM, attenuation_per_mm, project, reconstruct

SIDE, VIEWS, SPACING_MM = 256, 180, 0.5
A, B, X, Y, TURN = 35.0, 20.0, 6.0, -10.0, 0.5  # mm, mm, mm, mm, radians


def ellipse() -> np.ndarray:
    """An ellipse of one per mm, each pixel's cover averaged over 8×8 points."""
    fine = 8
    axis = ((np.arange(SIDE * fine) + 0.5) / fine - SIDE / 2) * SPACING_MM
    x, y = axis[None] - X, axis[:, None] - Y
    u = x * np.cos(TURN) + y * np.sin(TURN)
    v = y * np.cos(TURN) - x * np.sin(TURN)
    inside = ((u / A) ** 2 + (v / B) ** 2 <= 1).astype(np.float32)
    return inside.reshape(SIDE, fine, SIDE, fine).mean((1, 3))


def analytic_sinogram() -> np.ndarray:
    """Line integrals of the ellipse (Kak and Slaney, equations 3.5 and 3.6)."""
    angle = np.arange(VIEWS) * np.pi / VIEWS
    t = (np.arange(SIDE) - (SIDE - 1) / 2) * SPACING_MM
    t = t[None] - (X * np.cos(angle) + Y * np.sin(angle))[:, None]
    reach = (A * np.cos(angle - TURN)) ** 2 + (B * np.sin(angle - TURN)) ** 2
    inside = np.maximum(reach[:, None] - t**2, 0)
    return 2 * A * B * np.sqrt(inside) / reach[:, None]


def test_projection_equals_the_analytic_sinogram() -> None:
    expected = analytic_sinogram()
    error = project(ellipse(), VIEWS, SPACING_MM) - expected
    assert np.sqrt((error**2).mean()) < 0.005 * expected.max()
    # Each view holds the whole mass.
    assert error.sum(axis=1) * SPACING_MM == pytest.approx(np.zeros(VIEWS), abs=np.pi * A * B / 200)


def test_reconstruction_returns_the_ellipse() -> None:
    image = ellipse()
    again = reconstruct(project(image, VIEWS, SPACING_MM), SPACING_MM, "sharp")
    assert again[image == 1].mean() == pytest.approx(1, abs=0.01)
    assert abs(again[image == 0].mean()) < 0.01


def test_softer_kernels_blur_more() -> None:
    noise = np.random.default_rng(1).standard_normal((VIEWS, SIDE)).astype(np.float32)
    levels = [
        reconstruct(noise, SPACING_MM, kernel).std() for kernel in ("soft", "standard", "sharp")
    ]
    assert levels == sorted(levels)
    assert levels[0] < 0.5 * levels[2]


def test_attenuation_of_air_and_water() -> None:
    per_mm = attenuation_per_mm(np.array([-1024, -1000, 0, 1000], np.float32))
    assert per_mm.tolist() == pytest.approx([0, 0, WATER_PER_MM, 2 * WATER_PER_MM])


def test_oblong_images_are_refused() -> None:
    with pytest.raises(ValueError, match="square"):
        project(np.zeros((4, 5), np.float32), 10, 1.0)
