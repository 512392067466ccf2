"""Measuring: a bundle's or a network's scores against the scores of a dataset.

`runtime` runs a bundle by ONNX Runtime, `measure` reports its figures; `trainer.plots` draws them
and `trainer.significance` compares two models.
"""

from trainer.evaluation.measure import BOOTSTRAP_SEED, draw, evaluate, figures, read_data
from trainer.evaluation.runtime import (
    BATCH,
    Scores,
    bundle_scores,
    fit_input,
    milliseconds_per_slice,
    session,
)

__all__ = [
    "BATCH",
    "BOOTSTRAP_SEED",
    "Scores",
    "bundle_scores",
    "draw",
    "evaluate",
    "figures",
    "fit_input",
    "milliseconds_per_slice",
    "read_data",
    "session",
]
