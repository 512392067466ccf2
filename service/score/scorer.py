"""From stored frames to scores: the same steps for the worker and for `iqgate assess`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, FileDataset

from models import domain
from models.card import Bundle
from models.intensity import stack_level
from models.render import MrStack, resize
from service import header
from service.config import Score
from service.errors import RejectedInput
from service.judge.evidence import BundleIdentity
from service.score.bundles import served_bundles
from service.score.ct import draw_ct
from service.score.decode import decode_frame
from service.score.drawing import Draw, Drawing, Frame, FrameSource
from service.score.engines import Engine, Startup
from service.score.engines.choice import ready_engines
from service.score.frame import frame_header, position_mm, stack
from service.score.mr import draw_mr, own_level
from service.score.pet_ct import PetCtDraw
from service.score.select import Candidate, bundle_for, reason_to_exclude
from service.spool.face import SpooledObject, read_object

THUMBNAIL_PIXELS = 160

DRAWINGS: dict[str, Draw] = {
    "ct-window": draw_ct,
    "mr-stack": draw_mr,
    "pet-ct-fused": PetCtDraw(),
}
"""By the kind of picture that a bundle is served."""

T = TypeVar("T")
Thumbnail = npt.NDArray[np.uint8]
"""Grey `[H, W]` or RGB `[H, W, 3]`."""


@dataclass(frozen=True)
class FrameResult:
    """What came of one frame: a score, or the reason there is none."""

    stack: str = ""
    position_mm: float | None = None
    score: float | None = None
    spread: float | None = None
    noise_hu: float | None = None
    snr: float | None = None
    level: float | None = None
    drawn_at_level: float | None = None
    bundle_digest: str | None = None
    excluded: str | None = None
    thumbnail: Thumbnail | None = None


@dataclass(frozen=True)
class _Selected:
    """A frame that a bundle is for."""

    bundle: Bundle
    frame: Frame
    series: str
    position_mm: float | None


@dataclass(frozen=True)
class _Prepared:
    bundle: Bundle
    drawing: Drawing
    stack: str
    position_mm: float | None


@dataclass(frozen=True)
class Drawn:
    """Frames ready for their engines, or with the reason why they are not."""

    frames: tuple[_Prepared | FrameResult, ...]


def identity(bundle: Bundle) -> BundleIdentity:
    card = bundle.card
    return BundleIdentity(card.name, card.version, bundle.digest, card.scale.worst, card.scale.best)


class Scorer:
    """Loaded engines and a pool of decoding threads."""

    def __init__(
        self,
        folder: Path,
        settings: Score,
        cache: Path | None = None,
        startup: Startup | None = None,
    ) -> None:
        """Load the bundles of `folder` that serve and verify their golden outputs.

        cache: folder of built engines, where there are any. Raises ConfigError, StartupCalledOff.
        """
        self.bundles = served_bundles(folder, settings.serve)
        self.settings = settings
        self.engines: dict[str, Engine] = ready_engines(
            self.bundles, settings, cache, startup or Startup()
        )
        self._pool = ThreadPoolExecutor(settings.decode_threads, "decode")
        self._opened: tuple[Path | SpooledObject, FileDataset] | None = None

    def identity_of(self, digest: str) -> BundleIdentity | None:
        """The identity of a loaded bundle by digest; None for one that is not served."""
        engine = self.engines.get(digest)
        return None if engine is None else identity(engine.bundle)

    def score(self, sources: Sequence[FrameSource]) -> list[FrameResult]:
        """Score frames, in order. A frame that cannot be scored carries its reason; only a fault
        of the host itself raises (SpoolUnavailable, MemoryError)."""
        return self.infer(self.draw(sources))

    def draw(self, sources: Sequence[FrameSource]) -> Drawn:
        """Read, decode and draw frames, in order: all of scoring that needs no engine."""
        selected = list(self._pool.map(self._select, sources))
        return Drawn(tuple(self._pool.map(self._draw, _with_levels(selected))))

    def infer(self, drawn: Drawn) -> list[FrameResult]:
        """Score what was drawn, every bundle's frames as one batch."""
        results: list[FrameResult | None] = [
            one if isinstance(one, FrameResult) else None for one in drawn.frames
        ]
        for digest, engine in self.engines.items():
            members = [
                (index, one)
                for index, one in enumerate(drawn.frames)
                if isinstance(one, _Prepared) and one.bundle.digest == digest
            ]
            if not members:
                continue
            outputs = engine.infer(np.stack([one.drawing.picture for _, one in members]))
            for row, (index, one) in enumerate(members):
                results[index] = _result(one, outputs, row)
        return [one for one in results if one is not None]

    def _select(self, source: FrameSource) -> _Selected | FrameResult:
        """Open one frame and find its bundle, or the reason for none."""

        def selected() -> _Selected | FrameResult:
            ds = self._open(source)
            flat = frame_header(ds, source.frame_number)
            place, of_stack = position_mm(flat), stack(flat)
            candidate = Candidate.from_header(flat)
            reason = reason_to_exclude(candidate, self.settings.excluded_name_patterns)
            bundle = bundle_for(candidate, self.bundles)
            if reason is None and bundle is None:
                reason = f"no bundle for {candidate.modality} is installed"
            if reason is not None or bundle is None:
                return FrameResult(of_stack, place, excluded=reason)
            frame = self._frame(source, ds, flat)
            if bundle.card.render.kind == MrStack.kind:
                frame = replace(frame, own_level=own_level(frame))
            return _Selected(bundle, frame, header.text(flat, "SeriesInstanceUID"), place)

        return _or_reason(selected)

    def _draw(self, one: _Selected | FrameResult) -> _Prepared | FrameResult:
        """Decode, measure and render one frame."""
        if isinstance(one, FrameResult):
            return one
        kind = one.bundle.card.render.kind

        def drawn() -> _Prepared | FrameResult:
            drawing = DRAWINGS[kind](one.frame, one.bundle)
            reason = drawing.refused or domain.outside(
                kind, drawing.described, one.bundle.card.domain
            )
            if reason is None:
                return _Prepared(one.bundle, drawing, one.frame.stack, one.position_mm)
            return FrameResult(
                one.frame.stack,
                one.position_mm,
                level=drawing.level,
                drawn_at_level=drawing.drawn_at_level,
                excluded=reason,
            )

        result = _or_reason(drawn)
        if isinstance(result, FrameResult) and not result.stack:
            return replace(result, stack=one.frame.stack, position_mm=one.position_mm)
        return result

    def _frame(self, source: FrameSource, ds: FileDataset, flat: Dataset) -> Frame:
        limit = self.settings.max_frame_pixels
        return Frame(
            source,
            flat,
            cache(lambda: decode_frame(ds, source.frame_number, limit)),
            self._opened_frame,
            stack(flat),
        )

    def _opened_frame(self, source: FrameSource) -> Frame:
        ds = self._open(source)
        return self._frame(source, ds, frame_header(ds, source.frame_number))

    def _open(self, source: FrameSource) -> FileDataset:
        """Read an object, keeping the last one: its other frames come next."""
        opened = self._opened
        if opened is not None and opened[0] == source.where:
            return opened[1]
        ds = read_object(source.where, stop_before_pixels=False)
        self._opened = (source.where, ds)
        return ds


