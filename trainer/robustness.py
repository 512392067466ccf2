"""How far a bundle's score hangs on what is not quality, how often it would alarm, and miss.

Clean slices are scored as they are read, and again with nothing changed but what no reader would
call quality: mirrored, turned, shifted, in another field of view or matrix. A clean slice, or
series, below the limit of a policy is a false alarm; a degraded one below it is detected. Slices
of one series resemble each other: rates of slices count as many as they are worth
(`models.limits.effective_number`), and a series is one acquisition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from models import limits
from models.card import Bundle, load_bundle
from models.render import Float
from trainer.datasets import CLEAN, DatasetError, SimulatedSet, read_ct_slices
from trainer.degradations import soft_tissue
from trainer.evaluation import bundle_scores
from trainer.recipe import Recipe
from trainer.simulation import subjects
from trainer.simulation.case import Case
from trainer.simulation.ct import CtSubject
from trainer.simulation.mr import ACQUIRED, NAMED
from trainer.simulation.subject import Subject

Scores = npt.NDArray[np.float32]

SHIFT = 0.05
"""How far a picture is shifted, as a share of its side."""

PICTURES: dict[str, Callable[[Float], Float]] = {
    "mirrored": lambda picture: picture[:, :, ::-1],
    "upside down": lambda picture: picture[:, ::-1],
    "turned by 90°": lambda picture: np.rot90(picture, 1, axes=(1, 2)),
    "turned by 180°": lambda picture: np.rot90(picture, 2, axes=(1, 2)),
    "shifted across": lambda picture: _shifted(picture, 2),
    "shifted down": lambda picture: _shifted(picture, 1),
}
"""What is done to a drawn picture `[C, H, W]` of any modality."""

CT_OPTIONS: dict[str, dict[str, str]] = {
    "field of view × 0.7": {"field_of_view": "0.7"},
    "field of view × 0.85": {"field_of_view": "0.85"},
    "field of view × 1.2": {"field_of_view": "1.2"},
    "field of view × 1.45": {"field_of_view": "1.45"},
    "off centre by 6 %": {"centre": "0.06,-0.04"},
    "matrix 256²": {"matrix": "256"},
    "soft-tissue window": {"reading": "soft"},
    "lung window": {"reading": "lung"},
    "bone window": {"reading": "bone"},
}
"""Options of a CT case, over those it is evaluated with."""

PET_CT_OPTIONS: dict[str, dict[str, str]] = {
    "field of view × 0.8": {"field": "tight"},
    "field of view × 1.35": {"field": "wide"},
    "white at SUV × 0.65": {"display": "hot"},
    "white at SUV × 1.8": {"display": "cool"},
    "more CT": {"display": "ct-heavy"},
    "more PET": {"display": "pet-heavy"},
    "wider CT window": {"display": "wide"},
    "narrower CT window": {"display": "narrow"},
    "stored as JPEG of quality 100": {"stored": "jpeg"},
}
"""The same of a PET/CT case."""

OPTIONS: dict[str, dict[str, dict[str, str]]] = {
    "ct-window": CT_OPTIONS,
    "mr-stack": {name: {"appearance": name} for name in NAMED if name != ACQUIRED},
    "pet-ct-fused": PET_CT_OPTIONS,
}
"""The same by the kind of picture that a recipe draws."""


@dataclass(frozen=True)
class Series:
    """Clean slices of one source or folder; each_alone: every one of another patient's."""

    name: str
    slices: tuple[Subject, ...]
    each_alone: bool = False


def gather(
    recipe: Recipe,
    root: Path | None,
    sources: Sequence[str],
    folders: Sequence[Path],
    every: int,
) -> list[Series]:
    """One slice in `every` of the recipe's sources, by name, and of folders of CT slices.

    Raises DatasetError where one holds none.
    """
    found = []
    for name in sources:
        source = recipe.source(name)
        chosen = tuple(islice(subjects(source, recipe, root), 0, None, every))
        found.append(Series(name, chosen, source.is_phantom))
    for folder in folders:
        slices = [
            CtSubject(one, recipe.sources[0].incident_photons)
            for one in read_ct_slices(folder, folder.name)
        ]
        found.append(Series(folder.name, tuple(slices[::every])))
    return found


