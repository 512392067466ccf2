"""Signal to noise in the liver: a drawn one by its values, a real one by its place, else none."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import dcmread

from models.physical import to_hu
from models.suv import suv_factor, to_activity
from service.score.liver import liver_snr
from service.score.plane import Plane

CT = Plane((-250.0, -250.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), 1.0, 1.0)
PET = Plane((-256.0, -256.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), 4.0, 4.0)


def body(liver_hu=60.0, x_mm=-70.0, radius_mm=60.0, noise_hu=15.0):
    """An ellipse of muscle-like 20 HU with a round liver at `x_mm`, on `CT`."""
    y, x = np.mgrid[:500, :500] - 250.0
    hu = np.where(np.hypot(x / 180, y / 120) < 1, 20.0, -1000.0)
    hu[np.hypot(x - x_mm, y) < radius_mm] = liver_hu
    return np.float32(hu + np.random.default_rng(1).normal(0, noise_hu, hu.shape))


def uptake(mean=2.0, snr=8.0, x_mm=-70.0, spot=0.0):
    y, x = (np.mgrid[:128, :128] * 4.0) - 256.0
    suv = np.where(np.hypot(x - x_mm, y) < 60, mean, 0.5)
    suv[np.hypot(x - x_mm - 8, y - 8) < 12] += spot
    return np.float32(suv + np.random.default_rng(2).normal(0, mean / snr, suv.shape))


@pytest.mark.parametrize("snr", [2.5, 4.0, 8.0, 16.0])
def test_a_drawn_liver_has_the_snr_it_was_drawn_with(snr):
    """44 pixels: the standard deviation is known to about a tenth."""
    assert liver_snr(body(), CT, uptake(snr=snr), PET) == pytest.approx(snr, rel=0.25)


@pytest.mark.parametrize(
    ("hu", "suv"),
    [
        ({"x_mm": 70.0}, {"x_mm": 70.0}),
        ({"liver_hu": 20.0}, {}),
        ({"liver_hu": 120.0}, {}),
        ({"radius_mm": 25.0}, {}),
        ({}, {"mean": 0.5}),
        ({}, {"mean": 8.0}),
        ({}, {"spot": 6.0}),
    ],
    ids=["left", "no liver", "contrast medium", "small", "cold", "hot", "lesion"],
)
def test_no_figure_where_there_is_no_liver_to_measure(hu, suv):
    assert liver_snr(body(**hu), CT, uptake(**suv), PET) is None


def test_no_figure_for_even_uptake_air_or_a_tiny_picture():
    assert liver_snr(body(), CT, np.full((128, 128), 2.0, np.float32), PET) is None
    assert liver_snr(np.full((500, 500), -1000.0, np.float32), CT, uptake(), PET) is None
    assert liver_snr(np.full((2, 2), 60.0, np.float32), CT, uptake(), PET) is None


def test_a_real_liver_is_found_where_it_lies_and_nowhere_else(shared_data):
    """The liver of this patient spans z = -301 … -203 mm; the slices above show heart and lung."""
    study = shared_data / "petct" / "ge_discoveryST_acrin042"
    cts, pets = (by_position(study / name) for name in ("ct_ctac", "pt_ac"))
    found = {}
    for ct, pet in list(zip(cts, pets, strict=True))[::5]:
        suv = to_activity(pet.pixel_array, pet) * np.float32(suv_factor(pet))
        hu = to_hu(ct.pixel_array, ct)
        found[float(ct.ImagePositionPatient[2])] = liver_snr(hu, Plane.of(ct), suv, Plane.of(pet))
    shown = {z: snr for z, snr in found.items() if snr is not None}
    assert len(shown) >= 3
    assert all(-305 < z < -200 for z in shown)
    assert all(2.5 < snr < 8 for snr in shown.values())


def by_position(folder):
    datasets = [dcmread(path) for path in folder.glob("*.dcm")]
    return sorted(datasets, key=lambda ds: float(ds.ImagePositionPatient[2]))
