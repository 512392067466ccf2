"""Scoring gives way to reception: on a host that does both, an answer to a scanner comes first."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")
"""Linux ranks sessions by this value before it ranks processes within one (sched(7))."""


def give_way(niceness: int) -> None:
    """Lower this process's priority by `niceness`, 0…19. Call it before threads are started."""
    if niceness:
        os.nice(niceness)
        with contextlib.suppress(OSError):  # no autogroups here: the process's own value counts
            AUTOGROUP.write_text(str(os.nice(0)))
