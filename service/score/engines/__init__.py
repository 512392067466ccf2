"""What runs a bundle's network. One small protocol; an engine serves only after it has reproduced
its bundle's golden outputs on this very host, at every batch size it will run (`golden.py`).

::

    choice.py            which engine a bundle gets, and what happens when it cannot run
    onnxruntime.py       the CPU, the default
    openvino.py          the CPU, by OpenVINO
    onnxruntime_cuda.py  an NVIDIA GPU without TensorRT
    tensorrt.py          an NVIDIA GPU with TensorRT; profiles.py, plan.py, cache.py, gpu.py beneath
    half.py              the FP16 graph that GPUs run, derived from a bundle's own
    lanes.py             one picture a core, side by side
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.card import Bundle
from service.config import EngineName, Precision

__all__ = ["Batch", "Engine", "EngineName", "GoldenFigure", "Outputs", "Precision", "Startup"]

Batch = npt.NDArray[np.float32]
"""Network input `[B, C, H, W]`, as `models.render` draws it."""

Outputs = dict[str, npt.NDArray[np.float32]]
"""A network's outputs by name: `score [B]` and, where it has them, `spread [B]`, `map [B, h, w]`,
`weight [B, h, w]`."""


@dataclass(frozen=True)
class GoldenFigure:
    """How far one output lies from its golden values.

    measure: "largest" difference of any value; in reduced precision a picture (`map`, `weight`),
    which no verdict reads, is held to its "mean" difference instead.
    """

    output: str
    measure: str
    difference: float
    allowed: float

    @property
    def reproduced(self) -> bool:
        return self.difference <= self.allowed  # False for NaN, too

    def __str__(self) -> str:
        return (
            f"{self.output}: {self.measure} difference {self.difference:.3g}, "
            f"allowed {self.allowed:.3g}"
        )


class Engine(Protocol):
    """A bundle ready to run. `precision` is what the network is computed in; its input and outputs
    are FP32 always."""

    name: EngineName
    bundle: Bundle
    precision: Precision
    golden: tuple[GoldenFigure, ...]
    """How far its outputs lie from the golden ones; empty only while it is made ready."""

    def infer(self, batch: Batch) -> Outputs:
        """The network's outputs for any number of pictures. May be called from several threads.

        Raises EngineFailed when the device does not answer any more.
        """
        ...


@dataclass(frozen=True)
class Startup:
    """Who is told how far an engine has got, and who can call it off.

    say: one short sentence, from any thread; stopping: whether the process was asked to end.
    """

    say: Callable[[str], None] = lambda _text: None
    stopping: Callable[[], bool] = lambda: False
