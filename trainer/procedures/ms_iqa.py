"""MS-IQA's procedure: supervised training, measured in folds by source slice.

Source: the MS-IQA paper and code, which publish the network and the labels' scaling but no
training script. So loss (MSE), step, epochs and variations are this recipe's own choices; and the
split: images of one source slice are never in training and held out at once.
"""

from __future__ import annotations

from trainer.procedures.experiment import Experiment, ProcedureRecipe, Source
from trainer.procedures.folds import Folds, by_folds
from trainer.reference import Measured
from trainer.settings import Training, Views


class Data(Folds):
    """scored: the images, in folds."""

    scored: Source


class Recipe(ProcedureRecipe):
    data: Data
    views: Views
    supervised: Training


def run(experiment: Experiment, recipe: Recipe) -> tuple[Measured, ...]:
    """A network for every fold, all from the same start."""
    return by_folds(
        experiment,
        "MS-IQA",
        lambda: experiment.build(recipe.supervised.seed),
        recipe.supervised,
        experiment.load(recipe.data.scored),
        recipe.views,
        recipe.data,
    )
