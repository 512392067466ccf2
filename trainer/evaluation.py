"""Measuring a bundle: its scores, by ONNX Runtime, against the targets of a simulated set."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from models.card import Bundle, load_bundle
from trainer import metrics
from trainer.datasets import DatasetError, SimulatedSet

Scores = npt.NDArray[np.float32]

BATCH = 16
BOOTSTRAP_SEED = 20


def session(model: Path, threads: int = 2) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def bundle_scores(bundle: Bundle, pictures: npt.NDArray[Any], threads: int = 2) -> Scores:
    """Scores `[n]` of pictures `[n, C, H, W]`."""
    running = session(bundle.model_path, threads)
    name = running.get_inputs()[0].name
    parts = [
        running.run(["score"], {name: np.asarray(pictures[start : start + BATCH], np.float32)})[0]
        for start in range(0, len(pictures), BATCH)
    ]
    return np.concatenate(parts).astype(np.float32)


def evaluate(folder: Path, data: SimulatedSet, threads: int = 2) -> dict[str, Any]:
    """Figures of the bundle in `folder` on a simulated set.

    Raises CardError for a broken bundle, DatasetError where the set was drawn differently.
    """
    bundle = load_bundle(folder)
    if asdict(bundle.card.render) != data.render:
        raise DatasetError(
            f"{folder}: renders {asdict(bundle.card.render)}, "
            f"the set was drawn with {data.render}; simulate it again with the bundle's recipe"
        )
    return figures(bundle_scores(bundle, data.pictures, threads), data)


def figures(scores: Scores, data: SimulatedSet) -> dict[str, Any]:
    """Agreement with the targets, and mean score and target at each severity of a grid."""
    slices = np.array([f"{entry.source}/{entry.slice}" for entry in data.entries])
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    agreement = metrics.agreement(scores, data.targets, slices, rng)
    severities = np.array([entry.severity for entry in data.entries])
    levels = sorted(set(severities.tolist()))
    result: dict[str, Any] = {
        "n": agreement.n,
        "slices": len(set(slices.tolist())),
        "plcc": agreement.plcc,
        "plcc_interval": list(agreement.plcc_interval),
        "srocc": agreement.srocc,
        "srocc_interval": list(agreement.srocc_interval),
        "krocc": agreement.krocc,
        "overall": agreement.overall,
        "rmse": agreement.rmse,
    }
    # A set of random severities has about as many levels as pictures; a grid has a handful.
    if len(levels) <= 10:
        result["severities"] = levels
        result["mean_score"] = [float(scores[severities == level].mean()) for level in levels]
        result["mean_target"] = [
            float(data.targets[severities == level].mean()) for level in levels
        ]
    return result


def milliseconds_per_slice(bundle: Bundle, batch: int, threads: int, repeats: int = 20) -> float:
    """Median time of a slice in ms, in batches of `batch`, input already drawn."""
    running = session(bundle.model_path, threads)
    name = running.get_inputs()[0].name
    pictures = np.zeros((batch, *bundle.card.input_shape), np.float32)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        running.run(None, {name: pictures})
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1000 / batch
