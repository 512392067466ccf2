"""One NVIDIA GPU by the CUDA runtime (cuda-bindings): memory, a stream, graphs.

Its process sees one GPU, the first that CUDA_VISIBLE_DEVICES names; `iqgate serve` starts a worker
for each GPU of `score.gpus` and sets it.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from service.errors import EngineFailed, EngineUnavailable

Array = npt.NDArray[np.float32]


def cuda_runtime(setting: str) -> Any:
    """The module `cuda.bindings.runtime`. Raises EngineUnavailable; `setting` is what asked."""
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise EngineUnavailable(
            f"{setting} cannot be loaded ({error}); install it with: pip install 'iqgate[tensorrt]'"
        ) from error
    return runtime


@dataclass(frozen=True)
class Pinned:
    """Page-locked host memory, which copies to and from the GPU need not stage: its address, and
    the same bytes as an array."""

    address: int
    array: Array


class Gpu:
    """The GPU this process sees, with one stream of its own."""

    def __init__(self, runtime: Any) -> None:
        """Raises EngineUnavailable where there is no GPU or no driver for it."""
        self._cuda = runtime
        error, count = runtime.cudaGetDeviceCount()
        if int(error) or not count:
            reason = self._words(error) if int(error) else "no device"
            raise EngineUnavailable(
                f"no NVIDIA GPU can be used on this host ({reason}); check the driver with "
                "nvidia-smi, and CUDA_VISIBLE_DEVICES, or choose another score.engine"
            )
        self._call("cudaSetDevice", 0)
        facts = self._call("cudaGetDeviceProperties", 0)
        name = facts.name
        self.name = name.decode() if isinstance(name, bytes) else str(name)
        self.compute_capability = f"{facts.major}.{facts.minor}"
        self._stream = self._call("cudaStreamCreateWithFlags", runtime.cudaStreamNonBlocking)

    @property
    def stream(self) -> int:
        """The stream's handle, as TensorRT takes it."""
        return int(self._stream)

    def memory(self, size: int) -> int:
        """The address of `size` bytes of the GPU's memory."""
        return int(self._call("cudaMalloc", max(size, 1)))

    def pinned(self, shape: tuple[int, ...]) -> Pinned:
        """Page-locked FP32 host memory, all zeros."""
        count = math.prod(shape)
        address = int(self._call("cudaMallocHost", 4 * count))
        held = (ctypes.c_float * count).from_address(address)
        array = np.ctypeslib.as_array(held).reshape(shape)
        array[...] = 0
        return Pinned(address, array)

    def upload(self, device: int, host: int, size: int) -> None:
        """Enqueue a copy of `size` bytes to the GPU."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", device, host, size, kind, self._stream)

    def download(self, host: int, device: int, size: int) -> None:
        """Enqueue a copy of `size` bytes from the GPU."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", host, device, size, kind, self._stream)

    def record(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        """What `enqueue` puts on the stream, as a CUDA graph; the function launches it again."""
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", self._stream, mode)
        enqueue()
        graph = self._call("cudaStreamEndCapture", self._stream)
        runnable = self._call("cudaGraphInstantiate", graph, 0)
        self._call("cudaGraphDestroy", graph)
        return lambda: self._call("cudaGraphLaunch", runnable, self._stream)

    def wait(self) -> None:
        """Until everything on the stream is done."""
        self._call("cudaStreamSynchronize", self._stream)

    def use(self) -> None:
        """Make this GPU the calling thread's."""
        self._call("cudaSetDevice", 0)

    def _call(self, name: str, *arguments: object) -> Any:
        """A function of the runtime. Raises EngineFailed with CUDA's own words."""
        error, *values = getattr(self._cuda, name)(*arguments)
        if int(error):
            raise EngineFailed(f"{name}: {self._words(error)}")
        return values[0] if values else None

    def _words(self, error: Any) -> str:
        _, words = self._cuda.cudaGetErrorString(error)
        text = words.decode() if isinstance(words, bytes) else str(words)
        return f"{text}, CUDA error {int(error)}"
