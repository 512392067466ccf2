"""Views: the geometry of what the network sees."""

import numpy as np
import pytest

from models.render import Float
from trainer.settings import Views
from trainer.views import measured_views, prepared, training_view

PICTURE = np.arange(6 * 8, dtype=np.float32).reshape(1, 6, 8)


def measured(picture: Float, views: Views, channels: int = 1) -> Float:
    return measured_views(prepared(picture, views, channels), views)


def test_nothing_asked_is_nothing_done() -> None:
    square = PICTURE[:, :, :6]
    views = Views(side=6)
    view = training_view(prepared(square, views, 1), views, np.random.default_rng(1))
    assert np.array_equal(view, square)


def test_all_eight_orientations_come_up_evenly() -> None:
    rng = np.random.default_rng(2)
    square = np.arange(9, dtype=np.float32).reshape(1, 3, 3)
    views = Views(side=3, mirror=0.5, turn=0.75)
    seen: dict[bytes, int] = {}
    for _ in range(800):
        view = training_view(square, views, rng).tobytes()
        seen[view] = seen.get(view, 0) + 1
    assert len(seen) == 8
    assert min(seen.values()) > 60


def test_five_crops_are_the_centre_and_the_corners() -> None:
    crops = measured(PICTURE, Views(side=4, fit="crop", crops=5))
    assert crops.shape == (5, 1, 4, 4)
    assert np.array_equal(crops[0], PICTURE[:, 1:5, 2:6])
    assert np.array_equal(crops[1], PICTURE[:, :4, :4])
    assert np.array_equal(crops[4], PICTURE[:, -4:, -4:])


def test_random_crops_stay_inside_and_reach_the_edges() -> None:
    rng = np.random.default_rng(3)
    views = Views(side=4, fit="crop")
    tops = {float(training_view(PICTURE, views, rng)[0, 0, 0]) for _ in range(200)}
    assert tops == {row * 8.0 + column for row in range(3) for column in range(5)}


def test_a_picture_smaller_than_the_crop_is_enlarged() -> None:
    assert measured(PICTURE, Views(side=12, fit="crop", crops=5)).shape == (5, 1, 12, 12)
    assert measured(PICTURE, Views(side=12)).shape == (1, 1, 12, 12)


def test_channels_follow_the_network() -> None:
    grey = np.full((1, 4, 4), 0.5, np.float32)
    assert measured(grey, Views(side=4), 3).shape == (1, 3, 4, 4)
    colour = np.stack([np.full((4, 4), value, np.float32) for value in (1.0, 0.0, 0.0)])
    assert measured(colour, Views(side=4), 1)[0, 0, 0, 0] == pytest.approx(0.299)
    with pytest.raises(ValueError, match="2 channels"):
        measured(np.zeros((2, 4, 4), np.float32), Views(side=4), 3)
