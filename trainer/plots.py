"""Plots of an evaluation: scores against targets, residuals, score by severity.

matplotlib (a permissive, PSF-based licence) draws axes and ticks; its Agg canvas needs no display.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from trainer.logistic import fit_logistic

Values = npt.NDArray[np.floating]

SIDE_INCHES = 4.5
MANY_GROUPS = 10
"""Groups above which a legend would hide the plot."""


def scatter(
    scores: Values, targets: Values, groups: npt.NDArray[np.str_] | None = None, *, logistic: bool
) -> Figure:
    """Scores `[n]` over targets `[n]`, a colour per group where they are few.

    The diagonal is drawn, or with `logistic` the fitted curve, as the figures were taken.
    """
    figure, axes = _page("published score", "estimated score")
    _points(axes, targets, scores, groups)
    if logistic:
        line = np.linspace(float(scores.min()), float(scores.max()), 100)
        axes.plot(fit_logistic(scores, targets)(line), line, color="0.3", linewidth=1)
    else:
        ends = [float(min(targets.min(), scores.min())), float(max(targets.max(), scores.max()))]
        axes.plot(ends, ends, color="0.3", linewidth=1)
    return figure


def residuals(
    scores: Values, targets: Values, groups: npt.NDArray[np.str_] | None = None
) -> Figure:
    """What was estimated too high or too low, `[n]`, over the targets; the band holds 95 %."""
    figure, axes = _page("published score", "estimated − published")
    differences = scores - targets
    low, high = np.percentile(differences, [2.5, 97.5])
    axes.axhspan(float(low), float(high), color="0.93")
    axes.axhline(0, color="0.3", linewidth=1)
    _points(axes, targets, differences, groups)
    return figure


def score_by_severity(
    scores: Values, severities: Values, kinds: Sequence[str] | npt.NDArray[np.str_]
) -> Figure:
    """Mean score, with its 10th to 90th percentile, over the severity 0…1, a line per kind."""
    figure, axes = _page("severity", "estimated score")
    named = np.asarray(kinds)
    for kind in sorted(set(named.tolist())):
        levels = np.unique(severities[named == kind])
        at = [scores[(named == kind) & (severities == level)] for level in levels]
        spread = np.array([np.percentile(values, [10, 90]) for values in at])
        line = axes.plot(levels, [values.mean() for values in at], marker="o", label=kind)[0]
        axes.fill_between(levels, spread[:, 0], spread[:, 1], color=line.get_color(), alpha=0.15)
    axes.legend(frameon=False, fontsize="small")
    return figure


def write_plots(figures: dict[str, Figure], folder: Path) -> list[Path]:
    """Each figure as `folder/name.png`; the paths written."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=120)
        paths.append(path)
    return paths


def _page(across: str, up: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(SIDE_INCHES, SIDE_INCHES), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _points(axes: Axes, x: Values, y: Values, groups: npt.NDArray[np.str_] | None) -> None:
    names = [] if groups is None else sorted(set(groups.tolist()))
    if groups is None or len(names) > MANY_GROUPS:
        axes.scatter(x, y, s=12, alpha=0.6)
        return
    for name in names:
        axes.scatter(x[groups == name], y[groups == name], s=12, alpha=0.6, label=name)
    axes.legend(frameon=False, fontsize="small")
