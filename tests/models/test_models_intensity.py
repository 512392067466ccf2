"""A stack's scale from its slices: robust to noise beyond the patient, on a grid."""

from __future__ import annotations

import numpy as np
import pytest

from models.intensity import (
    DARKEST,
    STEP,
    SliceLevel,
    grid_level,
    levels_differ,
    shows_anatomy,
    slice_level,
    stack_level,
)
from tests.factories import head


def test_the_level_is_the_brightest_tissue_and_dark_tissue_is_foreground():
    found = slice_level(head(256, noise=5).astype(np.float32))
    assert found.level == pytest.approx(1005, rel=0.02)
    assert 0.3 < found.foreground < 0.55
    assert found.votes
    scaled = slice_level(3.7 * head(256, noise=5).astype(np.float32))
    assert scaled.level == pytest.approx(3.7 * found.level, rel=1e-3)


@pytest.mark.parametrize("value", [0.0, 50.0])
def test_a_constant_slice_has_no_level(value):
    assert slice_level(np.full((64, 64), value, np.float32)) == SliceLevel(0.0, 0.0)


def test_noise_beyond_the_patient_does_not_move_the_stack():
    anatomy = [3700.0, 3800.0, 3900.0, 3800.0]
    assert stack_level(anatomy) == grid_level(3800)
    assert stack_level([5.0, 4.0, 6.0, *anatomy]) == grid_level(3800)
    assert stack_level([4000.0]) == grid_level(4000)


def test_the_order_of_slices_does_not_matter():
    levels = [900.0, 5.0, 1100.0, 1000.0, 300.0]
    assert len({stack_level(np.roll(levels, n).tolist()) for n in range(5)}) == 1


def test_the_grid_is_fine_and_stable():
    assert abs(np.log(grid_level(1234.0) / 1234.0)) <= STEP / 2
    assert grid_level(grid_level(1234.0)) == pytest.approx(grid_level(1234.0), rel=1e-12)
    assert levels_differ(grid_level(1000.0), grid_level(1000.0 * np.exp(STEP)))
    assert not levels_differ(grid_level(1000.0), grid_level(1000.0) * (1 + 1e-9))


def test_anatomy_is_bright_enough_and_fills_enough():
    picture = head(128, noise=3).astype(np.float32)
    own = slice_level(picture)
    assert shows_anatomy(picture, own, 1000.0)
    assert not shows_anatomy(picture, own, 1.01 * own.level / DARKEST), "far darker than its stack"
    corner = picture.copy()
    corner[:98] = 0
    assert not shows_anatomy(corner, slice_level(corner), 1000.0)
