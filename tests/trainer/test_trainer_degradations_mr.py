"""MR: noise floors, ghosts, folds and stripes where theory puts them."""

import numpy as np
import pytest
from scipy.special import factorial, factorial2, jv

from trainer.degradations import degrade
from trainer.degradations.bias_field import STRONGEST
from trainer.degradations.ghosting import LARGEST_PHASE_RAD
from trainer.degradations.receiver_noise import LARGEST_COIL_SIGMA, LARGEST_SIGMA, g_factor

SIDE = 128


def worse(name: str, image: np.ndarray, severity: float = 1, seed: int = 0, **geometry):
    return degrade(name, image, severity, np.random.default_rng(seed), **geometry)


def flat(value: float) -> np.ndarray:
    return np.full((256, 256), value, np.float32)


def blob(row: int = 64, column: int = 64, radius: float = 10) -> np.ndarray:
    """A bright disc on nothing."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.clip(radius - np.hypot(y - row, x - column) + 0.5, 0, 1).astype(np.float32) * 100


def test_rician_floor() -> None:
    """Where there is no signal the magnitude's mean is σ√(π/2) and its σ √(2 − π/2)·σ."""
    sigma = 0.5 * LARGEST_SIGMA * 100
    noise = worse("rician_noise", flat(0), 0.5, level=100.0)
    assert noise.mean() == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=0.01)
    assert noise.std() == pytest.approx(sigma * np.sqrt(2 - np.pi / 2), rel=0.02)


def test_rician_noise_of_bright_tissue_is_gaussian() -> None:
    sigma = LARGEST_SIGMA * 10
    noise = worse("rician_noise", flat(1000), 1, level=10.0)
    assert noise.std() == pytest.approx(sigma, rel=0.02)
    assert noise.mean() == pytest.approx(1000 + sigma**2 / 2000, abs=0.05)


@pytest.mark.parametrize("coils", [1, 2, 4, 8, 32])
def test_noncentral_chi_floor(coils: int) -> None:
    """Constantinides 1997: σ√(π/2)·(2n − 1)!!/(2^(n−1)(n − 1)!)."""
    sigma = LARGEST_COIL_SIGMA * 100
    rises = factorial2(2 * coils - 1) / (2.0 ** (coils - 1) * factorial(coils - 1))
    noise = worse("noncentral_chi_noise", flat(0), 1, coils=coils, level=100.0)
    assert noise.mean() == pytest.approx(sigma * np.sqrt(np.pi / 2) * rises, rel=0.01)


def test_noncentral_chi_second_moment() -> None:
    """E[M²] = A² + 2nσ², whatever the signal."""
    sigma, coils = LARGEST_COIL_SIGMA * 100, 6
    noise = worse("noncentral_chi_noise", flat(50), 1, coils=coils, level=100.0)
    assert (noise.astype(float) ** 2).mean() == pytest.approx(2500 + 2 * coils * sigma**2, rel=0.01)


def test_g_factor_is_one_without_acceleration_and_grows_with_it() -> None:
    assert g_factor((32, 32), 0, 1) == pytest.approx(1)
    maps = [g_factor((32, 32), 0, acceleration) for acceleration in (2, 3, 4)]
    assert all(g.min() >= 1 for g in maps)
    assert maps[0].mean() < maps[1].mean() < maps[2].mean()
    # A ring of coils looks the same along both axes.
    assert g_factor((32, 32), 1, 3) == pytest.approx(maps[1].T)


def test_noise_varies_as_the_g_factor() -> None:
    """Measured over many draws, σ at each place is the map's, its mean that of `rician_noise`."""
    image = np.full((32, 32), 1000, np.float32)
    draws = [worse("spatially_varying_noise", image, 1, seed, level=100.0) for seed in range(300)]
    sigma = np.std(draws, axis=0)
    g = g_factor((32, 32), 0, 4)
    assert np.corrcoef(sigma.ravel(), g.ravel())[0, 1] > 0.98
    assert sigma.mean() == pytest.approx(LARGEST_SIGMA * 100, rel=0.03)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("ghosts", [2, 4, 8])
