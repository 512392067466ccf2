"""PET and CT among files: which series of one `iqgate assess` are fused, as the ledger decides it
for those that arrive."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset

from service import header
from service.companion import (
    Companion,
    CtCandidate,
    CtFrame,
    Fusing,
    choose,
    fit_frames,
    nearest,
)
from service.errors import RejectedInput
from service.judge.evidence import SeriesFacts, SliceScore
from service.score.drawing import FrameSource
from service.score.frame import frame_header, position_mm


@dataclass
class Fusion:
    """The CT series assessed so far, for the PET series that come after them.

    `fusing` is None where no bundle asks for a fused picture: then no PET has a companion.
    """

    fusing: Fusing | None
    cts: list[Companion] = field(default_factory=list)

    def keep(
        self, facts: SeriesFacts, slices: Iterable[SliceScore], files: Mapping[str, Path]
    ) -> None:
        """Remember an assessed CT; `files` by SOP Instance UID. Other series are not kept."""
        if facts.modality != "CT" or self.fusing is None:
            return
        frames = tuple(
            CtFrame(
                one.sop_instance_uid,
                one.frame_number,
                str(files[one.sop_instance_uid]),
                one.position_mm,
                one.stack,
                one.excluded,
            )
            for one in slices
        )
        images = tuple((uid, _digest(path)) for uid, path in files.items())
        self.cts.append(Companion(facts, images, frames))

    def pair(self, facts: SeriesFacts, frames: Sequence[tuple[Path, int]]) -> Pair | None:
        """The CT for a PET of these frames, named by file and number; None for other series, and
        where there is none."""
        if facts.modality != "PT" or self.fusing is None or not facts.frame_of_reference_uid:
            return None
        fit = {
            one.facts.series_instance_uid: (one, fit_frames(one.frames, self.fusing.unfit))
            for one in self.cts
            if one.facts.study_instance_uid == facts.study_instance_uid
            and one.facts.frame_of_reference_uid == facts.frame_of_reference_uid
        }
        positions_mm = _positions_mm(frames)
        best = choose(
            list(positions_mm.values()),
            facts.acquired_at,
            [
                CtCandidate(
                    uid,
                    ct.facts.acquired_at,
                    tuple(one.position_mm for one in slices if one.position_mm is not None),
                )
                for uid, (ct, slices) in fit.items()
            ],
        )
        return None if best is None else Pair(*fit[best.series_instance_uid], positions_mm)


@dataclass(frozen=True)
class Pair:
    """A PET's CT: `fit` are its frames that may be fused, in order; `positions_mm` where the PET's
    own frames lie."""

    ct: Companion
    fit: Sequence[CtFrame]
    positions_mm: Mapping[tuple[Path, int], float]

    def nearest(self, path: Path, frame_number: int) -> CtFrame | None:
        """The CT frame nearest to a PET frame; None where that does not say where it lies."""
        place = self.positions_mm.get((path, frame_number))
        return None if place is None else nearest(place, self.fit)

    def source(self, path: Path, frame_number: int) -> FrameSource | None:
        ct = self.nearest(path, frame_number)
        return None if ct is None else FrameSource(Path(ct.path), ct.frame_number)


def _positions_mm(frames: Sequence[tuple[Path, int]]) -> dict[tuple[Path, int], float]:
    """Where frames lie along their normal; without those that do not say, which scoring will
    explain."""
    found: dict[tuple[Path, int], float] = {}
    opened: tuple[Path, Dataset] | None = None
    for path, number in frames:
        try:
            if opened is None or opened[0] != path:
                opened = path, header.read_file(path)
            place = position_mm(frame_header(opened[1], number))
        except (RejectedInput, *header.BROKEN):
            continue
        if place is not None:
            found[path, number] = place
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
