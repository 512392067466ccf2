"""The score role: one process that scores frames as they arrive and concludes quiet series."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.companion import CtFrame
from service.config import Settings
from service.errors import ConfigError, LeaseLost
from service.judge.policy import Policy, parse_policy
from service.ledger import closing, intensity, pairing, scoring
from service.ledger.database import Database
from service.ledger.scoring import Claim, ClaimedFrame, FrameOutcome
from service.ledger.tables import FrameWork
from service.ledger.wake import Waiter, Wake
from service.log import line
from service.role import Heart, stop_on_signal, wall_clock
from service.score.compare import difference
from service.score.conclude import Concluder
from service.score.drawing import FrameSource
from service.score.pair import Pairer, fusing_of
from service.score.scorer import FrameResult, Scorer

log = logging.getLogger("iqgate.score")

POLL_S = 2.0
POLL_UNHEARD_S = 0.2
RETRY_S = 5.0


def load_policy(settings: Settings) -> Policy:
    """The configured policy. Raises ConfigError naming the file."""
    path = settings.policy_path
    try:
        return parse_policy(path.read_text("utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"policy = {path}: cannot be read: {error.strerror}") from error


def run(settings: Settings) -> None:
    """Score until SIGTERM. Raises ConfigError when a bundle or the policy cannot be used."""
    database = Database(settings.database_url)
    stopped = threading.Event()
    wake = Wake(settings.database_url)
    frames_wait, series_wait = Waiter(wake, "score"), Waiter(wake, "conclude")

    def stop() -> None:
        stopped.set()
        frames_wait.interrupt()
        series_wait.interrupt()

    stop_on_signal(stop)
    heart = Heart(database, "score", clock=wall_clock)
    policy = load_policy(settings)
    scorer = Scorer(settings.bundles, settings.score)
    fusing = fusing_of(scorer.bundles, settings.complete)
    concluder = Concluder(settings, database, policy, scorer.identity_of, fusing)
    pairer = Pairer(settings.spool, database, fusing)
    heart.ready(", ".join(bundle.card.name for bundle in scorer.bundles))
    log.info(line("scoring", bundles=len(scorer.bundles), engine=settings.score.engine))
    concluding = threading.Thread(
        target=_conclude_forever,
        args=(concluder, pairer, wake, series_wait, stopped),
        name="conclude",
    )
    concluding.start()
    worker = Worker(settings, database, scorer, concluder, wake, wall_clock)
    while not stopped.is_set():
        heart.beat()
        if not worker.step():
            frames_wait.wait(POLL_S if frames_wait.heard else POLL_UNHEARD_S)
    concluding.join()
    heart.stop()
    database.dispose()


class Worker:
    """Claims frames, scores them, stores results, and renews the provisional verdict."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        scorer: Scorer,
        concluder: Concluder,
        wake: Wake,
        clock: Callable[[], float],
    ) -> None:
        self.settings = settings.score
        self.spool = settings.spool
        self.database = database
        self.scorer = scorer
        self.concluder = concluder
        self.wake = wake
        self.clock = clock

    def step(self) -> bool:
        """Work on one claim; False when nothing waited."""
        claim = scoring.claim(
            self.database,
            limit=self.settings.batch_size,
            lease_s=self.settings.lease_s,
            max_attempts=self.settings.max_attempts,
            now=self.clock(),
        )
        if claim is None:
            return False
        try:
            with self._kept_alive(claim):
                touched = self._work(claim)
        except LeaseLost:
            log.warning(line("lease-lost", frames=len(claim.frames)))
            return True
        except Exception:
            log.exception(line("scoring-failed", frames=[one.frame_id for one in claim.frames]))
            scoring.fail(self.database, claim.token)
            return True
        for series_id in touched:
            self.concluder.provisional(series_id, self.clock())
        self.wake.role("conclude")
        self.wake.role("watch")
        return True

    def _work(self, claim: Claim) -> set[int]:
        """Score or compare a claim's frames; the ids of the series whose scores changed."""
        contested = [one for one in claim.frames if one.work is FrameWork.COMPARE]
        if contested:
            # comparing settles frame by frame; the others go back untouched for the next claim
            for frame in contested:
                self._compare(claim, frame)
            scoring.give_back(self.database, claim.token)
            return {one.series_id for one in contested}
        fusing = self.concluder.fusing
        companions = (
            {}
            if fusing is None
            else pairing.companions(self.database, [one.frame_id for one in claim.frames], fusing)
        )
        levels = intensity.known_levels(self.database, [one.frame_id for one in claim.frames])
        results = self.scorer.score(
            [
                self._source(one, companions.get(one.frame_id), levels.get(one.series_id, {}))
                for one in claim.frames
            ]
        )
        outcomes = [
            _outcome(frame, result) for frame, result in zip(claim.frames, results, strict=True)
        ]
        return scoring.store(
            self.database,
            claim,
            outcomes,
            thumbnails_kept=self.settings.thumbnails,
            now=self.clock(),
        )

    def _source(
        self, frame: ClaimedFrame, companion: CtFrame | None, levels: intensity.Levels
    ) -> FrameSource:
        return FrameSource(
            self.spool / frame.path,
            frame.frame_number,
            levels,
            companion=None
            if companion is None
            else FrameSource(self.spool / companion.path, companion.frame_number),
        )

    def _compare(self, claim: Claim, frame: ClaimedFrame) -> None:
        known = scoring.known_object(self.database, frame.sop_instance_uid)
        differs = (
            None
            if known is None
            else difference(
                self.spool / known[1], self.spool / frame.path, self.settings.max_frame_pixels
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

    @contextmanager
    def _kept_alive(self, claim: Claim) -> Iterator[None]:
        """Renew the claim's lease from a thread while its work goes on."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(self.settings.lease_s / 3):
                try:
                    scoring.extend(
                        self.database, claim.token, lease_s=self.settings.lease_s, now=self.clock()
                    )
                except LeaseLost:
                    return  # storing the results will find out

        thread = threading.Thread(target=renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


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
        thumbnail=None if thumbnail is None else (*thumbnail.shape, thumbnail.tobytes()),
    )


def _conclude_forever(
    concluder: Concluder, pairer: Pairer, wake: Wake, waiter: Waiter, stopped: threading.Event
) -> None:
    """Pair PET with its CT, and conclude series and studies as they fall due, until stopped."""
    database = concluder.database
    while not stopped.is_set():
        now = wall_clock()
        try:
            if pairer.step(now):
                wake.role("score")
            concluded = [
                concluder.conclude(one, wall_clock()) for one in closing.due_series(database, now)
            ]
            reported = [
                concluder.report_study(one, wall_clock()) for one in closing.due_studies(database)
            ]
            next_at = closing.next_closing_at(database, now)
        except Exception:
            log.exception(line("concluding-failed"))
            waiter.wait(RETRY_S)
            continue
        if any(concluded) or any(reported):
            wake.role("deliver")
            wake.role("watch")
            wake.role("score")  # a series may have gone back to be scored anew
            continue
        idle = POLL_S if waiter.heard else POLL_UNHEARD_S
        waiter.wait(idle if next_at is None else max(0.0, min(idle, next_at - wall_clock())))
