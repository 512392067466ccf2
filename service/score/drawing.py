"""One frame on its way to the network: opened, decoded, drawn by its modality's rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt
from pydicom import Dataset

from models.card import Bundle
from models.intensity import SliceLevel
from models.render import Float
from service.errors import RejectedInput
from service.spool.face import SpooledObject

Stored = npt.NDArray[Any]


class NotScored(RejectedInput):
    """The frame is readable and is not scored; the message says why, in words for people."""


@dataclass(frozen=True)
class FrameSource:
    """Where a frame's object lies: in the spool, or in a file of the user's. `frame_number` counts
    from 1.

    levels: MR, what other slices of its series said of their stack's intensity, by stack.
    companion: PET, the frame of its CT that lies nearest to it.
    """

    where: Path | SpooledObject
    frame_number: int
    levels: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    companion: FrameSource | None = None


@dataclass(frozen=True)
class Frame:
    """A frame as opened: its own flat header, and how to get stored values `[H, W]`.

    open: another frame, opened the same way (a companion); stack: its stack's name; own_level: MR,
    what it says itself of its stack's intensity; stack_level: MR, that intensity as the slices seen
    so far have it, None where none of them votes.
    """

    source: FrameSource
    header: Dataset
    decode: Callable[[], Stored]
    open: Callable[[FrameSource], Frame]
    stack: str = ""
    own_level: SliceLevel | None = None
    stack_level: float | None = None


@dataclass(frozen=True)
class Drawing:
    """The network's input `[C, rows, columns]` and what was measured on the way.

    noise_hu: CT, noise in soft tissue; snr: MR, of the foreground, PET, of the liver; level: MR,
    what the slice says of its stack's intensity, None where it does not vote; drawn_at_level: MR,
    the stack's level that it was drawn at; described: what `models.domain` describes it by;
    refused: why it is not scored after all, where that hangs on its stack.
    """

    picture: Float
    noise_hu: float | None = None
    snr: float | None = None
    level: float | None = None
    drawn_at_level: float | None = None
    described: Mapping[str, float] = field(default_factory=dict)
    refused: str | None = None


class Draw(Protocol):
    """Draws a frame for a bundle. Raises NotScored, RejectedInput with the reason."""

    def __call__(self, frame: Frame, bundle: Bundle) -> Drawing: ...
