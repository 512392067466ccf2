"""The start of the score role: engines made ready, which may take minutes, while the role's heart
beats and says how far that got. Until it is over, the gate is not ready."""

from __future__ import annotations

import logging
import threading

from service.config import Settings
from service.log import line
from service.role import Heart
from service.score.engines import Startup
from service.score.scorer import Scorer

log = logging.getLogger("iqgate.score")


def ready_scorer(settings: Settings, heart: Heart, stopped: threading.Event) -> Scorer:
    """A scorer whose engines are verified. Raises ConfigError; StartupCalledOff, once `stopped`
    is set."""

    def say(what: str) -> None:
        log.info(line("starting", state=what))
        heart.say(what)

    done = threading.Event()

    def beat() -> None:
        while not done.wait(Heart.INTERVAL_S):
            heart.beat()

    beating = threading.Thread(target=beat, name="heart", daemon=True)
    beating.start()
    try:
        return Scorer(
            settings.bundles,
            settings.score,
            settings.engine_cache,
            Startup(say, stopped.is_set),
        )
    finally:
        done.set()
        beating.join()
