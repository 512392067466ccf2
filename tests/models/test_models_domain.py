"""What lies outside of a CT or MR bundle's domain, and that patients' pictures do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from models import domain
from models.physical import to_hu, to_mr_signal
from trainer.phantom import SPACING_MM, Chest

CT = {name: one.reach for name, one in domain.CT.items()}
MR = {name: one.reach for name, one in domain.MR.items()}

Ellipse = tuple[float, float, float, float, float]
"""y, x, half height, half width in mm, HU."""


def drawn(fov_mm: float, noise: float, ellipses: list[Ellipse], side: int = 512):
    """Ellipses in air with white noise, as a slice in HU and its spacing."""
    spacing = fov_mm / side
    y, x = (np.mgrid[:side, :side] - side / 2) * spacing
    hu = np.full((side, side), -1000.0)
    for top, left, height, width, value in ellipses:
        hu[((y - top) / height) ** 2 + ((x - left) / width) ** 2 <= 1] = value
    hu += np.random.default_rng(3).normal(0, noise, hu.shape)
    return np.clip(hu, -1024, 3071).astype(np.float32), spacing


def ring_of(count: int, radius: float, size: float, values: list[float]) -> list[Ellipse]:
    angles = 2 * np.pi * np.arange(count) / count
    return [
        (radius * np.sin(a), radius * np.cos(a), size, size, value)
        for a, value in zip(angles, values, strict=True)
    ]


def both(*ellipse: float) -> list[Ellipse]:
    """The same on either side."""
    y, x, height, width, value = ellipse
    return [(y, -x, height, width, value), (y, x, height, width, value)]


TORSO: list[Ellipse] = [(0, 0, 110, 170, -100), (0, 0, 95, 155, 50), (0, 0, 40, 45, -60)]

OUTSIDE = {
    "head": (
        drawn(250, 5, [(0, 0, 98, 78, -80), (0, 0, 94, 74, 60), (0, 0, 92, 72, 1200),
                       (0, 0, 85, 65, 35), *both(10, 8, 20, 5, 5)]),
        "dense bone makes up 15 % of the tissue, the network is for up to 7 %",
    ),
    "infant's head": (
        drawn(200, 8, [(0, 0, 75, 62, -60), (0, 0, 72, 59, 60), (0, 0, 70, 57, 700),
                       (0, 0, 67, 54, 30)]),
        "bone lies under 99 % of the surface, the network is for up to 65 %",
    ),
    "water phantom": (drawn(250, 5, [(0, 0, 100, 100, 0)]), "98 % of the tissue lies within 40 HU"),
    "water phantom at low dose": (drawn(250, 60, [(0, 0, 100, 100, 0)]), "within 40 HU"),
    "phantom with rods": (
        drawn(250, 5, [(0, 0, 100, 100, 90),
                       *ring_of(8, 58, 6, [-1000, -200, -100, -35, 120, 340, 990, 0])]),
        "89 % of the tissue lies within 40 HU, the network is for up to 86 %",
    ),
    "accreditation phantom": (
        drawn(250, 5, [(0, 0, 100, 100, 5), *ring_of(4, 62, 12.5, [-1000, -95, 120, 955])]),
        "87 % of the tissue lies within 40 HU",
    ),
    "mouse": (drawn(60, 20, [(0, 0, 13, 14, 20), (2, 0, 3, 3, 400)]), "field of view is 60 mm"),
    "wrist": (drawn(100, 10, [(0, 0, 20, 28, 40), *both(0, 11, 9, 9, 500)]), "tissue covers 10"),
    "air": (drawn(400, 20, []), "tissue covers 0 cm², the network is for at least 12 cm²"),
    "noise": ((np.random.default_rng(1).normal(0, 300, (512, 512)).astype(np.float32), 0.7),
              "HU from place to place, the network is for at least 15 HU"),
    "any values": ((np.random.default_rng(1).uniform(-1024, 3071, (512, 512)).astype(np.float32),
                    0.7), "bone and contrast medium make up 100 % of the tissue"),
    "wedge": ((np.tile(np.linspace(-1024, 3071, 512, dtype=np.float32), (512, 1)), 0.7),
              "bone and contrast medium make up 84 %"),
    "mammogram": ((np.tile(np.linspace(300, 3000, 1024, dtype=np.float32), (1280, 1)), 0.1),
                  "bone and contrast medium make up 100 %"),
}  # fmt: skip

INSIDE = {
    "newborn's chest": drawn(130, 20, [(0, 0, 42, 52, -80), (0, 0, 39, 49, 45),
                                       *both(0, 26, 26, 17, -700), (28, 0, 6, 7, 220)]),
    "newborn's abdomen": drawn(150, 20, [(0, 0, 44, 50, -80), (0, 0, 41, 47, 50),
                                         (28, 0, 6, 7, 220), (-15, 20, 8, 10, -900)]),
    "lean child's abdomen": drawn(250, 15, [(0, 0, 70, 95, -90), (0, 0, 64, 89, 55),
                                            (40, 0, 13, 15, 280), (-20, 40, 12, 14, -900)]),
    "hips": drawn(400, 15, [*TORSO, *both(5, 90, 25, 25, 400), *both(5, 125, 18, 18, 420)]),
    "hips of a slim patient": drawn(350, 15, [(0, 0, 90, 150, -100), (0, 0, 84, 144, 50),
                                              *both(5, 85, 28, 28, 900), *both(5, 85, 23, 23, 300),
                                              *both(5, 115, 16, 16, 900)]),
    "two hip prostheses": drawn(400, 40, [*TORSO, *both(5, 90, 25, 25, 3071),
                                          *both(5, 125, 14, 14, 3071)]),
    "heart full of contrast medium": drawn(180, 25, [(0, 0, 300, 300, -800), (0, 0, 70, 60, 50),
                                                     (-10, 15, 35, 32, 400), (20, -25, 25, 22, 380),
                                                     (60, 0, 14, 14, 390), (75, 30, 22, 25, 300)]),
    "large patient beyond the field": drawn(500, 40, [(0, 0, 290, 360, -105), (0, 0, 110, 160, 45),
                                                      (60, 0, 18, 22, 350)]),
    "liver in a small field": drawn(220, 15, [(0, 0, 150, 190, -90), (0, 0, 135, 175, 60),
                                              (80, 0, 18, 22, 350), (-30, 60, 30, 40, -50)]),
    "spine in a small field": drawn(160, 15, [(0, 0, 150, 190, -90), (0, 0, 135, 175, 55),
                                              (0, 0, 20, 25, 350), (30, 0, 9, 9, 30),
                                              (40, 20, 8, 15, 600), (20, 50, 30, 30, -90)]),
    "shoulders, arms down": drawn(500, 25, [(0, 0, 90, 210, -90), (0, 0, 82, 200, 55),
                                            *both(0, 40, 40, 25, -850), (45, 0, 15, 18, 350),
                                            *both(0, 165, 22, 22, 450), *both(20, 125, 4, 30, 500)],
                                           ),
    "digital chest": (Chest.ordinary().slice(62.0), SPACING_MM),
}  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_is_no_torso_is_refused_in_words(name):
    (hu, spacing), words = OUTSIDE[name]
    reason = domain.outside("ct-window", domain.describe_ct(hu, spacing), CT)
    assert reason is not None
    assert reason.startswith("out of domain: ")
    assert words in reason


@pytest.mark.parametrize("name", INSIDE)
def test_every_torso_is_within(name):
    hu, spacing = INSIDE[name]
    described = domain.describe_ct(hu, spacing)
    assert domain.outside("ct-window", described, CT) is None, described


def test_noise_moves_no_measure_across_its_limit():
    hu = Chest.ordinary().slice(62.0)
    noisy = hu + np.random.default_rng(1).normal(0, 300, hu.shape).astype(np.float32)
    for name, value in domain.describe_ct(noisy, SPACING_MM).items():
        assert CT[name][0] <= value <= CT[name][1], name


def test_without_a_spacing_areas_are_not_held_against_a_slice():
    described = domain.describe_ct(Chest.ordinary().slice(62.0), None)
    assert "body_cm2" not in described
    assert domain.outside("ct-window", described, CT) is None
    assert domain.outside("ct-window", {}, CT) is None
    assert domain.outside("ct-window", {"bone": 0.9}, {}) is None, "a bundle without limits"


def test_a_value_that_is_no_number_is_outside():
    reason = domain.outside("ct-window", {"bone": float("nan")}, CT)
    assert reason is not None
    assert "at least 0 %" in reason


def test_limits_are_checked_when_a_card_is_read():
    assert domain.limits_from("mr-stack", {"structure": [0.1, 1]}) == {"structure": (0.1, 1.0)}
    with pytest.raises(ValueError, match=r"domain\.bones does not describe ct-window; known: fie"):
        domain.limits_from("ct-window", {"bones": [0, 1]})
    with pytest.raises(ValueError, match=r"domain\.bone must be \[lowest, highest\]"):
        domain.limits_from("ct-window", {"bone": [1, 0]})


def rician(signal, noise: float):
    rng = np.random.default_rng(4)
    real = signal + rng.normal(0, noise, signal.shape)
    return np.hypot(real, rng.normal(0, noise, signal.shape)).astype(np.float32)


@pytest.mark.parametrize("side", [128, 256, 512])
@pytest.mark.parametrize("what", ["noise", "disc", "noisy disc", "shaded disc", "full", "constant"])
def test_a_uniform_phantom_and_noise_are_no_anatomy(side, what):
    y, x = (np.mgrid[:side, :side] - side / 2) * 256 / side
    disc = np.where(np.hypot(x, y) < 90, 1000.0, 0.0)
    shading = 1 + 0.3 * np.cos(x / 60) * np.cos(y / 90)
    picture = {
        "noise": rician(0 * disc, 30),
        "disc": rician(disc, 10),
        "noisy disc": rician(disc, 100),
        "shaded disc": rician(disc * shading, 30),
        "full": rician(0 * disc + 900, 9),
        "constant": np.full((side, side), 50, np.float32),
    }[what]
    reason = domain.outside("mr-stack", domain.describe_mr(picture), MR)
    assert reason is not None
    assert "from place to place, the network is for at least 3 %" in reason


def test_real_ct_stays_within_and_the_head_phantom_does_not(shared_data: Path):
    inside = ("ct/philips_brilliance16_chest_lidc0314", "petct/ge_discoveryST_acrin042/ct_ctac")
    for folder in inside:
        for path in sorted((shared_data / folder).iterdir())[::3]:
            ds = pydicom.dcmread(path)
            described = domain.describe_ct(to_hu(ds.pixel_array, ds), float(ds.PixelSpacing[0]))
            assert domain.outside("ct-window", described, CT) is None, path
    heads = sorted(shared_data.glob("ct/*headphantom*/*.dcm"))
    assert len(heads) == 12
    for path in heads:
        ds = pydicom.dcmread(path)
        described = domain.describe_ct(to_hu(ds.pixel_array, ds), float(ds.PixelSpacing[0]))
        assert "tissue covers" in str(domain.outside("ct-window", described, CT))


def test_real_mr_stays_within(shared_data: Path):
    paths = sorted((shared_data / "mr/siemens_skyra_prostatex0207").rglob("*"))
    count = 0
    for path in (path for path in paths if path.is_file()):
        ds = pydicom.dcmread(path)
        described = domain.describe_mr(to_mr_signal(ds.pixel_array, ds))
        assert domain.outside("mr-stack", described, MR) is None, path
        count += 1
    assert count == 75


def test_pet_ct_tells_the_uptake_of_the_body():
    hu, spacing = INSIDE["lean child's abdomen"]
    suv = np.where(hu > -300, 1.5, 0.0).astype(np.float32)
    described = domain.describe_pet_ct(hu, suv, spacing)
    limits = {name: one.reach for name, one in domain.PET_CT.items()}
    assert domain.outside("pet-ct-fused", described, limits) is None
    assert described["highest_suv"] == pytest.approx(1.5)
    assert described["uptake"] > 0.99
    cold = domain.describe_pet_ct(hu, suv * 0, spacing)
    assert "the highest SUV is 0" in str(domain.outside("pet-ct-fused", cold, limits))