def _or_reason(step: Callable[[], T]) -> T | FrameResult:
    """What a step makes of a frame, or why it makes nothing of it."""
    try:
        return step()
    except RejectedInput as error:
        return FrameResult(excluded=str(error))
    except FileNotFoundError:
        return FrameResult(excluded="its file is missing from the spool")
    except header.BROKEN as error:
        return FrameResult(excluded=f"its header does not parse ({type(error).__name__})")


def _with_levels(selected: Sequence[_Selected | FrameResult]) -> list[_Selected | FrameResult]:
    """MR frames told their stack's level: from what is known of it and their company here."""
    votes: dict[tuple[str, str], list[float]] = {}
    for one in selected:
        own = one.frame.own_level if isinstance(one, _Selected) else None
        if isinstance(one, _Selected) and own is not None and own.votes:
            votes.setdefault((one.series, one.frame.stack), []).append(own.level)

    def told(one: _Selected | FrameResult) -> _Selected | FrameResult:
        if isinstance(one, FrameResult):
            return one
        stack_ = one.frame.stack
        levels = [*one.frame.source.levels.get(stack_, ()), *votes.get((one.series, stack_), ())]
        if not levels:
            return one
        return replace(one, frame=replace(one.frame, stack_level=stack_level(levels)))

    return [told(one) for one in selected]


def _result(one: _Prepared, outputs: dict[str, npt.NDArray[np.float32]], row: int) -> FrameResult:
    score = float(outputs["score"][row])
    if not np.isfinite(score):
        return FrameResult(one.stack, one.position_mm, excluded="the network gave no finite score")
    own = float(outputs["spread"][row]) if "spread" in outputs else None
    stated = one.bundle.card.uncertainty
    return FrameResult(
        stack=one.stack,
        position_mm=one.position_mm,
        score=score,
        spread=own if stated is None else stated.spread(own),
        noise_hu=one.drawing.noise_hu,
        snr=one.drawing.snr,
        level=one.drawing.level,
        drawn_at_level=one.drawing.drawn_at_level,
        bundle_digest=one.bundle.digest,
        thumbnail=_thumbnail(one.drawing.picture),
    )


def _thumbnail(picture: npt.NDArray[np.float32]) -> Thumbnail:
    """The network's own input, small."""
    small = [resize(channel, THUMBNAIL_PIXELS, THUMBNAIL_PIXELS) for channel in picture]
    pixels = np.asarray(np.rint(np.stack(small, axis=-1) * 255), np.uint8)
    return pixels if len(small) > 1 else pixels[..., 0]
