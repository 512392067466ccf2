"""Tracking of a run: `history.jsonl`, a line an epoch, and TensorBoard's event files beside it.

Both are written again from the checkpoint's own history when a run goes on, so that what an
interrupted epoch left behind never stays.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

HISTORY_NAME = "history.jsonl"


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to; loss is the mean over its batches.

    srocc, validation_loss: None without pictures to validate on.
    """

    number: int
    loss: float
    learning_rate: float
    srocc: float | None = None
    validation_loss: float | None = None

    def __str__(self) -> str:
        watched = "" if self.srocc is None else f", SROCC {self.srocc:.4f}"
        return f"epoch {self.number}: loss {self.loss:.5f}{watched}"


class Tracking:
    """Writes the epochs of a run; `history` is what a resumed run has done so far."""

    def __init__(self, run: Path, history: Sequence[Epoch] = ()) -> None:
        self._path = run / HISTORY_NAME
        self.history = list(history)
        # What lies beyond the checkpoint is hidden from TensorBoard's pages.
        self._events = SummaryWriter(
            str(run / "tensorboard"), purge_step=len(history) + 1 if history else None
        )

    def add(self, epoch: Epoch) -> None:
        self.history.append(epoch)
        lines = "".join(json.dumps(asdict(one)) + "\n" for one in self.history)
        partial = self._path.with_suffix(".tmp")
        partial.write_text(lines, "utf-8")
        partial.replace(self._path)
        for name, value in asdict(epoch).items():
            if name != "number" and value is not None:
                self._events.add_scalar(name, value, epoch.number)
        self._events.flush()

    def close(self) -> None:
        self._events.close()


def read_history(run: Path) -> tuple[Epoch, ...]:
    """The epochs that a run's folder tells of."""
    lines = (run / HISTORY_NAME).read_text("utf-8").splitlines()
    return tuple(Epoch(**json.loads(line)) for line in lines)
