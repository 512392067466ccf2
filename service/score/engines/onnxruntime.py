"""ONNX Runtime on the CPU, the default engine."""

from __future__ import annotations

from typing import Any

import onnxruntime as ort

from models.card import Bundle
from service.errors import EngineUnavailable
from service.score.engines import Batch, EngineName, Outputs, Precision
from service.score.engines.golden import verify_golden
from service.score.engines.lanes import Lanes, cores


class OnnxRuntimeEngine:
    """One session of one bundle, its golden outputs reproduced. Each picture is inferred on one
    thread, several side by side: `threads`, or as many as there are cores."""

    name: EngineName = "onnxruntime"
    precision: Precision = "float32"

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        """Load and verify. Raises EngineUnavailable when the graph does not load or its golden
        outputs are not reproduced."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.bundle = bundle
        try:
            self._session: Any = ort.InferenceSession(
                str(bundle.model_path), options, providers=["CPUExecutionProvider"]
            )
        except (RuntimeError, ValueError) as error:
            raise EngineUnavailable(f"{bundle.model_path}: does not load: {error}") from error
        self._input = self._session.get_inputs()[0].name
        self._outputs = list(bundle.card.outputs)
        self._lanes = Lanes(cores(threads))
        self.golden = verify_golden(self)

    @property
    def golden_difference(self) -> float:
        """The largest difference from the golden outputs."""
        return max(one.difference for one in self.golden)

    def infer(self, batch: Batch) -> Outputs:
        return self._lanes.run(batch, self._one)

    def _one(self, picture: Batch) -> Outputs:
        outputs = self._session.run(self._outputs, {self._input: picture})
        return dict(zip(self._outputs, outputs, strict=True))
