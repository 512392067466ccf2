"""How far a bundle's scores may be off, found on pictures of patients it was not trained on.

A network that states a `spread` with each score states the width of the distribution it was taught,
labels' own width included, and not its error. One that states none still errs. Either way the card
says what makes 95 % of the scores lie within 1.96 standard deviations of the score they were to
get; verdicts carry the interval that follows.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.card import Uncertainty, load_bundle
from models.limits import Z_95
from trainer import cards
from trainer.datasets import DatasetError, SimulatedSet, read_set
from trainer.evaluation.runtime import bundle_outputs

FEWEST = 40
"""Pictures below which the 95th percentile of an error is no more than its largest ones."""
SMALLEST_SPREAD = 1e-3

Float = npt.NDArray[np.float32]


def find(bundle: Path, data: SimulatedSet, found_on: str, threads: int = 2) -> Uncertainty:
    """The uncertainty of a bundle's scores, from a simulated set of unseen sources.

    found_on: what the set shows, in words. Raises DatasetError for too few pictures.
    """
    if len(data.targets) < FEWEST:
        raise DatasetError(
            f"{len(data.targets)} pictures tell no uncertainty; give at least {FEWEST}"
        )
    names = [one for one in ("score", "spread") if one in load_bundle(bundle).card.outputs]
    outputs = bundle_outputs(load_bundle(bundle), data.pictures, names, threads)
    errors = np.abs(outputs["score"] - data.targets)
    count = len(errors)
    if "spread" not in outputs:
        return Uncertainty(found_on, count, error=_standard_deviation(errors))
    own = np.maximum(outputs["spread"], SMALLEST_SPREAD)
    return Uncertainty(found_on, count, factor=_standard_deviation(errors / own))


def write(bundle: Path, uncertainty: Uncertainty) -> None:
    """Write it into a bundle's card. Raises CardError where the bundle is damaged."""
    table = {name: value for name, value in asdict(uncertainty).items() if value is not None}
    cards.amend(bundle, "uncertainty", table)


def learn(bundle: Path, folder: Path, found_on: str, threads: int = 2) -> Uncertainty:
    """Find it on the simulated set in `folder` and write it into the card."""
    found = find(bundle, read_set(folder), found_on, threads)
    write(bundle, found)
    return found


def _standard_deviation(errors: Float) -> float:
    return round(float(np.percentile(errors, 95)) / Z_95, 3)
