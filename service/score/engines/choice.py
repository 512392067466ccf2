"""Which engine a bundle gets: the one that is configured, or none.

An engine that cannot be made ready is replaced only where the configuration names a fallback, and
then with a warning; otherwise it ends the start with the reason.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from models.card import Bundle
from service.config import PRECISIONS, EngineName, Precision, Score
from service.errors import ConfigError, EngineFailed, EngineUnavailable
from service.log import line
from service.score.engines import Engine, Startup

log = logging.getLogger("iqgate.score")


def ready_engines(
    bundles: Sequence[Bundle], settings: Score, cache: Path | None, startup: Startup
) -> dict[str, Engine]:
    """Engines by their bundles' digests, each verified.

    cache: folder of built engines. Raises ConfigError for `score.engines` that name no bundle
    which serves, EngineUnavailable, StartupCalledOff.
    """
    names = [one.card.name for one in bundles]
    for name in settings.engines:
        if name not in names:
            raise ConfigError(
                f"score.engines: no bundle {name!r} serves; those that do: {', '.join(names)}"
            )
    return {one.digest: ready_engine(one, settings, cache, startup) for one in bundles}


def ready_engine(bundle: Bundle, settings: Score, cache: Path | None, startup: Startup) -> Engine:
    """A bundle's engine as configured, or the configured fallback. Raises EngineUnavailable."""
    name = settings.engines.get(bundle.card.name, settings.engine)
    startup.say(f"{bundle.card.name}: loading on {name}")
    try:
        return make(name, bundle, settings, cache, startup)
    except (EngineUnavailable, EngineFailed) as error:  # a device may be lost at the start, too
        instead = settings.fallback
        if instead is None or instead == name:
            raise EngineUnavailable(str(error)) from error
        log.warning(
            line(
                "engine-fallback",
                bundle=bundle.card.name,
                engine=name,
                instead=instead,
                why=error,
            )
        )
        return make(instead, bundle, settings, cache, startup)


def described(engine: Engine) -> str:
    """A bundle and what runs it, in a few words."""
    return f"{engine.bundle.card.name} ({engine.name}, {engine.precision})"


def precision_of(name: EngineName, settings: Score) -> Precision:
    """What an engine computes in: as configured, if it can; else its own default."""
    wanted = settings.precision
    return wanted if wanted in PRECISIONS[name] and wanted is not None else PRECISIONS[name][0]


def make(
    name: EngineName, bundle: Bundle, settings: Score, cache: Path | None, startup: Startup
) -> Engine:
    """An engine by name. Raises EngineUnavailable, StartupCalledOff."""
    precision = precision_of(name, settings)
    match name:
        case "onnxruntime":
            from service.score.engines.onnxruntime import OnnxRuntimeEngine

            return OnnxRuntimeEngine(bundle, settings.threads)
        case "openvino":
            from service.score.engines.openvino import OpenVinoEngine

            return OpenVinoEngine(bundle, settings.threads, precision)
        case "onnxruntime-cuda":
            from service.score.engines.onnxruntime_cuda import OnnxRuntimeCudaEngine

            return OnnxRuntimeCudaEngine(bundle, settings.batch_size, precision)
        case "tensorrt":
            from service.score.engines.tensorrt import TensorRtEngine

            if cache is None:
                raise ConfigError(
                    "score.engine = 'tensorrt' keeps what it builds: give --config a file with "
                    "data_dir, or set score.engine_cache to a folder only the gate writes to"
                )
            return TensorRtEngine(
                bundle, cache, settings.batch_size, precision, settings.cuda_graphs, startup
            )
