"""ONNX Runtime on an NVIDIA GPU (extra `cuda`), where TensorRT is not wanted.

Pictures run in batches of a few fixed sizes (`profiles.py`), because cuDNN looks for its fastest
kernels anew at every shape. Input and outputs are bound to memory of the GPU, so that each crosses
once. FP32 means FP32: without `use_tf32 = 0`, ONNX Runtime computes in TF32.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import onnxruntime as ort

from models.card import Bundle
from service.errors import EngineFailed, EngineUnavailable
from service.score.engines import Batch, EngineName, Outputs, Precision
from service.score.engines.golden import verify_golden
from service.score.engines.half import half_graph
from service.score.engines.profiles import batch_sizes, portions

PROVIDER = "CUDAExecutionProvider"
DEVICE = "cuda"
OPTIONS = {"device_id": "0", "use_tf32": "0", "cudnn_conv_algo_search": "EXHAUSTIVE"}


class OnnxRuntimeCudaEngine:
    """One session of one bundle on the GPU this process sees, its golden outputs reproduced."""

    name: EngineName = "onnxruntime-cuda"

    def __init__(
        self, bundle: Bundle, batch_size: int = 16, precision: Precision = "float32"
    ) -> None:
        """Raises EngineUnavailable where this ONNX Runtime has no CUDA, no GPU answers, or the
        golden outputs are not reproduced."""
        self.bundle = bundle
        self.precision = precision
        self._lock = threading.Lock()
        self._sizes = batch_sizes(batch_size)
        if PROVIDER not in ort.get_available_providers():
            raise EngineUnavailable(
                "score.engine = 'onnxruntime-cuda': this ONNX Runtime has no CUDA; install it "
                "with: pip uninstall onnxruntime, then pip install 'iqgate[cuda]' "
                "(docs/tensorrt.md)"
            )
        half = precision == "float16"
        graph = half_graph(bundle.model_path) if half else str(bundle.model_path)
        self._session = self._load(graph)
        self._input = self._session.get_inputs()[0].name
        shape = bundle.card.input_shape
        try:
            self._pictures = {size: self._on_device((size, *shape)) for size in self._sizes}
            self._bindings = {size: self._binding(size) for size in self._sizes}
        except RuntimeError as error:
            raise EngineUnavailable(
                f"{bundle.card.name}: no room for batches of {batch_size} on the GPU ({error}); "
                "lower score.batch_size"
            ) from error
        self._staged = np.zeros((self._sizes[-1], *shape), np.float32)
        self.golden = verify_golden(self, self._sizes)

    def infer(self, batch: Batch) -> Outputs:
        parts: list[list[Any]] = []
        with self._lock:
            for start, count, size in portions(len(batch), self._sizes):
                self._staged[:count] = batch[start : start + count]
                try:
                    self._pictures[size].update_inplace(self._staged[:size])
                    self._session.run_with_iobinding(self._bindings[size])
                    outputs = self._bindings[size].copy_outputs_to_cpu()
                except RuntimeError as error:
                    raise EngineFailed(f"{self.bundle.card.name}: {error}") from error
                parts.append([one[:count] for one in outputs])
        return {
            name: np.concatenate(arrays)
            for name, arrays in zip(self.bundle.card.outputs, zip(*parts, strict=True), strict=True)
        }

    def _load(self, graph: bytes | str) -> Any:
        if hasattr(ort, "preload_dlls"):
            ort.preload_dlls()  # CUDA and cuDNN, where they come as wheels
        options = ort.SessionOptions()
        options.log_severity_level = 3
        try:
            session = ort.InferenceSession(graph, options, providers=[(PROVIDER, OPTIONS)])
        except (RuntimeError, ValueError) as error:
            raise EngineUnavailable(
                f"{self.bundle.model_path}: does not load on the GPU: {error}"
            ) from error
        # ONNX Runtime goes on without a provider that it cannot load
        if session.get_providers()[0] != PROVIDER:
            raise EngineUnavailable(
                "score.engine = 'onnxruntime-cuda': ONNX Runtime could not load CUDA or found no "
                "GPU; check nvidia-smi, CUDA_VISIBLE_DEVICES and the CUDA and cuDNN libraries"
            )
        return session

    def _on_device(self, shape: tuple[int, ...]) -> Any:
        return ort.OrtValue.ortvalue_from_shape_and_type(list(shape), np.float32, DEVICE, 0)

    def _binding(self, size: int) -> Any:
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(self._input, self._pictures[size])
        for name in self.bundle.card.outputs:
            binding.bind_output(name, DEVICE, 0)
        return binding
