"""MR: stored values to signal, drawn on the scale of their stack."""

from __future__ import annotations

import numpy as np

from models import domain
from models.card import Bundle
from models.intensity import SliceLevel, grid_level, shows_anatomy, slice_level
from models.measure import foreground_snr
from models.physical import to_mr_signal
from models.render import Float, MrStack
from service.score.drawing import Drawing, Frame, NotScored


def draw_mr(frame: Frame, bundle: Bundle) -> Drawing:
    """Draw one MR frame at its stack's level; where no slice of the stack votes, at its own.

    A slice without anatomy is refused on that scale, and what it was measured by is kept: once
    the stack is better known it may be another. Raises NotScored for a constant image.
    """
    spec = bundle.card.render
    assert isinstance(spec, MrStack)
    signal = _signal(frame)
    own = frame.own_level or slice_level(signal)
    if not own.level > 0:
        raise NotScored("the image is constant")
    level = grid_level(own.level) if frame.stack_level is None else frame.stack_level
    return Drawing(
        spec.draw(signal, level),
        snr=foreground_snr(signal, level),
        level=own.level if own.votes else None,
        drawn_at_level=level,
        described=domain.describe_mr(signal),
        refused=None
        if shows_anatomy(signal, own, level)
        else "it shows no anatomy: too little of it is brighter than its stack's background",
    )


def own_level(frame: Frame) -> SliceLevel:
    """What a frame says of its stack's intensity. Raises RejectedInput."""
    return slice_level(_signal(frame))


def _signal(frame: Frame) -> Float:
    return np.nan_to_num(to_mr_signal(frame.decode(), frame.header))
