"""Stand-ins for TensorRT and the CUDA runtime: as much of both as the engine calls, by the same
names, on this host's memory, with ONNX Runtime as the GPU. `test_bindings.py` holds their names
and parameters against the real ones."""

from __future__ import annotations

import ctypes
import enum
import types
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import pytest


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorLaunchFailure = 719


OK = cudaError_t.cudaSuccess


class FakeCuda:
    """`cuda.bindings.runtime`, of one GPU. `launches` counts graphs launched, `failing` makes every
    further call fail as a lost device does, `recording` tells a capture."""

    cudaStreamNonBlocking = 1
    cudaMemcpyKind = types.SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = types.SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self, gpus: int = 1) -> None:
        self.gpus = gpus
        self.name, self.capability = b"NVIDIA Model GPU", (9, 0)
        self.failing = False
        self.launches = 0
        self.recording: list[Callable[[], None]] | None = None
        self._held: list[object] = []

    def enqueue(self, work: Callable[[], None]) -> None:
        if self.recording is None:
            work()
        else:
            self.recording.append(work)

    def cudaGetDeviceCount(self):
        return (OK, self.gpus)

    def cudaSetDevice(self, device):
        return (OK,)

    def cudaGetDeviceProperties(self, device):
        major, minor = self.capability
        return OK, types.SimpleNamespace(name=self.name, major=major, minor=minor)

    def cudaStreamCreateWithFlags(self, flags):
        return OK, 7

    def cudaMalloc(self, size):
        self._held.append(ctypes.create_string_buffer(size))
        return OK, ctypes.addressof(self._held[-1])

    cudaMallocHost = cudaMalloc

    def cudaMemcpyAsync(self, dst, src, count, kind, stream):
        self.enqueue(lambda: ctypes.memmove(dst, src, count))
        return (OK,)

    def cudaStreamBeginCapture(self, stream, mode):
        self.recording = []
        return (OK,)

    def cudaStreamEndCapture(self, stream):
        recorded, self.recording = self.recording, None
        return OK, recorded

    def cudaGraphInstantiate(self, graph, flags):
        return OK, list(graph)

    def cudaGraphDestroy(self, graph):
        return (OK,)

    def cudaGraphLaunch(self, graphExec, stream):
        self.launches += 1
        for work in graphExec:
            work()
        return (OK,)

    def cudaStreamSynchronize(self, stream):
        return (cudaError_t.cudaErrorLaunchFailure if self.failing else OK,)

    def cudaGetErrorString(self, error):
        return OK, b"unspecified launch failure"


class FakeTensorRt(types.ModuleType):
    """`tensorrt`. `builds` counts engines built; `knew` is what timing cache the last build was
    given; `worse` is added to every score; `refuses` makes parsing fail."""

    def __init__(self, cuda: FakeCuda, version: str = "11.4.0.106") -> None:
        super().__init__("tensorrt")
        self.__version__ = version
        self.cuda = cuda
        self.builds = 0
        self.knew = b""
        self.worse = 0.0
        self.refuses = False
        self.Builder = lambda logger: Builder(self)
        self.OnnxParser = lambda network, logger: OnnxParser(self, network)
        self.Runtime = lambda logger: Runtime(self)

    class ILogger:
        class Severity(enum.Enum):
            INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    class IProgressMonitor:
        pass

    class BuilderFlag(enum.Enum):
        TF32 = 0

    class DataType(enum.Enum):
        FLOAT = 0

    class TensorIOMode(enum.Enum):
        INPUT, OUTPUT = 1, 2

    class ExecutionContextAllocationStrategy(enum.Enum):
        USER_MANAGED = 2


class Builder:
    def __init__(self, trt):
        self.trt = trt

    def create_network(self, flags=0):
        return INetworkDefinition()

    def create_builder_config(self):
        return IBuilderConfig()

    def create_optimization_profile(self):
        return IOptimizationProfile()

    def build_serialized_network(self, network, config):
        self.trt.builds += 1
        self.trt.knew = config.timings.content
        watching = config.progress_monitor
        watching.phase_start("Building", None, 4)
        going_on = [watching.step_complete("Building", step) for step in range(4)]
        watching.phase_finish("Building")
        if not all(going_on):
            return None
        config.timings.content = b"timings"
        assert config.flags_cleared == [FakeTensorRt.BuilderFlag.TF32]
        return repr(([one.shapes for one in config.profiles], network.graph)).encode()


