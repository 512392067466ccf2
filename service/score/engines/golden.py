"""An engine's licence to serve: the golden outputs of its bundle, reproduced on this host."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from service.errors import EngineUnavailable
from service.score.engines import Engine, GoldenFigure

REDUCED_TOLERANCE = 0.02
"""How far the score of a slice may lie from the golden one where an engine computes in FP16 or
bfloat16, in points of the score. In FP32 the tolerance in golden.npz holds (1e-3)."""


def golden_figures(engine: Engine, sizes: Sequence[int] = ()) -> tuple[GoldenFigure, ...]:
    """Run the golden pictures, in batches of each of `sizes` (default: all at once); the worst
    figure of each output. Pictures are repeated where a batch is larger than there are."""
    bundle = engine.bundle
    with np.load(bundle.golden_path) as golden:
        pictures = golden["input"]
        exact = engine.precision == "float32"
        allowed = float(golden["tolerance"]) if exact else REDUCED_TOLERANCE
        figures: dict[str, GoldenFigure] = {}
        for size in sizes or (len(pictures),):
            rows = np.arange(max(size, len(pictures))) % len(pictures)
            for start in range(0, len(rows) - size + 1, size):
                chosen = rows[start : start + size]
                outputs = engine.infer(pictures[chosen])
                for name in bundle.card.outputs:
                    off = np.abs(outputs[name].astype(np.float64) - golden[name][chosen])
                    mean = not exact and off.ndim > 1
                    figure = GoldenFigure(
                        name,
                        "mean" if mean else "largest",
                        float(off.mean() if mean else off.max()),
                        allowed,
                    )
                    known = figures.get(name)
                    if known is None or not figure.difference <= known.difference:
                        figures[name] = figure
    return tuple(figures.values())


def verify_golden(engine: Engine, sizes: Sequence[int] = ()) -> tuple[GoldenFigure, ...]:
    """The figures of `golden_figures`. Raises EngineUnavailable with all of them where one lies
    beyond its tolerance."""
    figures = golden_figures(engine, sizes)
    if not all(one.reproduced for one in figures):
        card = engine.bundle.card
        raise EngineUnavailable(
            f"bundle {card.name} {card.version}: its golden outputs are not reproduced in "
            f"{engine.precision} on this host ({'; '.join(map(str, figures))}); it is not served "
            "by this engine. Compute in float32 (score.precision), choose another engine "
            "(score.engine), or fetch the bundle again."
        )
    return figures
