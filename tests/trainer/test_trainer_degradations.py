"""Simulated scans: what they keep, and the laws that their noise follows."""

import numpy as np
import pytest

from trainer.degradations import (
    FULL_VIEWS,
    LOWEST_DOSE_FRACTION,
    LOWEST_VIEWS,
    SPARSE_VIEWS,
    Degradation,
    Scan,
    at_severity,
    incident_photons_for,
    soft_tissue,
)

SIDE, SPACING_MM, PHOTONS = 256, 0.8, 2e6


def water(radius_mm: float = 80.0) -> np.ndarray:
    axis = (np.arange(SIDE) - (SIDE - 1) / 2) * SPACING_MM
    inside = axis[None] ** 2 + axis[:, None] ** 2 < radius_mm**2
    return np.where(inside, 0, -1000).astype(np.float32)


@pytest.fixture(scope="module")
def scan() -> Scan:
    return Scan.of(water(), SPACING_MM, PHOTONS)


def centre(image: np.ndarray) -> np.ndarray:
    return image[SIDE // 2 - 30 : SIDE // 2 + 30, SIDE // 2 - 30 : SIDE // 2 + 30]


def test_severity_zero_is_bit_identical(scan: Scan) -> None:
    noisy = scan.acquired(np.random.default_rng(0))
    same = Scan(noisy, SPACING_MM, PHOTONS, scan.line_integrals)
    again = same.degraded(at_severity(0, 0), np.random.default_rng(1))
    assert again.tobytes() == noisy.tobytes()
    assert again is not noisy


def test_noise_goes_as_one_over_root_dose(scan: Scan) -> None:
    """Whole scans at a quarter and a sixteenth of the exposure: σ doubles each time."""
    rng = np.random.default_rng(2)
    sigma = [
        centre(Scan(scan.hu, SPACING_MM, PHOTONS * dose, scan.line_integrals).acquired(rng)).std()
        for dose in (1, 1 / 4, 1 / 16)
    ]
    assert sigma[1] / sigma[0] == pytest.approx(2, rel=0.1)
    assert sigma[2] / sigma[0] == pytest.approx(4, rel=0.1)


def test_added_noise_completes_the_lower_dose(scan: Scan) -> None:
    """Own noise and added noise together are the noise of a scan at that dose: √(1/d − 1)."""
    rng = np.random.default_rng(3)
    own = centre(scan.acquired(rng)).std()
    for dose in (0.5, 0.25, 0.1):
        added = centre(scan.degraded(Degradation(dose), rng) - scan.hu).std()
        assert added / own == pytest.approx(np.sqrt(1 / dose - 1), rel=0.1)


def test_noise_of_a_thicker_body_is_higher(scan: Scan) -> None:
    rng = np.random.default_rng(4)
    thin = Scan.of(water(40), SPACING_MM, PHOTONS).acquired(rng)
    assert centre(scan.acquired(rng)).std() > 1.5 * centre(thin).std()


def test_noise_keeps_the_mean(scan: Scan) -> None:
    added = scan.degraded(Degradation(0.2), np.random.default_rng(5)) - scan.hu
    assert abs(centre(added).mean()) < 2


def test_sparse_views_streak_more_the_fewer_they_are(scan: Scan) -> None:
    """Streaks need edges: a dense rod in the water."""
    hu = scan.hu.copy()
    hu[100:112, 90:102] = 1500
    rod = Scan.of(hu, SPACING_MM, PHOTONS)
    rng = np.random.default_rng(6)
    errors = [
        float(np.abs(rod.degraded(Degradation(1, views), rng) - hu).mean())
        for views in (180, 90, 45, 30)
    ]
    assert errors == sorted(errors)
    assert errors[-1] > 5 * errors[0]


def test_same_generator_same_picture(scan: Scan) -> None:
    pair = [
        scan.degraded(Degradation(0.1, 90), np.random.default_rng(7), "sharp") for _ in range(2)
    ]
    assert pair[0].tobytes() == pair[1].tobytes()


def test_severities_span_dose_and_views() -> None:
    assert at_severity(0, 0) == Degradation()
    assert at_severity(1, 1) == Degradation(LOWEST_DOSE_FRACTION, LOWEST_VIEWS)
    assert at_severity(0.5, 0).dose_fraction == pytest.approx(np.sqrt(LOWEST_DOSE_FRACTION))
    assert {at_severity(0, step / 40).views for step in range(41)} == set(SPARSE_VIEWS)
    assert all(FULL_VIEWS % views == 0 for views in SPARSE_VIEWS)


@pytest.mark.parametrize(("dose", "views"), [(0, 360), (1.1, 360), (1, 77)])
def test_impossible_degradations_are_refused(dose: float, views: int) -> None:
    with pytest.raises(ValueError, match=r"dose fraction|choose one of"):
        Degradation(dose, views)


def test_photons_are_found_from_noise(scan: Scan) -> None:
    hu = scan.hu + np.where(scan.hu > -500, 40, 0).astype(np.float32)
    rng = np.random.default_rng(8)
    photons = incident_photons_for([(hu, SPACING_MM)], 20.0, rng)
    noise = Scan.of(hu, SPACING_MM, photons).acquired(rng) - hu
    assert noise[soft_tissue(hu)].std() == pytest.approx(20, rel=0.1)