def measure(
    folder: Path,
    recipe: Recipe,
    series: Sequence[Series],
    *,
    limit: float,
    per_day: float,
    grid: SimulatedSet | None = None,
    threads: int = 2,
) -> dict[str, Any]:
    """Figures of the bundle in `folder`: `clean` by series, `changes` by what was varied,
    `false_alarms`, and of a grid `detection` by kind and severity.

    limit: a median below it is an alarm; per_day: acquisitions of a scanner in a day, by which
    rates become expected alarms. Raises CardError for a broken bundle, DatasetError for one that
    draws otherwise than the recipe.
    """
    bundle = load_bundle(folder)
    drawn = [recipe.render.as_table(), *([grid.render] if grid else [])]
    if any(table != bundle.card.render.as_table() for table in drawn):
        raise DatasetError(f"{folder}: renders otherwise than the recipe or the grid does")
    clean: dict[str, Any] = {}
    changes: dict[str, dict[str, list[float]]] = {}
    alarms, acquisitions = 0, 0
    for one in series:
        scores = _scores(bundle, one.slices, recipe, {}, threads)
        clean[one.name] = _clean(one, scores, limit)
        medians = scores if one.each_alone else [float(np.median(scores))]
        alarms += sum(median < limit for median in medians)
        acquisitions += len(medians)
        for what, values in _varied(bundle, one.slices, recipe, threads):
            changes.setdefault(what, {})[one.name] = (values - scores).tolist()
    return {
        "bundle": f"{bundle.card.name} {bundle.card.version}",
        "limit": limit,
        "clean": clean,
        "changes": {
            what: {name: _change(values) for name, values in by_series.items()}
            for what, by_series in changes.items()
        },
        "false_alarms": _false_alarms(alarms, acquisitions, per_day),
        **({"detection": _detection(bundle, grid, limit, threads)} if grid else {}),
    }


def _clean(series: Series, scores: Scores, limit: float) -> dict[str, Any]:
    worth = len(scores) if series.each_alone else limits.effective_number(scores.tolist())
    below = int((scores < limit).sum())
    noise = [
        float(one.clean.hu[tissue].std())
        for one in series.slices
        if isinstance(one, CtSubject) and (tissue := soft_tissue(one.clean.hu)).any()
    ]
    return {
        "n": len(scores),
        "worth": round(float(worth), 1),
        "median": float(np.median(scores)),
        "mean": float(scores.mean()),
        "sd": float(scores.std(ddof=1)) if len(scores) > 1 else 0.0,
        "percentile_5": float(np.percentile(scores, 5)),
        "lowest": float(scores.min()),
        "below_limit": below,
        "below_limit_interval": list(limits.wilson_interval(below / len(scores), worth)),
        **({"noise_hu": float(np.median(noise))} if noise else {}),
        **_reading(series),
    }


def _reading(series: Series) -> dict[str, str]:
    readings = {one.clean.reading for one in series.slices if isinstance(one, CtSubject)}
    return {"reading": ", ".join(sorted(readings))} if readings else {}


def _varied(
    bundle: Bundle, slices: Sequence[Subject], recipe: Recipe, threads: int
) -> Iterable[tuple[str, Scores]]:
    pictures = _drawn(slices, recipe, {})
    for what, change in PICTURES.items():
        varied = np.stack([np.ascontiguousarray(change(picture)) for picture in pictures])
        yield what, bundle_scores(bundle, varied, threads)
    for what, options in OPTIONS.get(recipe.render.kind, {}).items():
        yield what, _scores(bundle, slices, recipe, options, threads)


def _scores(
    bundle: Bundle,
    slices: Sequence[Subject],
    recipe: Recipe,
    options: Mapping[str, str],
    threads: int,
) -> Scores:
    return bundle_scores(bundle, _drawn(slices, recipe, options), threads)


def _drawn(slices: Sequence[Subject], recipe: Recipe, options: Mapping[str, str]) -> Float:
    case = Case((), recipe.simulation.plain_options | dict(options))
    rng = np.random.default_rng(recipe.simulation.seed)  # clean slices draw nothing from it
    return np.stack([one.draw(case, recipe, rng) for one in slices])


