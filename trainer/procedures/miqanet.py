"""MIQANet's procedure: ImageNet, then LIVE, then RAD-IQMRI in folds by reference.

Source: the MIQANet paper, sections II-B and III-B.2; learning rate, batch, epochs, crops and seed
from its public code. What they leave open, and what was chosen:

- Both scores are brought to one scale, best highest (LIVE's DMOS is turned round), so that what
  the last layers learned on LIVE still holds.
- Nothing chooses an epoch: the last is kept, for eight references leave none to validate on.
- Figures are means over the folds, as the paper averages them; pooled ones, over all images at
  once, stand beside them.
- PLCC is told twice: as it is, and after the five-parameter logistic, of which section II-C says
  that it "is often applied" first, and not whether the tables have it. It is fitted to the very
  scores it is judged by, 14 images a fold, so it is the higher of the two.
"""

from __future__ import annotations

import copy

from trainer.procedures.experiment import Experiment, ProcedureRecipe, Source, agreement
from trainer.procedures.folds import Folds, by_folds
from trainer.reference import Measured
from trainer.settings import Training, Views


class Data(Folds):
    """natural: of the second stage (LIVE); scored: of the third, in folds."""

    natural: Source
    scored: Source


class Recipe(ProcedureRecipe):
    """finetuning: False stops after LIVE, the paper's Train_ImageNet_LIVE.

    Without weights in [weights] that is its Train_LIVE.
    """

    finetuning: bool = True
    data: Data
    views: Views
    natural: Training
    finetune: Training


def run(experiment: Experiment, recipe: Recipe) -> tuple[Measured, ...]:
    """The stages; before the third all images are measured, after it every fold's held-out ones."""
    network = experiment.build(recipe.natural.seed)
    natural = experiment.load(recipe.data.natural)
    experiment.train(
        "natural", network, recipe.natural, experiment.pictures(network, natural, recipe.views)
    )
    scored = experiment.load(recipe.data.scored)
    before = "Train_ImageNet_LIVE" if experiment.records else "Train_LIVE"
    tested = experiment.test("natural-only", network, scored, recipe.views)
    measured = (agreement(before, *tested, training="natural", logistic=True),)
    if not recipe.finetuning:
        return measured

    return (
        *measured,
        *by_folds(
            experiment,
            "MIQANet",
            lambda: copy.deepcopy(network),
            recipe.finetune,
            scored,
            recipe.views,
            recipe.data,
            follows=("natural",),
            logistic=True,
        ),
    )
