"""The names and parameters that the engines use, held against NVIDIA's own Python packages.

Both packages install without a GPU. TensorRT's needs libraries that do not; stand-ins for the nine
functions it links to are compiled, so that its classes can be looked at. Nothing of TensorRT runs.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from service.errors import EngineUnavailable
from service.score.engines.gpu import Gpu, cuda_runtime
from tests.score.engines import nvidia

LINKED = (
    "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
    "createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL",
    "getBuilderPluginRegistry", "getNvOnnxParserVersion", "getPluginRegistry",
    "initLibNvInferPlugins",
)  # fmt: skip
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")

CLASSES = (
    nvidia.Builder, nvidia.INetworkDefinition, nvidia.IBuilderConfig, nvidia.ITimingCache,
    nvidia.IOptimizationProfile, nvidia.OnnxParser, nvidia.Runtime, nvidia.ICudaEngine,
    nvidia.IExecutionContext,
)  # fmt: skip
"""The stand-ins through which the engine's tests prove what it calls."""

SUBCLASSED = {
    "ILogger": {"log": ["severity", "msg"]},
    "IProgressMonitor": {
        "phase_start": ["phase_name", "parent_phase", "num_steps"],
        "step_complete": ["phase_name", "step"],
        "phase_finish": ["phase_name"],
    },
}
MEMBERS = {
    "BuilderFlag": ["TF32"],
    "DataType": ["FLOAT"],
    "TensorIOMode": ["INPUT", "OUTPUT"],
    "ExecutionContextAllocationStrategy": ["USER_MANAGED"],
}

LOOK = """
import inspect, json, sys
import tensorrt_bindings as trt
from service.score.engines import Startup
from service.score.engines.plan import logger, monitor

found = {"version": trt.__version__}
for name in json.loads(sys.argv[1]):
    kind = getattr(trt, name)
    found[name] = {one: inspect.getdoc(getattr(kind, one)) or "" for one in dir(kind)}
said = []
watching = monitor(trt, "engine", Startup(said.append, lambda: len(said) > 1))
watching.phase_start("Building", None, 2)
found["monitor"] = [watching.step_complete("Building", step) for step in range(2)], said
logger(trt).log(trt.ILogger.Severity.WARNING, "heard")
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def bindings(tmp_path_factory) -> dict:
    """TensorRT's classes: their attributes with their documentation, by class."""
    if importlib.util.find_spec("tensorrt_bindings") is None:
        pytest.skip("no bindings: pip install --no-deps tensorrt-cu13-bindings")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to make stand-ins for TensorRT's libraries with")
    folder = tmp_path_factory.mktemp("libraries")
    source = folder / "nvinfer.c"
    source.write_text("".join(f"void* {name}(void) {{ return 0; }}\n" for name in LINKED))
    for name in LIBRARIES:
        so = f"lib{name}.so.11"
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{so}", "-o", folder / so, source]
        subprocess.run(command, check=True)
    names = [one.__name__ for one in CLASSES] + [*SUBCLASSED, *MEMBERS]
    looked = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOOK, json.dumps(names)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "LD_LIBRARY_PATH": str(folder)},
    )
    return json.loads(looked.stdout)


def parameters(documented: str) -> list[list[str]]:
    """The parameters' names of each overload, from pybind11's documentation."""
    signatures = re.findall(r"^(?:\d+\. )?\w+\(self: [^,)]+(?:, )?(.*)\) ->", documented, re.M)
    return [re.findall(r"(?:^|, )(\w+):", one) for one in signatures]


def test_they_are_of_the_version_the_engine_is_written_for(bindings):
    assert bindings["version"].split(".")[0] == "11"


@pytest.mark.parametrize("fake", CLASSES, ids=lambda one: one.__name__)
def test_what_the_engine_calls_is_there_with_these_parameters(bindings, fake):
    real = bindings[fake.__name__]
    own = {"trt", "content", "network", "graph", "profiles", "shapes", "session", "inputs",
           "outputs", "engine", "addresses", "warm", "profile", "shape", "timings",
           "flags_cleared"}  # fmt: skip
    for name, member in vars(fake).items():
        if name.startswith("_") or name in own:
            continue
        assert name in real, f"{fake.__name__}.{name}"
        if inspect.isfunction(member):
            taken = list(inspect.signature(member).parameters)[1:]
            assert any(taken == one[: len(taken)] for one in parameters(real[name])), real[name]


@pytest.mark.parametrize("name", SUBCLASSED)
def test_what_the_engine_overrides_is_called_with_these_parameters(bindings, name):
    for method, taken in SUBCLASSED[name].items():
        assert parameters(bindings[name][method]) == [taken]


@pytest.mark.parametrize("name", MEMBERS)
def test_the_enumerations_have_the_members_that_the_engine_names(bindings, name):
    assert set(MEMBERS[name]) <= set(bindings[name])


def test_networks_are_strongly_typed_without_being_told(bindings):
    """And the flags that asked for FP16 and INT8 in weakly typed networks are gone."""
    assert not {"FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS"} & set(bindings["BuilderFlag"])


def test_our_logger_and_monitor_are_accepted_as_tensorrts(bindings):
    assert bindings["monitor"] == [
        [True, False],
        ["engine: Building, 50 %", "engine: Building, 100 %"],
    ]


@pytest.fixture(scope="module")
def runtime():
    return pytest.importorskip("cuda.bindings.runtime", reason="no cuda-bindings")


def test_the_cuda_runtime_has_the_functions_with_these_parameters(runtime):
    for name, member in vars(nvidia.FakeCuda).items():
        if not name.startswith("cuda"):
            continue
        real = getattr(runtime, name)
        if inspect.isfunction(member):
            taken = list(inspect.signature(member).parameters)[1:]
            listed = inspect.getdoc(real).splitlines()[0].partition("(")[2].rstrip(")")
            assert len(taken) == len([one for one in listed.split(",") if one.strip()]), listed
        elif isinstance(member, int):
            assert int(real) == member
        else:
            for constant, value in vars(member).items():
                assert int(getattr(real, constant)) == value
    assert {"name", "major", "minor"} <= set(dir(runtime.cudaDeviceProp()))
    assert int(runtime.cudaError_t.cudaErrorLaunchFailure) == 719


def test_this_host_without_a_gpu_is_told_so_by_cuda_itself(runtime):
    error, count = runtime.cudaGetDeviceCount()
    if not int(error) and count:
        pytest.skip("this host has a GPU")
    with pytest.raises(EngineUnavailable, match=r"no NVIDIA GPU can be used on this host \(.+\)"):
        Gpu(cuda_runtime("score.engine = 'tensorrt'"))
