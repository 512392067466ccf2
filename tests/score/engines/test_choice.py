"""Which engine a bundle gets: the configured one or none, and how the role starts with it."""

from __future__ import annotations

import logging
import sys
import threading

import pytest

from service import serve
from service.config import Score, Settings, load_settings
from service.errors import ConfigError, EngineFailed, EngineUnavailable, StartupCalledOff
from service.ledger import reading
from service.ledger.tables import FrameState
from service.role import Heart
from service.score.engines import Startup
from service.score.engines.choice import described, precision_of, ready_engines
from service.score.ready import ready_scorer
from service.score.scorer import Scorer
from service.watch.health import readiness
from tests.score.engines.nvidia import FakeCuda, FakeTensorRt, install
from tests.score.test_worker import Gate


def ready(bundle, tmp_path, **settings):
    engines = ready_engines([bundle], Score(**settings), tmp_path / "engines", Startup())
    return engines[bundle.digest]


def test_the_engine_is_the_one_that_is_configured(bundle, tmp_path):
    assert described(ready(bundle, tmp_path)) == "ct (onnxruntime, float32)"
    assert described(ready(bundle, tmp_path, engine="openvino")) == "ct (openvino, float32)"


def test_a_single_bundle_may_have_another(bundle, tmp_path):
    name = bundle.card.name
    assert ready(bundle, tmp_path, engines={name: "openvino"}).name == "openvino"
    with pytest.raises(ConfigError, match=rf"score\.engines: no bundle 'cr' serves.*{name}"):
        ready(bundle, tmp_path, engines={"cr": "openvino"})


def test_without_a_fallback_the_start_fails(bundle, tmp_path, monkeypatch):
    cuda = FakeCuda(gpus=0)
    install(monkeypatch, cuda, FakeTensorRt(cuda))
    with pytest.raises(EngineUnavailable, match="no NVIDIA GPU"):
        ready(bundle, tmp_path, engine="tensorrt")


def test_a_fallback_that_is_named_takes_over_and_the_log_says_so(
    bundle, tmp_path, monkeypatch, caplog
):
    cuda = FakeCuda(gpus=0)
    install(monkeypatch, cuda, FakeTensorRt(cuda))
    with caplog.at_level(logging.WARNING):
        engine = ready(bundle, tmp_path, engine="tensorrt", fallback="onnxruntime")
    assert engine.name == "onnxruntime"
    (record,) = caplog.records
    assert "engine-fallback" in record.message
    assert "no NVIDIA GPU" in record.message


def test_a_gpu_that_is_lost_at_the_start_is_an_engine_that_cannot_run(bundle, tmp_path, gpu):
    gpu[0].failing = True
    with pytest.raises(EngineUnavailable, match="CUDA error 719"):
        ready(bundle, tmp_path, engine="tensorrt")
    engine = ready(bundle, tmp_path, engine="tensorrt", fallback="onnxruntime")
    assert engine.name == "onnxruntime"


def test_a_fallback_that_cannot_run_either_fails_the_start(bundle, tmp_path, monkeypatch):
    cuda = FakeCuda(gpus=0)
    install(monkeypatch, cuda, FakeTensorRt(cuda))
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineUnavailable, match=r"iqgate\[openvino\]"):
        ready(bundle, tmp_path, engine="tensorrt", fallback="openvino")


def test_tensorrt_keeps_nothing_in_a_folder_that_nobody_named(bundle):
    with pytest.raises(ConfigError, match=r"score\.engine_cache"):
        ready_engines([bundle], Score(engine="tensorrt"), None, Startup())


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ('engine = "tensor-rt"', "score.engine: .*'onnxruntime', 'openvino'"),
        ('precision = "float16"', "'onnxruntime' computes in float32, not in float16"),
        ('engine = "tensorrt"\nprecision = "bfloat16"', "float16 or float32, not in bfloat16"),
        ('fallback = "cpu"', "score.fallback: "),
    ],
)
def test_a_wrong_setting_is_named_with_what_there_is(tmp_path, given, fault):
    config = tmp_path / "iqgate.toml"
    config.write_text(f'mode = "shadow"\ndata_dir = "data"\n[score]\n{given}\n')
    with pytest.raises(ConfigError, match=fault):
        load_settings(config)


