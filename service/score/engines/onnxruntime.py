"""ONNX Runtime on the CPU, the default engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from models.card import Bundle
from service.errors import ConfigError
from service.score.engines import Batch, verify_golden


class OnnxRuntimeEngine:
    """One session of one bundle, its golden outputs reproduced."""

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        """Load and verify. Raises ConfigError when the graph does not load or its golden outputs
        are not reproduced."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        # waiting threads must not spin: receivers share these cores
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self.bundle = bundle
        try:
            self._session: Any = ort.InferenceSession(
                str(bundle.model_path), options, providers=["CPUExecutionProvider"]
            )
        except (RuntimeError, ValueError) as error:
            raise ConfigError(f"{bundle.model_path}: does not load: {error}") from error
        self._input = self._session.get_inputs()[0].name
        self._outputs = list(bundle.card.outputs)
        self.golden_difference = verify_golden(self)

    def infer(self, batch: Batch) -> dict[str, npt.NDArray[np.float32]]:
        outputs = self._session.run(self._outputs, {self._input: batch})
        return dict(zip(self._outputs, outputs, strict=True))