def test_ghosts_lie_fov_over_n_apart_along_the_phase_axis(axis: int, ghosts: int) -> None:
    image = blob()
    ghosted = worse("ghosting", image, 1, phase_axis=axis, ghosts=ghosts)
    along = (ghosted if axis == 0 else ghosted.T)[:, 64]
    across = (ghosted if axis == 0 else ghosted.T)[64]
    step = SIDE // ghosts
    assert along[(64 + step) % SIDE] > 10
    assert across[:40].max() < 1e-3
    assert across[90:].max() < 1e-3
    if ghosts < 8:  # between two ghosts there is nothing, once they do not touch
        assert along[(64 + step // 2) % SIDE] < 1e-3


def test_ghosts_are_as_bright_as_bessel_says() -> None:
    """To a few per cent: of a swing of four lines the third order folds onto the first."""
    ghosted = worse("ghosting", blob(), 1, ghosts=4)
    assert ghosted[64, 64] == pytest.approx(100 * jv(0, LARGEST_PHASE_RAD), rel=0.03)
    assert ghosted[96, 64] == pytest.approx(100 * jv(1, LARGEST_PHASE_RAD), rel=0.03)


@pytest.mark.parametrize("acceleration", [2, 4])
@pytest.mark.parametrize("axis", [0, 1])
def test_wrap_folds_by_fov_over_r(axis: int, acceleration: int) -> None:
    image = blob(50, 50)
    wrapped = worse("wrap", image, 0.6, phase_axis=axis, acceleration=acceleration)
    copies = [np.roll(image, k * SIDE // acceleration, axis) for k in range(1, acceleration)]
    assert wrapped == pytest.approx(image + 0.6 * sum(copies), abs=1e-3)


def test_wrap_at_full_severity_cannot_tell_the_copies_apart() -> None:
    wrapped = worse("wrap", blob(50, 50), 1)
    assert wrapped == pytest.approx(np.roll(wrapped, SIDE // 2, 0), abs=1e-3)


def test_one_spike_is_one_spatial_frequency() -> None:
    image = np.full((SIDE, SIDE), 100, np.float32)
    stripes = worse("spikes", image, 0.02, count=1) - image
    power = np.abs(np.fft.fft2(stripes)) ** 2
    power[0, 0] = 0
    row, column = np.unravel_index(power.argmax(), power.shape)
    assert power[row, column] + power[-row, -column] > 0.99 * power.sum()
    frequency = np.hypot(np.fft.fftfreq(SIDE)[row], np.fft.fftfreq(SIDE)[column])
    assert 0.09 < frequency < 0.35


def test_two_spikes_are_two() -> None:
    image = np.full((SIDE, SIDE), 100, np.float32)
    power = np.abs(np.fft.fft2(worse("spikes", image, 0.02, count=2) - image)) ** 2
    power[0, 0] = 0
    assert np.sort(power.ravel())[-4:].sum() > 0.99 * power.sum()


def test_bias_is_smooth_gain_within_its_range() -> None:
    image = flat(100)
    for severity in (0.5, 1.0):
        gain = np.log(worse("bias_field", image, severity) / image)
        assert np.ptp(gain) == pytest.approx(2 * severity * STRONGEST, rel=1e-3)
        assert np.abs(np.diff(gain, axis=0)).max() < 0.05
        assert np.expm1(gain).mean() == pytest.approx(0, abs=1e-4)


def test_bias_keeps_darkness_dark() -> None:
    image = blob()
    assert (worse("bias_field", image)[image == 0] == 0).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_motion_smears_along_the_phase_axis(axis: int) -> None:
    """Ghosted energy leaves a bright disc along phase encoding, far beyond what it moved."""
    moved = worse("kspace_motion", blob(), 1, seed=4, spacing_mm=1.0, phase_axis=axis)
    upright = moved if axis == 0 else moved.T
    along = np.abs(upright[:30, 50:78]).mean()
    across = np.abs(upright[50:78, :30]).mean()
    assert along > 2 * across


def test_motion_keeps_energy_and_place() -> None:
    """Phase errors move energy about; the picture stays about where it was."""
    image = blob()
    moved = worse("kspace_motion", image, 1, seed=4, spacing_mm=1.0).astype(float)
    assert (moved**2).sum() == pytest.approx(float((image.astype(float) ** 2).sum()), rel=1e-5)
    rows, weight = np.arange(SIDE), moved**2
    assert (weight.sum(axis=1) * rows).sum() / weight.sum() == pytest.approx(64, abs=4)
    assert (weight.sum(axis=0) * rows).sum() / weight.sum() == pytest.approx(64, abs=4)


@pytest.mark.parametrize(
    ("name", "geometry", "message"),
    [
        ("ghosting", {"phase_axis": 2}, "phase_axis is 0"),
        ("ghosting", {"ghosts": 1}, "ghosts = 1"),
        ("wrap", {"acceleration": 1}, "nothing folds"),
        ("noncentral_chi_noise", {"coils": 0}, "at least one"),
        ("spatially_varying_noise", {"acceleration": 9}, "not within 1…4"),
    ],
)
def test_impossible_scans_are_refused(name: str, geometry: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        worse(name, blob(), 0.5, **geometry)
