"""`iqgate score` with a network that takes its time: `python -m tests.slow_worker DELAY_S CONFIG`.

Each slice takes DELAY_S longer, as if a slower network, or another processor, scored it; the
waiting costs nothing, so several workers can be seen at work on a machine of few cores.
"""

from __future__ import annotations

import sys
import time

from service.__main__ import main
from service.score.scorer import Drawn, FrameResult, Scorer

_infer = Scorer.infer


def slow(delay_s: float) -> None:
    """Make every scorer of this process slow."""

    def infer(self: Scorer, drawn: Drawn) -> list[FrameResult]:
        time.sleep(delay_s * len(drawn.frames))
        return _infer(self, drawn)

    Scorer.infer = infer  # type: ignore[method-assign]


if __name__ == "__main__":
    slow(float(sys.argv[1]))
    sys.exit(main(["score", "--config", sys.argv[2]]))
