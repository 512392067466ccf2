"""The engines that run here: same scores, any number of pictures, and their refusals."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime as ort
import openvino
import pytest

from service.errors import EngineFailed, EngineUnavailable
from service.score.engines import onnxruntime_cuda
from service.score.engines.golden import golden_figures
from service.score.engines.lanes import Lanes, cores
from service.score.engines.onnxruntime import OnnxRuntimeEngine
from service.score.engines.onnxruntime_cuda import OnnxRuntimeCudaEngine
from service.score.engines.openvino import OpenVinoEngine


@pytest.fixture
def on_cpu(monkeypatch):
    """The CUDA engine's own steps, with the CPU for a GPU."""
    monkeypatch.setattr(onnxruntime_cuda, "PROVIDER", "CPUExecutionProvider")
    monkeypatch.setattr(onnxruntime_cuda, "DEVICE", "cpu")
    monkeypatch.setattr(onnxruntime_cuda, "OPTIONS", {})


MAKE = {
    "onnxruntime": lambda bundle: OnnxRuntimeEngine(bundle, 2),
    "openvino": lambda bundle: OpenVinoEngine(bundle, 2),
    "onnxruntime-cuda": lambda bundle: OnnxRuntimeCudaEngine(bundle, 4),
}


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("name", MAKE)
def test_any_number_of_pictures_is_scored_in_their_order(bundle, name):
    engine = MAKE[name](bundle)
    assert engine.name == name
    for count in (1, 2, 3, 9):
        batch = np.random.default_rng(count).random((count, 1, 128, 128), np.float32)
        batch *= np.arange(1, count + 1, dtype=np.float32)[:, None, None, None]
        expected = 4 - batch.mean(axis=(1, 2, 3))
        np.testing.assert_allclose(engine.infer(batch)["score"], expected, atol=1e-5)


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("name", MAKE)
def test_several_threads_may_ask_at_once(bundle, name):
    engine = MAKE[name](bundle)
    batches = [np.full((3, 1, 128, 128), value, np.float32) for value in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(engine.infer, batches))
    for value, answer in enumerate(answers):
        np.testing.assert_allclose(answer["score"], [4 - value] * 3, atol=1e-5)


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("name", MAKE)
def test_the_shipped_bundle_has_all_its_outputs_from_every_engine(shipped, name):
    engine = MAKE[name](shipped)
    with np.load(shipped.golden_path) as golden:
        outputs = engine.infer(golden["input"])
        for output in ("score", "map", "spread"):
            np.testing.assert_allclose(outputs[output], golden[output], atol=1e-3)
    assert max(one.difference for one in engine.golden) < 1e-3
    assert [one.allowed for one in engine.golden] == [pytest.approx(1e-3)] * 3


def test_bfloat16_misses_the_golden_outputs_of_the_shipped_bundle_and_is_refused(shipped):
    """Rounding what its convolutions read to eight bits moves its scores by up to 0.06."""
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bfloat16")
    with pytest.raises(EngineUnavailable, match=r"not reproduced in bfloat16 .*score: largest"):
        OpenVinoEngine(shipped, 1, "bfloat16")


def test_openvino_tells_nobody(bundle, monkeypatch):
    """Its telemetry belongs to converters that are not used here."""
    import openvino_telemetry

    def told(*_arguments, **_options):
        raise AssertionError("telemetry was started")

    monkeypatch.setattr(openvino_telemetry.Telemetry, "__init__", told)
    monkeypatch.setattr(openvino_telemetry.Telemetry, "send_event", told)
    OpenVinoEngine(bundle, 1).infer(np.zeros((1, 1, 128, 128), np.float32))


def test_without_openvino_the_extra_is_named(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineUnavailable, match=r"pip install 'iqgate\[openvino\]'"):
        OpenVinoEngine(bundle)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in ort.get_available_providers(), reason="this one has CUDA"
)
def test_an_onnx_runtime_without_cuda_names_the_extra(bundle):
    with pytest.raises(EngineUnavailable, match=r"no CUDA.*pip install 'iqgate\[cuda\]'"):
        OnnxRuntimeCudaEngine(bundle)


def test_an_onnx_runtime_that_went_on_without_cuda_is_refused(bundle, monkeypatch):
    """It loads the graph on the CPU where CUDA's libraries do not load, and only warns."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    load = ort.InferenceSession
    monkeypatch.setattr(
        ort,
        "InferenceSession",
        lambda graph, options, **_: load(graph, options, providers=["CPUExecutionProvider"]),
    )
    with pytest.raises(EngineUnavailable, match="could not load CUDA or found no GPU"):
        OnnxRuntimeCudaEngine(bundle)


@pytest.mark.usefixtures("on_cpu")
def test_a_gpu_that_is_lost_while_scoring_fails_the_engine(bundle, monkeypatch):
    engine = OnnxRuntimeCudaEngine(bundle, 4)

    class Lost:
        def run_with_iobinding(self, _binding):
            raise RuntimeError("CUDA failure 719")

    monkeypatch.setattr(engine, "_session", Lost())
    with pytest.raises(EngineFailed, match="CUDA failure 719"):
        engine.infer(np.zeros((1, 1, 128, 128), np.float32))


@pytest.mark.gpu
def test_on_this_hosts_gpu_cuda_reproduces_the_shipped_bundle(shipped):
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has no CUDA: docs/tensorrt.md says how to install it")
    for precision in ("float32", "float16"):
        engine = OnnxRuntimeCudaEngine(shipped, 16, precision)
        assert all(one.reproduced for one in engine.golden)


def test_golden_pictures_fill_batches_of_every_size(bundle):
    """An engine may choose other kernels for each size, so each is verified."""
    engine = OnnxRuntimeEngine(bundle, 1)
    asked: list[int] = []

    class Counting:
        name, precision = "onnxruntime", "float32"

        def __init__(self):
            self.bundle = bundle

        def infer(self, batch):
            asked.append(len(batch))
            return engine.infer(batch)

    with np.load(bundle.golden_path) as golden:
        held = len(golden["input"])
    golden_figures(Counting(), (1, held + 3))
    assert asked == [1] * held + [held + 3]


def test_lanes_keep_the_order_and_use_as_many_cores_as_they_are_given():
    lanes = Lanes(3)
    batch = np.arange(7, dtype=np.float32).reshape(7, 1, 1, 1)
    outputs = lanes.run(batch, lambda picture: {"score": picture[:, 0, 0, 0]})
    assert outputs["score"].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert cores(3) == 3
    assert cores(0) == len(os.sched_getaffinity(0))
