"""OpenVINO on the CPU (extra `openvino`)."""

from __future__ import annotations

import threading
from typing import Any

from models.card import Bundle
from service.errors import EngineUnavailable
from service.score.engines import Batch, EngineName, Outputs, Precision
from service.score.engines.golden import verify_golden
from service.score.engines.lanes import Lanes, cores

HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16"}
"""`INFERENCE_PRECISION_HINT`. It must be given: without it, OpenVINO computes in bfloat16 wherever
the processor can, and scores differ from host to host."""

DENIED = "can't protect"
"""What OpenVINO says where the kernel lets nobody make memory executable."""
DENIED_WAY_OUT = (
    "; it generates code, which the unit denies: MemoryDenyWriteExecute=no in a drop-in "
    "(docs/install.md)"
)


class OpenVinoEngine:
    """One compiled network of one bundle, its golden outputs reproduced.

    The network is compiled for one picture, because fixed shapes spare it the arithmetic on
    shapes at every call, and runs on as many streams as there are lanes.
    """

    name: EngineName = "openvino"

    def __init__(self, bundle: Bundle, threads: int = 0, precision: Precision = "float32") -> None:
        """Compile and verify. Raises EngineUnavailable where OpenVINO is missing, cannot compile
        the graph, or does not reproduce the golden outputs."""
        try:
            import openvino
        except ImportError as error:
            raise EngineUnavailable(
                f"score.engine = 'openvino' cannot be loaded ({error}); "
                "install it with: pip install 'iqgate[openvino]'"
            ) from error
        self.bundle = bundle
        self.precision = precision
        self._lanes = Lanes(cores(threads))
        self._own = threading.local()
        try:
            core = openvino.Core()
            model = core.read_model(str(bundle.model_path))
            model.reshape([1, *bundle.card.input_shape])
            self._compiled: Any = core.compile_model(
                model,
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": HINTS[precision],
                    "NUM_STREAMS": self._lanes.count,
                    "INFERENCE_NUM_THREADS": self._lanes.count,
                },
            )
        except RuntimeError as error:
            way_out = DENIED_WAY_OUT if DENIED in str(error) else ""
            why = f"does not compile: {error}{way_out}"
            raise EngineUnavailable(f"{bundle.model_path}: {why}") from error
        self.golden = verify_golden(self)

    def infer(self, batch: Batch) -> Outputs:
        return self._lanes.run(batch, self._one)

    def _one(self, picture: Batch) -> Outputs:
        """One picture, by the infer request of the calling thread."""
        request = getattr(self._own, "request", None)
        if request is None:
            request = self._own.request = self._compiled.create_infer_request()
        request.infer({0: picture})
        return {name: request.get_tensor(name).data.copy() for name in self.bundle.card.outputs}
