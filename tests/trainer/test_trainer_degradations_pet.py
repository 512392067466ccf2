"""PET: how noise follows counts, blur its width, and uptake the wrong attenuation."""

import numpy as np
import pytest

from trainer.degradations import degrade
from trainer.degradations.attenuation_mismatch import LARGEST_SHIFT_MM, per_mm_at_511_kev
from trainer.degradations.counts import LOWEST_COUNT_FRACTION
from trainer.degradations.ordered_subsets import Emission
from trainer.degradations.resolution import WIDEST_FWHM_MM

SIDE, MM = 96, 4.0
AXIS = (np.arange(SIDE) - (SIDE - 1) / 2) * MM
X, Y = np.meshgrid(AXIS, AXIS)
MIDDLE = np.hypot(X, Y) < 60


def disc(x: float, y: float, radius: float, value: float = 1.0) -> np.ndarray:
    inside = np.clip((radius - np.hypot(X - x, Y - y)) / MM + 0.5, 0, 1)
    return (value * inside).astype(np.float32)


def noise(counts: float, severity: float = 1.0, seed: int = 0) -> np.ndarray:
    body = disc(0, 0, 120, 2.0)
    rng = np.random.default_rng(seed)
    worse = degrade("count_reduction", body, severity, rng, spacing_mm=MM, counts=counts)
    return (worse - body)[MIDDLE]


def test_noise_goes_as_one_over_root_counts() -> None:
    sigma = [noise(counts).std() for counts in (4e7, 1e7, 2.5e6)]
    assert sigma[1] / sigma[0] == pytest.approx(2, rel=0.1)
    assert sigma[2] / sigma[1] == pytest.approx(2, rel=0.1)


def test_noise_completes_the_fewer_counts() -> None:
    """The slice's own noise is left out: σ goes as √(1/d − 1)."""
    sigma = [noise(2e7, severity).std() for severity in (0.25, 0.5, 1)]
    wanted = [np.sqrt(LOWEST_COUNT_FRACTION**-s - 1) for s in (0.25, 0.5, 1)]
    assert sigma[1] / sigma[0] == pytest.approx(wanted[1] / wanted[0], rel=0.1)
    assert sigma[2] / sigma[1] == pytest.approx(wanted[2] / wanted[1], rel=0.1)


def test_noise_keeps_the_mean() -> None:
    assert abs(noise(1e7).mean()) < 0.02 * 2.0


def test_noise_is_correlated_between_neighbours() -> None:
    body = disc(0, 0, 120, 2.0)
    worse = degrade("count_reduction", body, 1, np.random.default_rng(0), spacing_mm=MM, counts=1e7)
    patch = (worse - body)[36:60, 36:60]
    neighbours = np.corrcoef(patch[:, :-1].ravel(), patch[:, 1:].ravel())[0, 1]
    assert neighbours > 0.3


def test_hot_places_are_noisier() -> None:
    body = disc(0, 0, 120) + disc(0, 0, 40, 6.0)
    worse = degrade("count_reduction", body, 1, np.random.default_rng(0), spacing_mm=MM, counts=1e7)
    change, away = worse - body, np.hypot(X, Y)
    assert change[away < 30].std() > 1.5 * change[(away > 70) & (away < 100)].std()


def test_ordered_subsets_give_the_activity_back() -> None:
    body = disc(0, 0, 120, 2.0) + disc(40, 0, 30, 3.0)
    emission = Emission.of(body)
    image = emission.reconstruct(emission.rays, np.zeros(len(emission.rays)))
    assert image[disc(40, 0, 20) == 1].mean() == pytest.approx(5, rel=0.05)
    assert image[disc(-50, 0, 30) == 1].mean() == pytest.approx(2, rel=0.05)


def test_blur_has_its_width() -> None:
    point = np.zeros((SIDE, SIDE), np.float32)
    point[48, 48] = 100
    for severity in (0.5, 1.0):
        blurred = degrade(
            "resolution_blur", point, severity, np.random.default_rng(0), spacing_mm=2.0
        )
        fine = np.arange(0, SIDE - 1, 0.01)
        profile = np.interp(fine, np.arange(SIDE), blurred[48])
        above = fine[profile >= profile.max() / 2]
        assert np.ptp(above) * 2.0 == pytest.approx(severity * WIDEST_FWHM_MM, rel=0.1)
        assert blurred.sum() == pytest.approx(100, rel=1e-3)


def breath(lung_radius_mm: float) -> np.ndarray:
    """A body of water whose right lung is so wide at this height."""
    return (1050 * disc(0, 0, 130) - 1000 - 850 * disc(-60, 0, lung_radius_mm)).astype(np.float32)


def test_liver_under_lung_attenuation_loses_uptake() -> None:
    """The wrong map, 20 mm nearer the head, has lung where the PET slice has liver."""
    pet = disc(0, 0, 130) + disc(-60, 0, 50, 2.0)
    ct = np.stack([breath(45), breath(30), breath(15), breath(0), breath(0)])
    worse = degrade(
        "attenuation_mismatch",
        pet,
        1.0,
        np.random.default_rng(0),
        spacing_mm=MM,
        ct_hu=ct,
        index=3,
        slice_mm=LARGEST_SHIFT_MM / 3,
    )
    liver, far = disc(-60, 0, 30) == 1, disc(90, 0, 20) == 1
    assert worse[liver].mean() < 0.7 * pet[liver].mean()
    assert worse[far].mean() == pytest.approx(pet[far].mean(), rel=0.15)


def test_lung_under_liver_attenuation_gains_uptake() -> None:
    pet = disc(0, 0, 130)
    ct = np.stack([breath(0), breath(45)])
    worse = degrade(
        "attenuation_mismatch",
        pet,
        1.0,
        np.random.default_rng(0),
        spacing_mm=MM,
        ct_hu=ct,
        index=1,
        slice_mm=LARGEST_SHIFT_MM,
    )
    lung = disc(-60, 0, 30) == 1
    assert worse[lung].mean() > 1.3 * pet[lung].mean()


def test_right_map_changes_nothing() -> None:
    pet = disc(0, 0, 130)
    same = degrade(
        "attenuation_mismatch",
        pet,
        1.0,
        np.random.default_rng(0),
        spacing_mm=MM,
        ct_hu=np.stack([breath(30)] * 4),
        index=2,
        slice_mm=5.0,
    )
    assert same == pytest.approx(pet, abs=1e-5)


def test_attenuation_at_511_kev() -> None:
    air, water, bone = per_mm_at_511_kev(np.array([-1000, 0, 1000], np.float32))
    assert air == 0
    assert water == pytest.approx(0.0096, rel=0.01)
    assert bone == pytest.approx(0.0149, rel=0.02)
    around = per_mm_at_511_kev(np.array([46.9, 47.1], np.float32))
    assert np.ptp(around) < 1e-5


def test_ct_off_the_pets_grid_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \[Z, H, W\] on the PET's grid"):
        degrade(
            "attenuation_mismatch",
            disc(0, 0, 130),
            0.5,
            np.random.default_rng(0),
            spacing_mm=MM,
            ct_hu=np.zeros((3, 64, 64), np.float32),
            index=1,
            slice_mm=5.0,
        )
