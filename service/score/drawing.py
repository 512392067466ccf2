"""One frame on its way to the network: opened, decoded, drawn by its modality's rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt
from pydicom import Dataset

from models.card import Bundle
from models.render import Float
from service.errors import RejectedInput

Stored = npt.NDArray[Any]


class NotScored(RejectedInput):
    """The frame is readable and is not scored; the message says why, in words for people."""


@dataclass(frozen=True)
class FrameSource:
    """Where a frame's bytes lie. `frame_number` counts from 1.

    stack_level: MR, the intensity level of its stack as known so far, None before any is known.
    companions: PET, the frames of its CT that lie about it, nearest first.
    """

    path: Path
    frame_number: int
    stack_level: float | None = None
    companions: tuple[FrameSource, ...] = ()


@dataclass(frozen=True)
class Frame:
    """A frame as opened: its own flat header, and how to get stored values `[H, W]`.

    open: another frame, opened the same way (a companion).
    """

    source: FrameSource
    header: Dataset
    decode: Callable[[], Stored]
    open: Callable[[FrameSource], Frame]


@dataclass(frozen=True)
class Drawing:
    """The network's input `[C, rows, columns]` and what was measured on the way.

    noise_hu: CT, noise in soft tissue; snr: MR, of the foreground, PET, of the liver; level,
    drawn_at_level: MR, the slice's own intensity level and the stack's that it was drawn at.
    """

    picture: Float
    noise_hu: float | None = None
    snr: float | None = None
    level: float | None = None
    drawn_at_level: float | None = None


class Draw(Protocol):
    """Draws a frame for a bundle. Raises NotScored, RejectedInput with the reason."""

    def __call__(self, frame: Frame, bundle: Bundle) -> Drawing: ...
