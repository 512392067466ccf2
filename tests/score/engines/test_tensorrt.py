"""The TensorRT engine on a stand-in of TensorRT: what is built, kept, recorded, refused; and, on a
host that has TensorRT, the real thing."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import re
import sys

import numpy as np
import pytest

from service.errors import EngineFailed, EngineUnavailable, StartupCalledOff
from service.score.engines import Startup
from service.score.engines.cache import EngineCache
from service.score.engines.onnxruntime import OnnxRuntimeEngine
from service.score.engines.tensorrt import TensorRtEngine
from tests.score.engines.nvidia import FakeCuda, FakeTensorRt, install


def pictures(bundle, count):
    shape = (count, *bundle.card.input_shape)
    return np.random.default_rng(count).random(shape, np.float32)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 21])
@pytest.mark.parametrize("cuda_graphs", [True, False])
def test_any_number_of_pictures_is_scored_in_their_order(bundle, tmp_path, gpu, count, cuda_graphs):
    engine = TensorRtEngine(bundle, tmp_path / "engines", 8, "float32", cuda_graphs)
    batch = pictures(bundle, count) * np.arange(1, count + 1, dtype=np.float32)[:, None, None, None]
    expected = 4 - batch.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(engine.infer(batch)["score"], expected, atol=1e-5)
    assert bool(gpu[0].launches) is cuda_graphs


@pytest.mark.usefixtures("gpu")
def test_a_shipped_bundle_in_fp16_is_served_within_two_hundredths_of_a_score(shipped, tmp_path):
    engine = TensorRtEngine(shipped, tmp_path, 2)
    exact = OnnxRuntimeEngine(shipped)
    with np.load(shipped.golden_path) as golden:
        batch = golden["input"][:3]
    got, expected = engine.infer(batch), exact.infer(batch)
    assert {name: one.shape for name, one in got.items()} == {
        name: one.shape for name, one in expected.items()
    }
    assert 0 < np.abs(got["score"] - expected["score"]).max() < 0.01
    assert [one.measure for one in engine.golden] == ["largest", "mean", "largest"]
    assert all(one.allowed == 0.02 for one in engine.golden)


def test_an_engine_is_built_once_and_then_read(bundle, tmp_path, gpu):
    trt = gpu[1]
    first = TensorRtEngine(bundle, tmp_path / "engines", 4)
    second = TensorRtEngine(bundle, tmp_path / "engines", 4)
    assert (first.built, second.built, trt.builds) == (True, False, 1)
    assert EngineCache(tmp_path / "engines").read(first.key) is not None


def test_what_the_engine_depends_on_has_it_built_anew(bundle, tmp_path, monkeypatch):
    """Another GPU, another TensorRT, another precision, other batch sizes, another network."""
    cuda = FakeCuda()
    trt = FakeTensorRt(cuda)
    install(monkeypatch, cuda, trt)
    TensorRtEngine(bundle, tmp_path / "engines", 4, "float32")
    steps = [
        lambda: setattr(cuda, "name", b"NVIDIA Other GPU"),
        lambda: setattr(cuda, "capability", (10, 0)),
        lambda: setattr(trt, "__version__", "11.5.0.1"),
    ]
    for number, change in enumerate(steps, start=2):
        change()
        TensorRtEngine(bundle, tmp_path / "engines", 4, "float32")
        assert trt.builds == number
    TensorRtEngine(bundle, tmp_path / "engines", 4, "float16")
    TensorRtEngine(bundle, tmp_path / "engines", 8, "float32")
    retrained = dataclasses.replace(
        bundle, card=dataclasses.replace(bundle.card, sha256={"model.onnx": "0" * 64})
    )
    TensorRtEngine(retrained, tmp_path / "engines", 4, "float32")
    assert trt.builds == 7


def test_timings_are_kept_for_the_next_build(bundle, tmp_path, gpu):
    trt = gpu[1]
    TensorRtEngine(bundle, tmp_path / "engines", 4)
    assert trt.knew == b""
    engine = TensorRtEngine(bundle, tmp_path / "engines", 8)
    assert trt.knew == b"timings"
    EngineCache(tmp_path / "engines").write_timings(engine.key, b"of another GPU")
    TensorRtEngine(bundle, tmp_path / "engines", 2)
    assert trt.knew == b"", "timings that TensorRT does not take are dropped, not fatal"


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("left", [b"", b"{}\n", b"half a li"])
def test_a_half_written_engine_is_built_anew(bundle, tmp_path, left):
    engine = TensorRtEngine(bundle, tmp_path / "engines", 4)
    path = engine.cache.path(engine.key)
    whole = path.read_bytes()
    path.write_bytes(left or whole[: len(whole) // 2])
    again = TensorRtEngine(bundle, tmp_path / "engines", 4)
    assert again.built
    assert path.read_bytes() == whole


@pytest.mark.usefixtures("gpu")
def test_progress_is_told_and_a_build_can_be_called_off(bundle, tmp_path):
    said: list[str] = []
    TensorRtEngine(bundle, tmp_path / "engines", 4, startup=Startup(said.append))
    assert "building for NVIDIA Model GPU" in said[0]
    assert [re.findall(r"(\d+) %", one) for one in said[1:-1]] == [["20"], ["50"], ["70"], ["100"]]
    assert said[-1].endswith(".engine")
    with pytest.raises(StartupCalledOff, match="called off"):
        TensorRtEngine(bundle, tmp_path / "other", 4, startup=Startup(stopping=lambda: True))
    assert not list((tmp_path / "other").glob("*.engine"))


def test_an_engine_that_misses_the_golden_outputs_is_refused_with_the_figures(
    bundle, tmp_path, gpu
):
    gpu[1].worse = 0.03
    with pytest.raises(EngineUnavailable, match=r"score: largest difference 0\.03.*allowed 0\.02"):
        TensorRtEngine(bundle, tmp_path / "engines", 4)
    assert not list((tmp_path / "engines").glob("*.engine")), "and it is not kept"
    gpu[1].worse = float("nan")
    with pytest.raises(EngineUnavailable, match="difference nan"):
        TensorRtEngine(bundle, tmp_path / "engines", 4)


def test_a_graph_that_tensorrt_cannot_read_is_refused_with_its_reasons(bundle, tmp_path, gpu):
    gpu[1].refuses = True
    with pytest.raises(EngineUnavailable, match="cannot read the graph: no importer for Strange"):
        TensorRtEngine(bundle, tmp_path / "engines", 4)


def test_a_host_without_a_gpu_is_told(bundle, tmp_path, monkeypatch):
    cuda = FakeCuda(gpus=0)
    install(monkeypatch, cuda, FakeTensorRt(cuda))
    with pytest.raises(EngineUnavailable, match=r"no NVIDIA GPU .*no device.*nvidia-smi"):
        TensorRtEngine(bundle, tmp_path / "engines", 4)


def test_a_gpu_that_is_lost_while_scoring_fails_with_cudas_words(bundle, tmp_path, gpu):
    engine = TensorRtEngine(bundle, tmp_path / "engines", 4)
    gpu[0].failing = True
    with pytest.raises(EngineFailed, match="unspecified launch failure, CUDA error 719"):
        engine.infer(pictures(bundle, 1))


def test_a_gpu_that_cannot_record_names_the_setting(bundle, tmp_path, gpu):
    gpu[0].failing = True
    with pytest.raises(EngineUnavailable, match=r"score\.cuda_graphs = false"):
        TensorRtEngine(bundle, tmp_path / "engines", 4)


def test_without_tensorrt_the_extra_is_named(bundle, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineUnavailable, match=r"pip install 'iqgate\[tensorrt\]'"):
        TensorRtEngine(bundle, tmp_path / "engines", 4)


def test_an_old_tensorrt_is_named(bundle, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", FakeTensorRt(FakeCuda(), "10.13.3.9"))
    with pytest.raises(EngineUnavailable, match=r"needs TensorRT 11; 10\.13\.3\.9 is installed"):
        TensorRtEngine(bundle, tmp_path / "engines", 4)


def test_tensorrts_messages_reach_the_log(caplog):
    from service.score.engines.plan import logger

    trt = FakeTensorRt(FakeCuda())
    with caplog.at_level(logging.DEBUG, "iqgate.score.tensorrt"):
        for severity in trt.ILogger.Severity:
            logger(trt).log(severity, f"it is {severity.name}")
    assert [one.levelname for one in caplog.records] == [
        "ERROR", "ERROR", "WARNING", "DEBUG", "DEBUG",
    ]  # fmt: skip


@pytest.mark.gpu
def test_on_this_hosts_gpu_tensorrt_reproduces_the_shipped_bundle(shipped, tmp_path):
    """Runs wherever TensorRT imports."""
    if importlib.util.find_spec("tensorrt") is None:
        pytest.skip(
            "TensorRT is not installed: pip install 'iqgate[tensorrt]' on a host with a GPU"
        )
    engine = TensorRtEngine(shipped, tmp_path / "engines", 16)
    again = TensorRtEngine(shipped, tmp_path / "engines", 16)
    assert (engine.built, again.built) == (True, False)
    assert all(one.reproduced for one in engine.golden)
    exact = OnnxRuntimeEngine(shipped)
    with np.load(shipped.golden_path) as golden:
        batch = np.concatenate([golden["input"]] * 4)[:21]
    expected = exact.infer(batch)["score"]
    assert np.abs(again.infer(batch)["score"] - expected).max() <= 0.02
    exactly = TensorRtEngine(shipped, tmp_path / "engines", 2, "float32", cuda_graphs=False)
    assert np.abs(exactly.infer(batch)["score"] - expected).max() <= 1e-3
