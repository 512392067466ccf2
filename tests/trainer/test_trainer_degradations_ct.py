"""CT: where rings, bands and streaks lie, and what smoothing leaves."""

import numpy as np
import pytest

from trainer.degradations import LOWEST_DOSE_FRACTION, Degradation, Scan, degrade
from trainer.degradations.beam_hardening import _measured
from trainer.degradations.ct_motion import LARGEST_SHIFT_MM
from trainer.degradations.smoothing import WIDEST_FWHM_MM

SIDE, SPACING_MM = 192, 1.0
AXIS = (np.arange(SIDE) - (SIDE - 1) / 2) * SPACING_MM
X, Y = np.meshgrid(AXIS, AXIS)


def disc(x: float, y: float, radius: float) -> np.ndarray:
    return np.clip(radius - np.hypot(X - x, Y - y) + 0.5, 0, 1)


def water(radius_mm: float = 75) -> np.ndarray:
    return (1000 * disc(0, 0, radius_mm) - 1000).astype(np.float32)


def change(name: str, hu: np.ndarray, severity: float = 1, seed: int = 0, **geometry) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return degrade(name, hu, severity, rng, spacing_mm=SPACING_MM, **geometry) - hu


def two_rods() -> np.ndarray:
    """Two dense rods in water, 60 mm apart along x."""
    hu = water()
    for x in (-30, 30):
        hu += (1200 * disc(x, 0, 8)).astype(np.float32)
    return hu


def test_noise_by_name_is_the_scan_at_that_dose() -> None:
    hu = water()
    scan = Scan.of(hu, SPACING_MM, 1e6)
    by_hand = scan.degraded(Degradation(LOWEST_DOSE_FRACTION), np.random.default_rng(0))
    named = hu + change("quantum_noise", hu, incident_photons=1e6)
    assert named == pytest.approx(by_hand, abs=1e-3)


def test_sparse_views_by_name_are_the_scan_with_them() -> None:
    hu = water()
    by_hand = Scan.of(hu, SPACING_MM, 1e6).degraded(Degradation(1, 30), np.random.default_rng(0))
    assert hu + change("sparse_views", hu) == pytest.approx(by_hand, abs=1e-3)


def test_over_smoothing_widens_a_point_to_its_width() -> None:
    point = np.full((SIDE, SIDE), 0, np.float32)
    point[96, 96] = 1000
    profile = (point + change("over_smoothing", point))[96]
    sigma = np.sqrt((profile * np.arange(SIDE) ** 2).sum() / profile.sum() - 96**2)
    assert 2.3548 * sigma * SPACING_MM == pytest.approx(WIDEST_FWHM_MM, rel=0.1)


def test_strong_denoising_takes_noise_and_leaves_edges() -> None:
    noise = 15 * np.random.default_rng(1).standard_normal((SIDE, SIDE))
    hu = (two_rods() + noise).astype(np.float32)
    worse = hu + change("edge_preserving_smoothing", hu)
    flat = np.s_[110:150, 80:112]
    assert worse[flat].std() < 0.4 * hu[flat].std()
    rod = disc(30, 0, 6) == 1
    assert worse[rod].mean() == pytest.approx(hu[rod].mean(), abs=20)


def test_ring_lies_at_its_channels_radius() -> None:
    """Channel 128 of 192 looks past the isocentre at 32.5 mm."""
    ring = change("ring_artefacts", water(), channels=[128])
    radius = np.hypot(X, Y)
    rings = np.arange(10, 70)
    power = np.array([np.abs(ring[np.abs(radius - r) < 0.5]).mean() for r in rings])
    assert abs(rings[power.argmax()] - AXIS[128]) <= 1
    assert power.max() > 4 * np.median(power)
    # Inside the ring's radius no ray of that channel passes.
    assert np.abs(ring[radius < 25]).max() < 0.25 * power.max()


def test_ring_closes() -> None:
    ring = change("ring_artefacts", water(), channels=[128])
    around = np.hypot(X, Y)
    parts = [
        ring[(np.abs(around - AXIS[128]) < 0.6) & (sx * X > 0) & (sy * Y > 0)].mean()
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    assert np.ptp(parts) < 0.2 * abs(np.mean(parts))


def test_dark_band_between_two_dense_objects() -> None:
    bands = change("beam_hardening", two_rods())
    between = bands[94:98, 86:106].mean()
    beside = bands[60:70, 86:106].mean()  # the same columns, off the line through both
    assert between < -20
    assert between < beside - 20


def test_water_alone_is_corrected_for() -> None:
    assert np.abs(change("beam_hardening", water())).max() < 0.5


def test_one_rod_makes_less_of_a_band_than_two() -> None:
    one = water() + (1200 * disc(30, 0, 8)).astype(np.float32)
    place = np.s_[94:98, 86:106]
    both = change("beam_hardening", two_rods())[place].mean()
    assert change("beam_hardening", one)[place].mean() > both / 2


def test_beam_hardens() -> None:
    """Twice the water attenuates less than twice as much, and bone more than water by far."""
    none = np.array(0.0)
    thin, thick = (float(_measured(np.array(p), none)) for p in (2.0, 4.0))
    assert 1.7 * thin < thick < 2 * thin
    first = float(_measured(np.array(0.1), none)), float(_measured(none, np.array(0.1)))
    assert first[0] == pytest.approx(0.1, rel=0.15)
    assert first[1] > first[0]


def test_motion_leaves_a_disc_at_the_isocentre_turning_unseen() -> None:
    """Only the shift shows on water alone: the change lies at the edge and in streaks from it."""
    moved = change("ct_motion", water(), seed=2)
    rim = np.abs(np.hypot(X, Y) - 75) < LARGEST_SHIFT_MM + 1
    assert (moved[rim] ** 2).sum() > 0.7 * (moved**2).sum()


def test_motion_smears_a_rod_no_further_than_it_moved() -> None:
    """Doubled contours lie within the shift and the turn's path; further out are streaks only."""
    hu = water() + (1200 * disc(30, 0, 8)).astype(np.float32)
    moved = change("ct_motion", hu, seed=2) - change("ct_motion", water(), seed=2)
    away = np.hypot(X - 30, Y)
    near = np.abs(moved[away < 8 + LARGEST_SHIFT_MM + 2]).max()
    assert near > 300
    assert np.abs(moved[away > 40]).mean() < 0.1 * near


def test_motion_keeps_the_mean() -> None:
    """Moving a body does not change what it attenuates in all."""
    hu = two_rods()
    assert abs(change("ct_motion", hu, seed=3).mean()) < 2


def test_slices_that_are_not_square_are_refused() -> None:
    with pytest.raises(ValueError, match="square"):
        change("ct_motion", water()[:100])
