"""What an evaluation reports: agreement, intervals, and figures by group and by severity."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.card import load_bundle
from trainer import metrics
from trainer.datasets import (
    CLEAN,
    MANIFEST_NAME,
    DatasetError,
    ScoredImages,
    SimulatedSet,
    load,
    read_set,
)
from trainer.evaluation.runtime import bundle_scores

BOOTSTRAP_SEED = 20
FEW_LEVELS = 10
"""Severities up to which a simulated set is a grid: random ones are about as many as pictures."""


def read_data(folder: Path, group: str | None = None) -> SimulatedSet | ScoredImages:
    """A simulated set, or else a plain scored folder with its column of groups.

    Images without a score are left out. Raises DatasetError naming what is missing.
    """
    if (folder / MANIFEST_NAME).exists():
        if group is not None:
            raise DatasetError(f"{folder}: a simulated set is grouped by slice; leave out --group")
        return read_set(folder)
    return load("folder", folder, group=group).labelled


def evaluate(
    folder: Path,
    data: SimulatedSet | ScoredImages,
    threads: int = 2,
    *,
    logistic: bool = False,
    by_group: bool = False,
    plots: Path | None = None,
) -> dict[str, Any]:
    """Figures of the bundle in `folder` on a dataset; see `figures`.

    plots: a folder to draw them into.

    Raises CardError for a broken bundle, DatasetError where a simulated set was drawn differently
    or an image cannot be read.
    """
    bundle = load_bundle(folder)
    if isinstance(data, SimulatedSet):
        if bundle.card.render.as_table() != data.render:
            raise DatasetError(
                f"{folder}: renders {bundle.card.render.as_table()}, "
                f"the set was drawn with {data.render}; simulate it again with the bundle's recipe"
            )
        scores = bundle_scores(bundle, data.pictures, threads)
    else:
        scores = bundle_scores(bundle, data, threads)
    result = figures(scores, data, logistic=logistic, by_group=by_group)
    if plots is not None:
        draw(scores, data, plots, logistic=logistic)
    return result


def draw(
    scores: npt.NDArray[np.floating],
    data: SimulatedSet | ScoredImages,
    folder: Path,
    *,
    logistic: bool = False,
) -> list[Path]:
    """Plots of scores `[n]` as PNG: scatter, residuals and, of a simulated set, by severity.

    Of a simulated grid there is also `examples.png`, its middle slice under every degradation.
    """
    # only where plots are asked for: matplotlib takes a second to import
    from trainer import examples, plots

    if isinstance(data, SimulatedSet):
        severities = np.array([entry.severity for entry in data.entries])
        kinds = [entry.kind for entry in data.entries]
        drawn = {
            "scatter": plots.scatter(scores, data.targets, data.slices, logistic=logistic),
            "residuals": plots.residuals(scores, data.targets, data.slices),
            "score-by-severity": plots.score_by_severity(scores, severities, kinds),
        }
        if len(set(severities.tolist())) <= FEW_LEVELS:
            folder.mkdir(parents=True, exist_ok=True)
            sheet = examples.sheet(data, scores, examples.middle_slice(data))
            sheet.save(folder / "examples.png", optimize=True)
    else:
        drawn = {
            "scatter": plots.scatter(scores, data.scores, data.groups, logistic=logistic),
            "residuals": plots.residuals(scores, data.scores, data.groups),
        }
    return plots.write_plots(drawn, folder)


def figures(
    scores: npt.NDArray[np.floating],
    data: SimulatedSet | ScoredImages,
    *,
    logistic: bool = False,
    by_group: bool = False,
) -> dict[str, Any]:
    """`{n, groups, plcc, srocc, krocc, overall, rmse, intervals}` of scores `[n]`.

    intervals: 95 %, by figure, from a bootstrap that draws whole groups; groups: their number.
    logistic: PLCC and RMSE after the five-parameter logistic, and the result says so; it also says
    `reversed` where better images get lower scores, which absolute values hide. by_group:
    adds the figures of each group (without it too small or constant: n alone). A simulated grid
    adds mean score and target at each severity, and the same kind by kind.
    """
    targets = data.targets if isinstance(data, SimulatedSet) else data.scores
    groups = data.slices if isinstance(data, SimulatedSet) else data.groups
    if len(scores) != len(targets):
        raise ValueError(f"{len(scores)} scores for {len(targets)} images")
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    agreement = metrics.agreement(scores, targets, groups, rng, logistic=logistic)
    result: dict[str, Any] = {
        "n": agreement.n,
        "groups": len(set(groups.tolist())),
        "plcc": agreement.plcc,
        "srocc": agreement.srocc,
        "krocc": agreement.krocc,
        "overall": agreement.overall,
        "rmse": agreement.rmse,
        "intervals": {name: list(interval) for name, interval in agreement.intervals.items()},
    }
    backwards = metrics.runs_backwards(scores, targets)
    if metrics.correlates(scores, targets) and backwards == _better_is_higher(data):
        result["reversed"] = True
    if logistic:
        result["logistic"] = True
    if by_group:
        result["by_group"] = {
            group: _of_group(scores[groups == group], targets[groups == group])
            for group in sorted(set(groups.tolist()))
        }
    if isinstance(data, SimulatedSet):
        result |= _by_severity(scores, data)
    return result


def _better_is_higher(data: SimulatedSet | ScoredImages) -> bool:
    return isinstance(data, SimulatedSet) or data.higher_is_better


def _of_group(
    scores: npt.NDArray[np.floating], targets: npt.NDArray[np.floating]
) -> dict[str, float]:
    tells = len(scores) >= metrics.FEWEST and np.ptp(targets) > 0
    return {"n": len(scores), **(metrics.figures(scores, targets) if tells else {})}


def _by_severity(scores: npt.NDArray[np.floating], data: SimulatedSet) -> dict[str, Any]:
    severities = np.array([entry.severity for entry in data.entries])
    levels = sorted(set(severities.tolist()))
    if len(levels) > FEW_LEVELS:
        return {}
    at = [severities == level for level in levels]
    return {
        "severities": levels,
        "mean_score": [float(scores[chosen].mean()) for chosen in at],
        "mean_target": [float(data.targets[chosen].mean()) for chosen in at],
        "by_kind": _by_kind(scores, data, levels),
    }


def _by_kind(
    scores: npt.NDArray[np.floating], data: SimulatedSet, levels: list[float]
) -> dict[str, dict[str, Any]]:
    """Mean score and target of each degradation alone at every severity, the clean slices at 0,
    and whether the means fall strictly; kinds that a grid does not hold whole are left out."""
    severities = np.array([entry.severity for entry in data.entries])
    kinds = np.array([entry.kind for entry in data.entries])
    found: dict[str, dict[str, Any]] = {}
    for kind in sorted(set(kinds.tolist()) - {CLEAN}):
        of_kind = (kinds == kind) | (kinds == CLEAN)
        at = [of_kind & (severities == level) for level in levels]
        if not all(chosen.any() for chosen in at):
            continue
        means = [float(scores[chosen].mean()) for chosen in at]
        found[kind] = {
            "n": [int(chosen.sum()) for chosen in at],
            "mean_score": means,
            "mean_target": [float(data.targets[chosen].mean()) for chosen in at],
            "falls": all(worse < better for better, worse in pairwise(means)),
        }
    return found
