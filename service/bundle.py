"""`iqgate bundle`: what lies in a folder of bundles, and what their engines do on this host.

`verify` readies each bundle's engine as the gate would, and tells its golden figures, its speed and
the memory it took. `build` does the part of that which takes minutes, ahead of the gate's start.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.card import Bundle, CardError, load_bundles
from service.config import Score
from service.errors import ConfigError, EngineUnavailable
from service.score.bundles import chosen as serving
from service.score.engines import Engine, Startup
from service.score.engines.choice import ready_engine

ROUNDS = 9
"""Timed batches of each size."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Pace:
    """Milliseconds a slice took in batches of one size: median, lowest and highest of ROUNDS."""

    batch: int
    median_ms: float
    lowest_ms: float
    highest_ms: float

    def __str__(self) -> str:
        return (
            f"{self.median_ms:.2f} ms a slice ({self.lowest_ms:.2f}–{self.highest_ms:.2f}, "
            f"n = {ROUNDS}), {1000 / self.median_ms:.0f} slices/s"
        )


def run(
    action: str,
    folder: Path,
    served: Sequence[str],
    name: str | None,
    settings: Score,
    cache: Path | None,
    say: Say,
) -> bool:
    """List, show, verify or build the bundles of a folder, or the one that is named; whether all of
    them may serve.

    served: as `score.serve` names them; cache: folder of built engines. Raises ConfigError.
    """
    try:
        bundles = load_bundles(folder)
    except CardError as error:
        raise ConfigError(str(error)) from error
    serve = {one.digest for one in serving(bundles, served, folder)}
    chosen = [one for one in bundles if name in (None, one.card.name)]
    if not chosen:
        raise ConfigError(f"{folder}: no bundle {name or ''} there")
    good = True
    for one in chosen:
        card = one.card
        serves = "  serves" if one.digest in serve else ""
        say(
            f"{card.name} {card.version}  {card.modality}  "
            f"{card.architecture}/{card.preset}{serves}"
        )
        match action:
            case "show":
                say((one.folder / "card.toml").read_text("utf-8"))
            case "verify" | "build":
                good &= _readied(one, settings, cache, say, timed=action == "verify")
    return good


def _readied(bundle: Bundle, settings: Score, cache: Path | None, say: Say, *, timed: bool) -> bool:
    """Make a bundle's engine ready and tell what came of it; False where it is refused."""
    began = time.perf_counter()
    startup = Startup(lambda what: say(f"  …        {what}"))
    try:
        engine = ready_engine(bundle, settings, cache, startup)
    except EngineUnavailable as error:
        say(f"  refused  {error}")
        return False
    took_s = time.perf_counter() - began
    say(f"  engine   {engine.name}, {engine.precision}; {_origin(engine)} in {took_s:.1f} s")
    for figure in engine.golden:
        say(f"  golden   {figure}")
    if timed:
        for size in sorted({1, settings.batch_size}):
            say(f"  batch {size:<3}{pace(engine, size)}")
        say(f"  memory   {resident_mib()} MiB resident in this process")
    return True


def _origin(engine: Engine) -> str:
    """How the engine came to be: loaded, or for TensorRT built or read from which file."""
    from service.score.engines.tensorrt import TensorRtEngine

    if not isinstance(engine, TensorRtEngine):
        return "loaded"
    path = engine.cache.path(engine.key)
    size_mb = path.stat().st_size / 1e6
    return f"{'built' if engine.built else 'read from'} {path} ({size_mb:.1f} MB)"


def pace(engine: Engine, size: int) -> Pace:
    """How long batches of a size take, on pictures of noise."""
    shape = (size, *engine.bundle.card.input_shape)
    batch = np.random.default_rng(0).random(shape, np.float32)
    engine.infer(batch)
    took_ms = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        engine.infer(batch)
        took_ms.append(1000 * (time.perf_counter() - began) / size)
    return Pace(size, statistics.median(took_ms), min(took_ms), max(took_ms))


def resident_mib() -> int:
    """Memory this process holds at present (Linux)."""
    fields = Path("/proc/self/status").read_text().split("VmRSS:")[1].split()
    return int(fields[0]) // 1024
