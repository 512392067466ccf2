"""From stored values to Hounsfield units and MR signal, and what cannot be either."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import Dataset

from models.physical import AIR_HU, HIGHEST_HU, not_hounsfield, to_hu, to_mr_signal
from trainer.phantom import Chest


def header(**values) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def test_padding_and_its_range_become_air():
    stored = np.int16([[-2000, -1990, -1024, 0, 100]])
    ds = header(RescaleSlope=1, RescaleIntercept=0, PixelPaddingValue=-2000)
    assert to_hu(stored, ds).tolist() == [[AIR_HU, AIR_HU, -1024, 0, 100]]
    stored = np.uint16([[0, 5, 10, 1024, 65535]])
    ds = header(RescaleIntercept=-1024, PixelPaddingValue=5, PixelPaddingRangeLimit=0)
    assert to_hu(stored, ds).tolist() == [[AIR_HU, AIR_HU, -1014, 0, HIGHEST_HU]]


def test_what_cannot_be_hounsfield_units():
    hu = Chest.ordinary().slice(62.0)
    assert not_hounsfield(hu) is None
    assert "nothing in the picture is air" in str(not_hounsfield(hu + 1024))
    scaled = np.clip(hu * 100, AIR_HU, HIGHEST_HU).astype(np.float32)
    assert "lies above 3071 HU" in str(not_hounsfield(scaled))
    prosthesis = hu.copy()
    prosthesis[200:260, 200:260] = HIGHEST_HU
    assert not_hounsfield(prosthesis) is None
    spine_in_a_small_field = np.full((64, 64), 50, np.float32)
    spine_in_a_small_field[20:40, 20:40] = 900
    assert not_hounsfield(spine_in_a_small_field) is None


def test_mr_signal_starts_at_zero():
    signed = np.int16([[-5, 0, 5]])
    assert to_mr_signal(signed, header()).tolist() == [[5, 0, 5]], "real parts by magnitude"
    rescaled = to_mr_signal(np.uint16([[0, 10]]), header(RescaleSlope=2, RescaleIntercept=1))
    assert rescaled.tolist() == [[1, 21]]
    padded = to_mr_signal(np.int16([[-1, 4]]), header(PixelPaddingValue=-1))
    assert padded.tolist() == [[0, 4]]


def test_philips_signal_is_stored_values_over_scale_slope():
    """(stored · RS + RI) / (RS · SS): with RI 0 the rescale slope cancels out."""
    ds = header(RescaleSlope=2.5, RescaleIntercept=0)
    ds.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 0.02)
    assert to_mr_signal(np.uint16([[0, 100]]), ds)[0, 1] == pytest.approx(5000)
    ds.RescaleIntercept = 5
    assert to_mr_signal(np.uint16([[0, 100]]), ds)[0, 0] == pytest.approx(100)