class INetworkDefinition:
    graph = b""

    def get_input(self, index):
        return types.SimpleNamespace(name=onnx.load_from_string(self.graph).graph.input[index].name)


class IBuilderConfig:
    progress_monitor = None

    def __init__(self):
        self.flags_cleared, self.profiles = [], []

    def clear_flag(self, flag):
        self.flags_cleared.append(flag)

    def create_timing_cache(self, serialized_timing_cache):
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache, ignore_mismatch):
        self.timings = cache
        return cache.content != b"of another GPU"

    def get_timing_cache(self):
        return self.timings

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)
        return len(self.profiles) - 1


class ITimingCache:
    def __init__(self, content):
        self.content = content

    def serialize(self):
        return self.content


class IOptimizationProfile:
    def set_shape(self, input, min, opt, max):
        self.shapes = (input, min, opt, max)


class OnnxParser:
    num_errors = 1

    def __init__(self, trt, network):
        self.trt, self.network = trt, network

    def parse(self, model, path=None):
        self.network.graph = model
        return not self.trt.refuses

    def get_error(self, index):
        return types.SimpleNamespace(desc=lambda: "no importer for Strange")


class Runtime:
    def __init__(self, trt):
        self.trt = trt

    def deserialize_cuda_engine(self, serialized_engine):
        return ICudaEngine(self.trt, *eval(serialized_engine))


class ICudaEngine:
    device_memory_size_v2 = 64

    def __init__(self, trt, profiles, graph):
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.trt, self.profiles = trt, profiles
        self.session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.inputs = [one.name for one in self.session.get_inputs()]
        self.outputs = [one.name for one in self.session.get_outputs()]

    @property
    def num_io_tensors(self):
        return len(self.inputs) + len(self.outputs)

    def get_tensor_name(self, index):
        return (self.inputs + self.outputs)[index]

    def get_tensor_mode(self, name):
        modes = FakeTensorRt.TensorIOMode
        return modes.INPUT if name in self.inputs else modes.OUTPUT

    def get_tensor_dtype(self, name):
        return FakeTensorRt.DataType.FLOAT

    def create_execution_context(self, strategy=None):
        return IExecutionContext(self)


class IExecutionContext:
    def __init__(self, engine):
        self.engine, self.addresses, self.warm = engine, {}, False

    def set_optimization_profile_async(self, profile_index, stream_handle):
        self.profile = self.engine.profiles[profile_index]
        return True

    def set_device_memory(self, memory, size):
        assert memory
        assert size == self.engine.device_memory_size_v2

    def set_input_shape(self, name, shape):
        _, smallest, _, largest = self.profile
        self.shape = shape
        return smallest[0] <= shape[0] <= largest[0] and smallest[1:] == shape[1:]

    def get_tensor_shape(self, name):
        return self._computed(np.zeros(self.shape, np.float32))[name].shape

    def set_tensor_address(self, name, memory):
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle):
        cuda = self.engine.trt.cuda
        assert self.warm or cuda.recording is None, "the first run cannot be recorded"
        self.warm = True
        cuda.enqueue(self._run)
        return True

    def _run(self):
        outputs = self._computed(_at(self.addresses[self.engine.inputs[0]], self.shape))
        for name, values in outputs.items():
            _at(self.addresses[name], values.shape)[...] = values

    def _computed(self, batch):
        outputs = self.engine.session.run(None, {self.engine.inputs[0]: batch})
        named = dict(zip(self.engine.outputs, outputs, strict=True))
        return {**named, "score": named["score"] + np.float32(self.engine.trt.worse)}


def _at(address, shape):
    """The FP32 array that lies at an address."""
    count = int(np.prod(shape))
    return np.ctypeslib.as_array((ctypes.c_float * count).from_address(address)).reshape(shape)


@pytest.fixture
def gpu(monkeypatch):
    """A host with a GPU and TensorRT: the two modules."""
    cuda = FakeCuda()
    trt = FakeTensorRt(cuda)
    install(monkeypatch, cuda, trt)
    return cuda, trt


def install(monkeypatch, cuda, trt):
    monkeypatch.setattr("service.score.engines.tensorrt.load_tensorrt", lambda: trt)
    monkeypatch.setattr("service.score.engines.tensorrt.cuda_runtime", lambda _setting: cuda)
