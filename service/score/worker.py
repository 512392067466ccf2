"""The worker: claims frames, scores them, stores the results.

While one claim is inferred the next one is read, decoded and drawn, so that neither the processor
nor a GPU waits for the other's half. Only frames at their first attempt are taken ahead: should one
of them kill the process, all come back to be claimed alone, each in turn (`ledger.scoring`).

Where the ledger is away, what was scored is kept until it is back: a lease that ran out meanwhile
is still the worker's, unless another took it over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from service.companion import CtFrame, Fusing
from service.config import Settings
from service.errors import EngineFailed, LeaseLost, LedgerUnavailable, SpoolUnavailable
from service.ledger import intensity, pairing, scoring
from service.ledger.database import Database
from service.ledger.scoring import Claim, ClaimedFrame, FrameOutcome
from service.ledger.tables import FrameWork
from service.ledger.wake import Wake
from service.log import line
from service.role import Patiently, at_once
from service.score.compare import difference
from service.score.drawing import FrameSource
from service.score.leases import Leases
from service.score.provisional import Provisional
from service.score.scorer import Drawn, FrameResult, Scorer
from service.spool.face import SpooledObject
from service.spool.opening import open_spool

log = logging.getLogger("iqgate.score")

STAGES = ("claim", "draw", "infer", "store")
"""Of the worker's time; `draw` runs beside the others."""


@dataclass(frozen=True)
class _Underway:
    """A claim and, once its frames are drawn, what there is to infer; None where all it holds is
    contested objects to compare."""

    claim: Claim
    drawn: Future[Drawn | None]


