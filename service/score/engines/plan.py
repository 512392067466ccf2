"""From an ONNX graph to a TensorRT plan (TensorRT 11, strongly typed).

Networks of TensorRT 11 are strongly typed always: each operation runs in the types that the graph
names. TF32 is turned off, so that an FP32 graph is computed in FP32.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from service.errors import EngineUnavailable, StartupCalledOff
from service.log import line
from service.score.engines import Startup
from service.score.engines.profiles import Profile

log = logging.getLogger("iqgate.score.tensorrt")

OLDEST = 11
"""The oldest major version whose interface this is written for."""


def load_tensorrt() -> Any:
    """The module `tensorrt`. Raises EngineUnavailable naming what is missing."""
    try:
        import tensorrt
    except ImportError as error:
        raise EngineUnavailable(
            f"score.engine = 'tensorrt' cannot be loaded ({error}); "
            "install it with: pip install 'iqgate[tensorrt]'"
        ) from error
    if int(tensorrt.__version__.split(".")[0]) < OLDEST:
        raise EngineUnavailable(
            f"score.engine = 'tensorrt' needs TensorRT {OLDEST}; {tensorrt.__version__} is "
            "installed: pip install --upgrade 'iqgate[tensorrt]'"
        )
    return tensorrt


def logger(trt: Any) -> Any:
    """TensorRT's messages, warnings and worse, in the gate's log."""
    severity = trt.ILogger.Severity
    levels = {
        severity.INTERNAL_ERROR: logging.ERROR,
        severity.ERROR: logging.ERROR,
        severity.WARNING: logging.WARNING,
        severity.INFO: logging.DEBUG,
        severity.VERBOSE: logging.DEBUG,
    }

    class Logger(trt.ILogger):  # type: ignore[misc]
        def log(self, level: Any, message: str) -> None:
            log.log(levels[level], line("tensorrt", says=message))

    return Logger()


def monitor(trt: Any, label: str, startup: Startup) -> Any:
    """Says how far a build has got, in tenths of its outermost phase, and ends it when the process
    is asked to end. TensorRT calls it from several threads."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}
            self._said: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if not parent_phase:
                self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            steps = self._steps.get(phase_name)
            if steps:
                tenth = 10 * (step + 1) // steps
                if tenth > self._said.get(phase_name, 0):
                    self._said[phase_name] = tenth
                    startup.say(f"{label}: {phase_name}, {10 * tenth} %")
            return not startup.stopping()

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()


def build_plan(
    trt: Any,
    graph: bytes,
    input_shape: tuple[int, int, int],
    profiles: Sequence[Profile],
    timings: bytes,
    label: str,
    startup: Startup,
) -> tuple[bytes, bytes]:
    """Build a graph of one input `[B, C, H, W]` for this GPU: the serialized plan, and all that is
    known of kernels' timings, what `timings` held included.

    Raises EngineUnavailable with TensorRT's reasons, StartupCalledOff when asked to end.
    """
    messages = logger(trt)
    builder = trt.Builder(messages)
    if builder is None:
        raise EngineUnavailable(f"{label}: TensorRT cannot start a builder; see the log")
    network = builder.create_network()
    parser = trt.OnnxParser(network, messages)
    if not parser.parse(graph):
        reasons = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise EngineUnavailable(f"{label}: TensorRT cannot read the graph: {'; '.join(reasons)}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    watching = monitor(trt, label, startup)
    config.progress_monitor = watching
    known = config.create_timing_cache(timings)
    if not config.set_timing_cache(known, False):
        known = config.create_timing_cache(b"")  # of another GPU, or of another TensorRT
        config.set_timing_cache(known, False)
    name = network.get_input(0).name
    for one in profiles:
        shapes = [(size, *input_shape) for size in (one.smallest, one.best, one.largest)]
        profile = builder.create_optimization_profile()
        profile.set_shape(name, *shapes)
        if config.add_optimization_profile(profile) < 0:
            raise EngineUnavailable(f"{label}: TensorRT refuses batches of {one}")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        if startup.stopping():
            raise StartupCalledOff(f"{label}: building was called off")
        raise EngineUnavailable(f"{label}: TensorRT cannot build the graph; its log says why")
    return bytes(plan), bytes(config.get_timing_cache().serialize())
