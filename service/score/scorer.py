"""From stored frames to scores: the same steps for the worker and for `iqgate assess`."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, FileDataset

from models.card import Bundle, CardError, load_bundles
from models.render import resize
from service import header
from service.config import Score
from service.errors import ConfigError, RejectedInput
from service.judge.evidence import BundleIdentity
from service.score.ct import draw_ct
from service.score.decode import decode_frame
from service.score.drawing import Draw, Drawing, Frame, FrameSource
from service.score.engines import Engine
from service.score.engines.onnxruntime import OnnxRuntimeEngine
from service.score.frame import frame_header, position_mm, stack
from service.score.pet_ct import PetCtDraw
from service.score.select import Candidate, bundle_for, reason_to_exclude

THUMBNAIL_PIXELS = 160

DRAWINGS: dict[str, Draw] = {"ct-window": draw_ct, "pet-ct-fused": PetCtDraw()}
"""By the kind of picture that a bundle is served."""

Grey = npt.NDArray[np.uint8]


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
    thumbnail: Grey | None = None


@dataclass(frozen=True)
class _Prepared:
    bundle: Bundle
    drawing: Drawing
    stack: str
    position_mm: float | None


def identity(bundle: Bundle) -> BundleIdentity:
    card = bundle.card
    return BundleIdentity(card.name, card.version, bundle.digest, card.scale.worst, card.scale.best)


class Scorer:
    """Loaded engines and a pool of decoding threads."""

    def __init__(self, folder: Path, settings: Score) -> None:
        """Load every bundle in `folder` and verify its golden outputs. Raises ConfigError."""
        try:
            self.bundles = load_bundles(folder)
        except CardError as error:
            raise ConfigError(str(error)) from error
        if not self.bundles:
            raise ConfigError(f"score.bundles = {folder}: no bundle (no */card.toml) lies there")
        self.settings = settings
        self.engines: dict[str, Engine] = {
            bundle.digest: OnnxRuntimeEngine(bundle, settings.threads) for bundle in self.bundles
        }
        self._pool = ThreadPoolExecutor(settings.decode_threads, "decode")
        self._opened: tuple[Path, FileDataset] | None = None

    def identity_of(self, digest: str) -> BundleIdentity | None:
        """The identity of a loaded bundle by digest; None for one that is not served."""
        engine = self.engines.get(digest)
        return None if engine is None else identity(engine.bundle)

    def score(self, sources: Sequence[FrameSource]) -> list[FrameResult]:
        """Score frames, in order. A frame that cannot be scored carries its reason; only a fault
        of the host itself raises (OSError, MemoryError)."""
        prepared = list(self._pool.map(self._prepare, sources))
        results: list[FrameResult | None] = [
            one if isinstance(one, FrameResult) else None for one in prepared
        ]
        for digest, engine in self.engines.items():
            members = [
                (index, one)
                for index, one in enumerate(prepared)
                if isinstance(one, _Prepared) and one.bundle.digest == digest
            ]
            if not members:
                continue
            outputs = engine.infer(np.stack([one.drawing.picture for _, one in members]))
            for row, (index, one) in enumerate(members):
                results[index] = _result(one, outputs, row)
        return [one for one in results if one is not None]

    def _prepare(self, source: FrameSource) -> _Prepared | FrameResult:
        """Read, select, decode, measure and render one frame."""
        try:
            ds = self._open(source.path)
            flat = frame_header(ds, source.frame_number)
            place, of_stack = position_mm(flat), stack(flat)
            candidate = Candidate.from_header(flat)
            reason = reason_to_exclude(candidate, self.settings.excluded_name_patterns)
            bundle = bundle_for(candidate, self.bundles)
            if reason is None and bundle is None:
                reason = f"no bundle for {candidate.modality} is installed"
            if reason is not None or bundle is None:
                return FrameResult(of_stack, place, excluded=reason)
            draw = DRAWINGS[bundle.card.render.kind]
            return _Prepared(bundle, draw(self._frame(source, ds, flat), bundle), of_stack, place)
        except RejectedInput as error:
            return FrameResult(excluded=str(error))
        except FileNotFoundError:
            return FrameResult(excluded="its file is missing from the spool")
        except header.BROKEN as error:
            return FrameResult(excluded=f"its header does not parse ({type(error).__name__})")

    def _frame(self, source: FrameSource, ds: FileDataset, flat: Dataset) -> Frame:
        limit = self.settings.max_frame_pixels
        return Frame(
            source,
            flat,
            lambda: decode_frame(ds, source.path, source.frame_number, limit),
            self._opened_frame,
        )

    def _opened_frame(self, source: FrameSource) -> Frame:
        ds = self._open(source.path)
        return self._frame(source, ds, frame_header(ds, source.frame_number))

    def _open(self, path: Path) -> FileDataset:
        """Read an object, keeping the last one: its other frames come next."""
        opened = self._opened
        if opened is not None and opened[0] == path:
            return opened[1]
        ds = header.read_file(path, stop_before_pixels=False)
        self._opened = (path, ds)
        return ds


def _result(one: _Prepared, outputs: dict[str, npt.NDArray[np.float32]], row: int) -> FrameResult:
    score = float(outputs["score"][row])
    if not np.isfinite(score):
        return FrameResult(one.stack, one.position_mm, excluded="the network gave no finite score")
    spread = outputs.get("spread")
    return FrameResult(
        stack=one.stack,
        position_mm=one.position_mm,
        score=score,
        spread=None if spread is None else float(spread[row]),
        noise_hu=one.drawing.noise_hu,
        snr=one.drawing.snr,
        level=one.drawing.level,
        drawn_at_level=one.drawing.drawn_at_level,
        bundle_digest=one.bundle.digest,
        thumbnail=_thumbnail(one.drawing.picture),
    )


def _thumbnail(picture: npt.NDArray[np.float32]) -> Grey:
    """A small grey picture `[H, W]` of the network's own input; colour by its mean."""
    small = resize(picture.mean(axis=0), THUMBNAIL_PIXELS, THUMBNAIL_PIXELS)
    return np.asarray(np.rint(small * 255), np.uint8)
