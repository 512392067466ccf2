"""Measuring: a bundle's or a network's scores against the scores of a dataset.

`runtime` runs a bundle by ONNX Runtime, `measure` reports its figures, `series` scores DICOM series
that nobody has scored; `trainer.plots` draws figures, `trainer.significance` compares two models.
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
from trainer.evaluation.series import evaluate_series

__all__ = [
    "BATCH",
    "BOOTSTRAP_SEED",
    "Scores",
    "bundle_scores",
    "draw",
    "evaluate",
    "evaluate_series",
    "figures",
    "fit_input",
    "milliseconds_per_slice",
    "read_data",
    "session",
]
