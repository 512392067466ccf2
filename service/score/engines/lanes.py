"""One picture a core, side by side.

On CPUs a batch gains a network nothing, and threads that share one picture wait for each other at
every layer. Lanes run whole pictures instead, each on a thread of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from service.score.engines import Batch, Outputs


def cores(threads: int) -> int:
    """Lanes for a setting of `threads`: 0 means as many as this process has cores."""
    return threads or len(os.sched_getaffinity(0))


class Lanes:
    """A pool of `count` threads that infer single pictures."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count, "infer")

    def run(self, batch: Batch, one: Callable[[Batch], Outputs]) -> Outputs:
        """`one` on each picture `[1, C, H, W]` of a batch; the outputs in the batch's order."""
        pictures = [batch[row : row + 1] for row in range(len(batch))]
        if self.count == 1 or len(pictures) == 1:
            results = [one(picture) for picture in pictures]
        else:
            results = list(self._pool.map(one, pictures))
        return {name: np.concatenate([each[name] for each in results]) for name in results[0]}