class Worker:
    """Claims frames, scores them, stores results, and asks for the provisional verdict."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        scorer: Scorer,
        fusing: Fusing | None,
        provisional: Provisional,
        wake: Wake,
        clock: Callable[[], float],
        patiently: Patiently = at_once,
    ) -> None:
        self.settings = settings.score
        self.spool = open_spool(settings)
        self.database = database
        self.scorer = scorer
        self.fusing = fusing
        self.provisional = provisional
        self.wake = wake
        self.clock = clock
        self._patiently = patiently
        self._leases = Leases(database, settings.score.lease_s, clock)
        self._drawing = ThreadPoolExecutor(1, "draw")
        self._ahead: _Underway | None = None
        self._spent_s = dict.fromkeys(STAGES, 0.0)

    def step(self) -> bool:
        """Work on one claim; False when nothing waited."""
        underway, self._ahead = self._ahead or self._patiently(self._begin), None
        if underway is None:
            return False
        if underway.claim.first_attempt:
            with suppress(LedgerUnavailable):  # what is in hand comes first
                self._ahead = self._begin(first_attempts_only=True)
        claim = underway.claim
        try:
            drawn = underway.drawn.result()
            touched = self._compare(claim) if drawn is None else self._score(claim, drawn)
        except LeaseLost:
            log.warning(line("lease-lost", frames=len(claim.frames)))
            return True
        except SpoolUnavailable as error:
            log.warning(line("spool-unavailable", frames=len(claim.frames), why=str(error)))
            later, alone = self.clock() + self.settings.lease_s, self._spool_answers()
            self._patiently(
                lambda: scoring.fail(self.database, claim.token, until=later, counts=alone)
            )
            return True
        except LedgerUnavailable:
            # it failed the drawing, or the comparing; no slice is to blame
            self._patiently(lambda: scoring.give_back(self.database, claim.token))
            return True
        except EngineFailed:
            # the device's context is lost: no frame may be tried in this process any more
            with suppress(LedgerUnavailable):
                scoring.fail(self.database, claim.token)
            raise
        except Exception:
            log.exception(line("scoring-failed", frames=[one.frame_id for one in claim.frames]))
            self._patiently(lambda: scoring.fail(self.database, claim.token))
            return True
        finally:
            self._leases.release(claim.token)
        self.provisional.touch(touched)
        self.wake.role("conclude")
        self.wake.role("watch")
        return True

    def _spool_answers(self) -> bool:
        """Whether it is one file that cannot be read, and not the spool. While the spool is away no
        attempt counts, however long that is."""
        try:
            return self.spool.mounted()
        except OSError:
            return False

    def close(self) -> None:
        """Return what was taken ahead; nothing may be stepped any more."""
        if self._ahead is not None:
            self._ahead.drawn.cancel()
        self._drawing.shutdown()
        self._leases.close()
        if self._ahead is not None:
            with suppress(LedgerUnavailable):  # then its lease ends by itself
                scoring.give_back(self.database, self._ahead.claim.token)
            self._ahead = None

    def _begin(self, *, first_attempts_only: bool = False) -> _Underway | None:
        """Claim frames and have them drawn; None when nothing waits."""
        with self._timed("claim"):
            claim = scoring.claim(
                self.database,
                limit=self.settings.batch_size,
                lease_s=self.settings.lease_s,
                max_attempts=self.settings.max_attempts,
                now=self.clock(),
                first_attempts_only=first_attempts_only,
            )
        if claim is None:
            return None
        self._leases.keep(claim.token)
        return _Underway(claim, self._drawing.submit(self._draw, claim))

    def _draw(self, claim: Claim) -> Drawn | None:
        if any(one.work is FrameWork.COMPARE for one in claim.frames):
            return None
        ids = [one.frame_id for one in claim.frames]
        companions = (
            {} if self.fusing is None else pairing.companions(self.database, ids, self.fusing)
        )
        levels = intensity.known_levels(self.database, ids)
        with self._timed("draw"):
            return self.scorer.draw(
                [
                    self._source(one, companions.get(one.frame_id), levels.get(one.series_id, {}))
                    for one in claim.frames
                ]
            )

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        """Count the seconds of the block; they are stored with the next results."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._spent_s[stage] += time.monotonic() - began

    def _score(self, claim: Claim, drawn: Drawn) -> set[int]:
        """Infer and store; the ids of the series whose scores changed."""
        with self._timed("infer"):
            results = self.scorer.infer(drawn)
        spent_s, self._spent_s = self._spent_s, dict.fromkeys(STAGES, 0.0)
        outcomes = [
            _outcome(frame, result) for frame, result in zip(claim.frames, results, strict=True)
        ]
        with self._timed("store"):
            return self._patiently(
                lambda: scoring.store(
                    self.database,
                    claim,
                    outcomes,
                    thumbnails_kept=self.settings.thumbnails,
                    now=self.clock(),
                    spent_s=spent_s,
                )
            )

    def _source(
        self, frame: ClaimedFrame, companion: CtFrame | None, levels: intensity.Levels
    ) -> FrameSource:
        return FrameSource(
            SpooledObject(self.spool, frame.path),
            frame.frame_number,
            levels,
            companion=None
            if companion is None
            else FrameSource(SpooledObject(self.spool, companion.path), companion.frame_number),
        )

    def _compare(self, claim: Claim) -> set[int]:
        """Settle contested objects one by one; a claim's other frames go back untouched."""
        contested = [one for one in claim.frames if one.work is FrameWork.COMPARE]
        for frame in contested:
            self._settle(claim, frame)
        scoring.give_back(self.database, claim.token)
        return {one.series_id for one in contested}

    def _settle(self, claim: Claim, frame: ClaimedFrame) -> None:
        known = scoring.known_object(self.database, frame.sop_instance_uid)
        differs = (
            None
            if known is None
            else difference(
                SpooledObject(self.spool, known[1]),
                SpooledObject(self.spool, frame.path),
                self.settings.max_frame_pixels,
            )
        )
        same = differs is None
        reason = (
            "the same image in another transfer syntax"
            if same
            else f"another object under a SOP Instance UID already known: {differs}"
        )
        scoring.settle_contested(
            self.database, claim, frame, same=same, reason=reason, now=self.clock()
        )
        if not same:
            log.warning(line("object-conflict", sop_instance_uid=frame.sop_instance_uid))


def _outcome(frame: ClaimedFrame, result: FrameResult) -> FrameOutcome:
    thumbnail = result.thumbnail
    return FrameOutcome(
        frame_id=frame.frame_id,
        stack=result.stack,
        position_mm=result.position_mm,
        score=result.score,
        spread=result.spread,
        noise_hu=result.noise_hu,
        snr=result.snr,
        level=result.level,
        drawn_at_level=result.drawn_at_level,
        bundle_digest=result.bundle_digest,
        excluded=result.excluded,
        thumbnail=None if thumbnail is None else (*thumbnail.shape[:2], thumbnail.tobytes()),
    )