def test_each_engine_has_a_precision_of_its_own(tmp_path):
    assert precision_of("tensorrt", Score()) == "float16"
    assert precision_of("onnxruntime-cuda", Score()) == "float32"
    asked = Score(engine="tensorrt", precision="float32", fallback="onnxruntime")
    assert precision_of("tensorrt", asked) == "float32"
    reduced = Score(engine="onnxruntime-cuda", precision="float16")
    assert precision_of("onnxruntime", reduced) == "float32", "the only one it knows"
    config = tmp_path / "iqgate.toml"
    config.write_text('mode = "shadow"\ndata_dir = "data"\n[score]\nengine_cache = "built"\n')
    assert load_settings(config).engine_cache == tmp_path / "built"
    assert Settings(mode="shadow", data_dir=tmp_path).engine_cache == tmp_path / "engines"


def test_serve_starts_a_worker_for_each_gpu(tmp_path):
    def started(**score):
        settings = Settings(mode="shadow", data_dir=tmp_path, score=Score(**score))
        return [one for one in serve.processes(settings) if one[0] == "score"]

    assert started() == [("score", None)]
    assert started(gpus=("0", "GPU-8a6c")) == [("score", "0"), ("score", "GPU-8a6c")]
    roles = [role for role, _ in serve.processes(Settings(mode="shadow", data_dir=tmp_path))]
    assert sorted(roles) == sorted([*serve.ROLES, "receive"]), "two receivers, one of each other"


@pytest.fixture
def settings(bundle, tmp_path):
    return Settings(
        mode="shadow",
        data_dir=tmp_path,
        score=Score(bundles=bundle.folder.parent, engine="tensorrt", batch_size=4),
    )


def test_the_gate_is_not_ready_while_an_engine_is_built_and_says_how_far_it_is(
    database, settings, gpu
):
    heart = Heart(database, "score", clock=lambda: 100.0)
    seen: list[str] = []
    say = heart.say

    def watched(detail: str) -> None:
        say(detail)
        seen.extend(readiness(database, 100.0).reasons)

    heart.say = watched
    scorer = ready_scorer(settings, heart, threading.Event())
    assert gpu[1].builds == 1
    assert "score: not ready (TensorRT engine of ct (float16): Building, 50 %)" in seen
    heart.ready(", ".join(described(one) for one in scorer.engines.values()))
    assert not [one for one in readiness(database, 100.0).reasons if "score" in one]
    with database.read() as connection:
        (role,) = reading.roles(connection, 100.0)
    assert role.detail == "ct (tensorrt, float16)"


def test_asked_to_end_a_start_is_called_off(database, settings, gpu):
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(StartupCalledOff):
        ready_scorer(settings, Heart(database, "score", clock=lambda: 100.0), stopped)
    assert gpu[1].builds == 1


def test_a_lost_gpu_ends_the_worker_and_its_frames_wait_for_the_next(settings, gpu):
    scorer = Scorer(settings.bundles, settings.score, settings.engine_cache)
    gate = Gate(settings.data_dir, scorer, 3)
    worker = gate.worker()
    gpu[0].failing = True
    with pytest.raises(EngineFailed, match="CUDA error 719"):
        worker.step()
    worker.close()
    gpu[0].failing = False
    successor = gate.worker()
    while successor.step():
        pass
    successor.close()
    assert gate.frames() == [(FrameState.SCORED, 2)] * 2 + [(FrameState.SCORED, 1)]
    gate.wake.close()
    gate.database.dispose()
