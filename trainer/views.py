"""Views of a picture: resampled or cropped to the network's side, varied in training.

Pure functions of the picture and a random generator; pictures are `[C, H, W]` float32.
"""

from __future__ import annotations

import numpy as np

from models.render import Float, resize
from trainer.settings import Views

# ITU-R BT.601 luma, as Pillow makes grey of colour.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def prepared(picture: Float, views: Views, channels: int) -> Float:
    """A picture with the network's channels, resampled where the views resample.

    Raises ValueError for a picture of other than 1 or 3 channels.
    """
    picture = np.asarray(picture, np.float32)
    if len(picture) != channels:
        picture = _with_channels(picture, channels)
    H, W = picture.shape[1:]
    if views.fit == "resize":
        return _resized(picture, views.side, views.side)
    scale = views.side / min(H, W)
    if scale > 1:
        return _resized(
            picture, max(views.side, round(H * scale)), max(views.side, round(W * scale))
        )
    return picture


def training_view(picture: Float, views: Views, rng: np.random.Generator) -> Float:
    """One view `[C, side, side]` of a prepared picture: cropped at random, turned, mirrored."""
    if views.fit == "crop":
        rows, columns = (n - views.side for n in picture.shape[1:])
        picture = _cut(
            picture, int(rng.integers(rows + 1)), int(rng.integers(columns + 1)), views.side
        )
    # All four are drawn whatever they decide, so that one setting does not shift another's draws.
    turned, mirrored, flipped = rng.random(3)
    quarter = rng.integers(1, 4)
    if turned < views.turn:
        picture = np.rot90(picture, int(quarter), axes=(1, 2))
    if mirrored < views.mirror:
        picture = picture[:, :, ::-1]
    if flipped < views.flip:
        picture = picture[:, ::-1]
    return np.ascontiguousarray(picture)


def measured_views(picture: Float, views: Views) -> Float:
    """The views `[crops, C, side, side]` that a prepared picture is scored by."""
    if views.fit == "resize":
        return picture[None]
    rows, columns = (n - views.side for n in picture.shape[1:])
    corners = [(rows // 2, columns // 2)]
    if views.crops == 5:
        corners += [(0, 0), (0, columns), (rows, 0), (rows, columns)]
    return np.stack([_cut(picture, top, left, views.side) for top, left in corners])


def _with_channels(picture: Float, channels: int) -> Float:
    """Grey becomes equal channels; colour becomes grey by its luma."""
    if len(picture) == 3:
        picture = np.tensordot(LUMA, picture, axes=1)[None]
    if len(picture) != 1:
        raise ValueError(f"a picture of {len(picture)} channels; 1 or 3 are known")
    return np.repeat(picture, channels, axis=0)


def _resized(picture: Float, rows: int, columns: int) -> Float:
    return np.stack([resize(channel, rows, columns) for channel in picture])


def _cut(picture: Float, top: int, left: int, side: int) -> Float:
    return picture[:, top : top + side, left : left + side]
