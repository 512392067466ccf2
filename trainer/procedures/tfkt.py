"""TFKT's procedure: F learns natural distortions, then all of the network CT.

Source: the TFKT poster, Methods and Experiments; learning rate, schedule, epochs, variations, seed
and the 90/10 split from the authors' public code. What they leave open, and what was chosen:

- Phase 1 regresses KADID-10k's MOS as it is, 1–5; phase 2 the radiologists' score, 0–4.
- The 90/10 split is within what is trained on: of the 1000 scored CT images 200 are set aside for
  Setting A first. Both splits keep images of one source together.
- Of either phase the epoch with the best SROCC on its tenth is kept.
- A quarter turn, where one is drawn, is by 90, 180 or 270°.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from models.networks.tfkt import TFKT
from trainer.procedures.experiment import (
    Experiment,
    ProcedureRecipe,
    Source,
    agreement,
    stratified,
)
from trainer.reference import Measured
from trainer.settings import Table, Training, Views

Fraction = Annotated[float, Field(gt=0, lt=1)]


class Data(Table):
    """natural: of phase 1; scored: of phase 2 and Setting A; test: Setting B.

    held_out: the share of scored set aside for Setting A; validation: the share of what is left,
    and of natural, that chooses the epoch.
    """

    natural: Source
    scored: Source
    test: Source | None = None
    held_out: Fraction
    validation: Fraction
    seed: int


class Recipe(ProcedureRecipe):
    """pretraining: False leaves out phase 1, the poster's row of that name."""

    pretraining: bool = True
    data: Data
    views: Views
    phase_1: Training
    phase_2: Training


def run(experiment: Experiment, recipe: Recipe) -> tuple[Measured, ...]:
    """Both phases; the network of phase 2 is measured."""
    network = experiment.build(recipe.phase_2.seed)
    if not isinstance(network, TFKT):
        raise ValueError(f"architecture = {recipe.architecture!r}: this procedure is of tfkt")
    if recipe.pretraining:
        natural = experiment.load(recipe.data.natural)
        first = network.phase_1(natural.high)
        train, validation = stratified(natural, recipe.data.validation, recipe.data.seed)
        experiment.train(
            "phase-1",
            first,
            recipe.phase_1,
            # The MOS itself: its lowest is 1, not the 0 of a scale drawn out to its highest.
            experiment.pictures(first, train, recipe.views, train.scores),
            validation=experiment.pictures(first, validation, recipe.views, validation.scores),
        )
        # In phase 1 F learns in any case; whether it goes on is the network's to say.
        network.train()

    scored = experiment.load(recipe.data.scored)
    rest = 1 - recipe.data.held_out
    kept, held = scored.split_by_group((rest, recipe.data.held_out), recipe.data.seed)
    train, validation = stratified(kept, recipe.data.validation, recipe.data.seed)
    experiment.train(
        "phase-2",
        network,
        recipe.phase_2,
        experiment.pictures(network, train, recipe.views),
        validation=experiment.pictures(network, validation, recipe.views),
        follows=("phase-1",) if recipe.pretraining else (),
    )
    title = "TFKT" if recipe.pretraining else "TFKT without pretraining"
    if "frozen-first" in recipe.ablations:
        title += ", frozen F"
    tests = [("A", held)]
    if recipe.data.test is not None:
        tests.append(("B", experiment.load(recipe.data.test).labelled))
    return tuple(
        agreement(
            f"{title}, {setting}",
            *experiment.test(f"setting-{setting.lower()}", network, images, recipe.views),
            training="phase-2",
        )
        for setting, images in tests
        if len(images)
    )
