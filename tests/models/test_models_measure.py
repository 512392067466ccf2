"""Noise in soft tissue: right on known noise, unmoved by structure, silent where there is none."""

import numpy as np
import pytest

from models.measure import soft_tissue_noise_hu
from models.physical import to_hu
from service import header


def torso(noise_hu, seed=3, rows=512):
    y, x = np.mgrid[:rows, :rows] - rows / 2
    hu = np.full((rows, rows), -1000.0)
    hu[(x / 220) ** 2 + (y / 160) ** 2 < 1] = 45.0
    for centre in (-90, 90):
        hu[((x - centre) / 70) ** 2 + (y / 110) ** 2 < 1] = -850.0
    hu[(x / 25) ** 2 + ((y - 110) / 25) ** 2 < 1] = 400.0
    return (hu + np.random.default_rng(seed).normal(0, noise_hu, hu.shape)).astype(np.float32)


@pytest.mark.parametrize("noise_hu", [2, 8, 25, 60, 120])
def test_known_noise_is_found_within_ten_per_cent(noise_hu):
    assert soft_tissue_noise_hu(torso(noise_hu)) == pytest.approx(noise_hu, rel=0.1)


def test_no_soft_tissue_no_figure():
    assert soft_tissue_noise_hu(np.full((512, 512), -1000, np.float32)) is None
    assert soft_tissue_noise_hu(np.zeros((4, 4), np.float32)) is None


def test_shading_is_not_noise():
    shaded = torso(5) + np.linspace(-40, 40, 512, dtype=np.float32)[:, None]
    assert soft_tissue_noise_hu(shaded) == pytest.approx(5, rel=0.1)


def test_soft_and_bone_kernel_of_one_scan(shared_data):
    """Same phantom, same place; in its soft inserts noise is seven times as high with the bone
    kernel."""
    figures = {}
    for kernel in ("iDose_UB_soft", "YA_bone"):
        paths = sorted((shared_data / "ct").glob(f"philips_ingenuity_*{kernel}/*.dcm"))
        datasets = [header.read_file(path, stop_before_pixels=False) for path in paths]
        figures[kernel] = np.median(
            [soft_tissue_noise_hu(to_hu(ds.pixel_array, ds)) for ds in datasets]
        )
    assert figures["iDose_UB_soft"] == pytest.approx(2.2, abs=0.3)
    assert figures["YA_bone"] == pytest.approx(16.1, abs=1.5)
