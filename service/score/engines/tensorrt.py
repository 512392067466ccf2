"""TensorRT on an NVIDIA GPU (extra `tensorrt`).

The plan comes from the cache or is built here, at start-up, which takes minutes. After that every
batch is one launch: pinned host memory, copies and kernels on one stream, recorded as a CUDA graph
for each batch size. A graph belongs to the state of one execution context, so each size has a
context of its own; they share one scratch memory, because one batch runs at a time.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from models.card import Bundle
from service.errors import EngineFailed, EngineUnavailable
from service.score.engines import Batch, EngineName, Outputs, Precision, Startup
from service.score.engines.cache import EngineCache, EngineKey
from service.score.engines.golden import verify_golden
from service.score.engines.gpu import Gpu, Pinned, cuda_runtime
from service.score.engines.half import half_graph
from service.score.engines.plan import build_plan, load_tensorrt, logger
from service.score.engines.profiles import batch_sizes, portions, profile_of, profiles

FLOAT_BYTES = 4


class TensorRtEngine:
    """One bundle on the GPU this process sees, its golden outputs reproduced at every batch size.

    built: whether the plan was built now, rather than read from the cache.
    """

    name: EngineName = "tensorrt"

    def __init__(
        self,
        bundle: Bundle,
        cache: Path,
        batch_size: int = 16,
        precision: Precision = "float16",
        cuda_graphs: bool = True,
        startup: Startup | None = None,
    ) -> None:
        """Raises EngineUnavailable where TensorRT or a GPU is missing, the graph cannot be built,
        or the golden outputs are not reproduced; StartupCalledOff when asked to end meanwhile."""
        self.bundle = bundle
        self.precision = precision
        self.built = False
        self._startup = startup or Startup()
        self._lock = threading.Lock()
        self._profiles = profiles(batch_size)
        self._sizes = batch_sizes(batch_size)
        self._trt = load_tensorrt()
        self._gpu = Gpu(cuda_runtime("score.engine = 'tensorrt'"))
        graph = half_graph(bundle.model_path) if precision == "float16" else _as_it_is(bundle)
        self.key = EngineKey(
            bundle=bundle.card.name,
            model=bundle.card.sha256[bundle.model_path.name],
            graph=hashlib.sha256(graph).hexdigest(),
            precision=precision,
            profiles=tuple((one.smallest, one.best, one.largest) for one in self._profiles),
            tensorrt=self._trt.__version__,
            gpu=self._gpu.name,
            compute_capability=self._gpu.compute_capability,
        )
        self.cache = EngineCache(cache)
        self._engine = self._loaded_or_built(graph)
        try:
            self._ready(cuda_graphs)
        except EngineFailed as error:
            hint = "; score.cuda_graphs = false runs without recording" if cuda_graphs else ""
            raise EngineUnavailable(
                f"{self._label}: cannot be made ready: {error}{hint}"
            ) from error
        try:
            self.golden = verify_golden(self, self._sizes)
        except EngineUnavailable:
            self.cache.drop(self.key)
            raise

    def infer(self, batch: Batch) -> Outputs:
        outputs = {name: _like(held.array, len(batch)) for name, held in self._outputs.items()}
        with self._lock:
            self._gpu.use()
            for start, count, size in portions(len(batch), self._sizes):
                self._input.array[:count] = batch[start : start + count]
                self._launches[size]()
                self._gpu.wait()
                for name, held in self._outputs.items():
                    outputs[name][start : start + count] = held.array[:count]
        return outputs

    @property
    def _label(self) -> str:
        return f"TensorRT engine of {self.bundle.card.name} ({self.precision})"

    def _loaded_or_built(self, graph: bytes) -> Any:
        """The engine from the cache; built, where the cache has none that this TensorRT takes."""
        self._runtime = self._trt.Runtime(logger(self._trt))
        engine = self._deserialized(self.cache.read(self.key))
        if engine is not None:
            return engine
        with self.cache.building(self.key, self._startup):
            engine = self._deserialized(self.cache.read(self.key))  # another worker's, by now
            if engine is not None:
                return engine
            self._startup.say(f"{self._label}: building for {self._gpu.name}, takes minutes")
            plan, timings = build_plan(
                self._trt,
                graph,
                self.bundle.card.input_shape,
                self._profiles,
                self.cache.read_timings(self.key),
                self._label,
                self._startup,
            )
            self.cache.write_timings(self.key, timings)
            path = self.cache.write(self.key, plan)
        self.built = True
        self._startup.say(f"{self._label}: built, {len(plan) / 1e6:.1f} MB in {path.name}")
        engine = self._deserialized(plan)
        if engine is None:
            raise EngineUnavailable(f"{self._label}: TensorRT does not load what it built; its log")
        return engine

    def _deserialized(self, plan: bytes | None) -> Any:
        return None if plan is None else self._runtime.deserialize_cuda_engine(plan)

    def _ready(self, cuda_graphs: bool) -> None:
        """Memory, a context and a launch for each batch size."""
        trt, gpu, engine = self._trt, self._gpu, self._engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        modes = {name: engine.get_tensor_mode(name) for name in names}
        (self._input_name,) = [one for one in names if modes[one] == trt.TensorIOMode.INPUT]
        for name in (self._input_name, *self.bundle.card.outputs):
            if name not in modes or engine.get_tensor_dtype(name) != trt.DataType.FLOAT:
                raise EngineUnavailable(f"{self._label}: {name} is no FP32 tensor of it")
        largest = self._sizes[-1]
        self._input = gpu.pinned((largest, *self.bundle.card.input_shape))
        self._addresses = {self._input_name: gpu.memory(self._input.array.nbytes)}
        self._scratch = gpu.memory(engine.device_memory_size_v2)
        self._contexts: dict[int, Any] = {}
        self._outputs: dict[str, Pinned] = {}
        self._launches: dict[int, Callable[[], None]] = {}
        for size in reversed(self._sizes):  # the largest first: its outputs set the memory's size
            context = self._contexts[size] = self._context(size)
            for name in self.bundle.card.outputs:
                shape = tuple(context.get_tensor_shape(name))
                if name not in self._outputs:
                    self._outputs[name] = gpu.pinned(shape)
                    self._addresses[name] = gpu.memory(FLOAT_BYTES * math.prod(shape))
            for name, address in self._addresses.items():
                context.set_tensor_address(name, address)
            self._launches[size] = self._launch(context, size, cuda_graphs)

    def _context(self, size: int) -> Any:
        """An execution context for one batch size, on the scratch memory all share."""
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = self._engine.create_execution_context(strategy)
        if context is None:
            raise EngineUnavailable(f"{self._label}: no room for it on the GPU; see the log")
        index = profile_of(size, self._profiles)
        if not context.set_optimization_profile_async(index, self._gpu.stream):
            raise EngineUnavailable(f"{self._label}: has no profile for batches of {size}")
        self._gpu.wait()
        context.set_device_memory(self._scratch, self._engine.device_memory_size_v2)
        if not context.set_input_shape(self._input_name, (size, *self.bundle.card.input_shape)):
            raise EngineUnavailable(f"{self._label}: does not take batches of {size}")
        return context

    def _launch(self, context: Any, size: int, cuda_graphs: bool) -> Callable[[], None]:
        """One batch of `size` pictures, from pinned memory to pinned memory."""
        gpu = self._gpu
        taken = FLOAT_BYTES * size * math.prod(self.bundle.card.input_shape)

        def enqueue() -> None:
            gpu.upload(self._addresses[self._input_name], self._input.address, taken)
            if not context.execute_async_v3(gpu.stream):
                raise EngineFailed(f"{self._label}: TensorRT could not enqueue a batch; its log")
            for name, held in self._outputs.items():
                given = held.array[:size].nbytes
                gpu.download(held.address, self._addresses[name], given)

        enqueue()  # TensorRT sets itself up in the first run, which cannot be recorded
        gpu.wait()
        return gpu.record(enqueue) if cuda_graphs else enqueue


def _as_it_is(bundle: Bundle) -> bytes:
    return bundle.model_path.read_bytes()


def _like(array: Batch, rows: int) -> Batch:
    """An empty array of as many rows, each like those of `array`."""
    return np.empty((rows, *array.shape[1:]), np.float32)