def _shifted(picture: Float, axis: int) -> Float:
    by = round(picture.shape[axis] * SHIFT)
    moved = np.roll(picture, by, axis=axis)
    filled = [slice(None)] * 3
    filled[axis] = slice(0, by)
    moved[tuple(filled)] = 0
    return moved


def _change(values: Sequence[float]) -> dict[str, float]:
    return {
        "n": len(values),
        "mean": float(np.mean(values)),
        "sd": float(np.std(values)),
        "largest": float(np.abs(values).max()),
    }


def _false_alarms(alarms: int, acquisitions: int, per_day: float) -> dict[str, Any]:
    rate = limits.alarm_rate(alarms, acquisitions)
    expected, interval = rate.per_day(per_day)
    return {
        "alarms": alarms,
        "acquisitions": acquisitions,
        "share": rate.share,
        "interval": list(rate.interval),
        "acquisitions_per_day": per_day,
        "expected_a_day": expected,
        "expected_a_day_interval": list(interval),
    }


def _detection(bundle: Bundle, grid: SimulatedSet, limit: float, threads: int) -> dict[str, Any]:
    """By kind and severity: slices below the limit, their share and its interval; `median` of
    them, which is what the series these slices stand for would be judged by."""
    scores = bundle_scores(bundle, grid.pictures, threads)
    kinds = np.array([entry.kind for entry in grid.entries])
    severities = np.array([entry.severity for entry in grid.entries])
    found: dict[str, Any] = {}
    for kind in sorted(set(kinds.tolist()) - {CLEAN}):
        rows = []
        for severity in sorted(set(severities[kinds == kind].tolist())):
            at = scores[(kinds == kind) & (severities == severity)]
            below = int((at < limit).sum())
            rows.append(
                {
                    "severity": severity,
                    "n": len(at),
                    "detected": below,
                    "interval": list(limits.wilson_interval(below / len(at), len(at))),
                    "median": float(np.median(at)),
                }
            )
        found[kind] = rows
    return found


def tables(result: Mapping[str, Any]) -> list[Table]:
    """The figures of `measure` for a terminal."""
    made = [
        _table(
            f"Clean slices, limit {result['limit']:g}",
            ["series", "n", "worth", "median", "s.d.", "5 %", "lowest", "below", "noise HU"],
            [
                [
                    name,
                    one["n"],
                    one["worth"],
                    *(f"{one[key]:.2f}" for key in ("median", "sd", "percentile_5", "lowest")),
                    f"{one['below_limit']} {_range(one['below_limit_interval'])}",
                    f"{one['noise_hu']:.1f}" if "noise_hu" in one else "",
                ]
                for name, one in result["clean"].items()
            ],
        ),
        _table(
            "Change of score",
            ["change", "series", "n", "mean", "s.d.", "largest"],
            [
                [what, name, one["n"], *(f"{one[key]:+.2f}" for key in ("mean", "sd", "largest"))]
                for what, by_series in result["changes"].items()
                for name, one in by_series.items()
            ],
        ),
    ]
    alarms = result["false_alarms"]
    low, high = alarms["expected_a_day_interval"]
    made.append(
        _table(
            "False alarms",
            ["alarms", "acquisitions", "95 %", f"a day, of {alarms['acquisitions_per_day']:g}"],
            [
                [
                    alarms["alarms"],
                    alarms["acquisitions"],
                    _range(alarms["interval"]),
                    f"{alarms['expected_a_day']:.2f} [{low:.2f}, {high:.2f}]",
                ]
            ],
        )
    )
    if "detection" in result:
        rows = [
            [
                kind,
                f"{one['severity']:g}",
                f"{one['detected']} of {one['n']}",
                _range(one["interval"]),
                f"{one['median']:.2f}",
            ]
            for kind, severities in result["detection"].items()
            for one in severities
        ]
        columns = ["kind", "severity", "slices below", "95 %", "median"]
        made.append(_table(f"Detected below {result['limit']:g}", columns, rows))
    return made


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    return table


def _range(interval: Sequence[float]) -> str:
    low, high = interval
    return f"[{low:.3f}, {high:.3f}]"
