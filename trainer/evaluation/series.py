"""A bundle's scores of DICOM series that nobody has scored, drawn and refused as the gate does.

The physical figures stand beside the scores: noise in soft tissue for CT.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from models import domain
from models.card import Bundle, load_bundle
from models.measure import soft_tissue_noise_hu
from models.render import CtWindow, Float, MrStack
from trainer.datasets import DatasetError, read_ct_slices
from trainer.datasets.mr import read_mr_slices
from trainer.evaluation.runtime import bundle_scores


def evaluate_series(
    folder: Path, data: Path, threads: int = 2, *, ignore_domain: bool = False
) -> dict[str, Any]:
    """Scores of the slices below `data` by the bundle in `folder`:
    `{bundle, n, scored, median, mean, lowest, noise_hu, read_as, slices}`.

    ignore_domain: score what the gate would refuse as out of domain too, as for phantoms; each
    slice says why in `outside` all the same. Raises CardError, and DatasetError where there are
    no slices of the bundle's modality.
    """
    bundle = load_bundle(folder)
    rows, pictures = [], []
    for row, picture in _drawn(bundle, data):
        rows.append(row)
        if ignore_domain or row["outside"] is None:
            pictures.append(picture)
    scores = bundle_scores(bundle, np.stack(pictures), threads).tolist() if pictures else []
    left = iter(scores)
    for row in rows:
        row["score"] = next(left) if ignore_domain or row["outside"] is None else None
    noise = [row["noise_hu"] for row in rows if row.get("noise_hu") is not None]
    return {
        "bundle": f"{bundle.card.name} {bundle.card.version}",
        "n": len(rows),
        "scored": len(scores),
        "median": float(np.median(scores)) if scores else None,
        "mean": float(np.mean(scores)) if scores else None,
        "lowest": min(scores, default=None),
        "noise_hu": float(np.median(noise)) if noise else None,
        "read_as": sorted({row["read_as"] for row in rows if "read_as" in row}),
        "slices": rows,
    }


def _drawn(bundle: Bundle, data: Path) -> Iterator[tuple[dict[str, Any], Float]]:
    """What is known of every slice, and its picture."""
    spec, limits = bundle.card.render, bundle.card.domain
    match spec:
        case CtWindow():
            for one in read_ct_slices(data, data.name):
                told = domain.describe_ct(one.hu, one.spacing_mm)
                row = {
                    "slice": one.name,
                    "outside": domain.outside(spec.kind, told, limits),
                    "read_as": one.reading,
                    "noise_hu": soft_tissue_noise_hu(one.hu),
                }
                yield row, spec.draw(one.hu, one.reading)
        case MrStack():
            for slice_ in read_mr_slices([data], data.name):
                told = domain.describe_mr(slice_.signal)
                row = {
                    "slice": slice_.name,
                    "outside": domain.outside(spec.kind, told, limits),
                }
                yield row, spec.draw(slice_.signal, slice_.level)
        case _:
            raise DatasetError(
                f"{data}: series without scores are read for CT and MR, not {spec.kind}; "
                "`iqgate assess` pairs PET with its CT"
            )
