"""MD-IQA's procedure: an ensemble, its pseudo labels, a network trained on both kinds.

Source: the MD-IQA paper, section 2.4 and 3.1. What it leaves open, and what was chosen:

- "Several models with different training settings": the recipe's members, each with a seed and a
  learning rate of its own, the first with the stated settings.
- The pseudo label is the mean of the members' scores, made a distribution by equation 1.
- Of every training the epoch with the best SROCC on the 100 validation images is kept.
- The network handed on is Θ, not the teacher Θ_EMA, which the paper has in equation 6 alone.
- Its 700 unlabelled images of real scans are not public; any folder of slices stands in.
- The whole slice is resampled to the network's side, so that the score is of all of it.
"""

from __future__ import annotations

import csv
from typing import Annotated

import numpy as np
from pydantic import Field

from models.networks.network import Network
from models.render import Float
from trainer.batches import Pictures
from trainer.datasets import ScoredImages
from trainer.losses import MeanTeacher, SemiSupervision
from trainer.procedures.experiment import Experiment, ProcedureRecipe, Source, agreement
from trainer.reference import Measured
from trainer.settings import Table, Training, Views

PSEUDO_NAME = "pseudo_labels.csv"


class Data(Table):
    """scored is divided by fractions into training, validation and test; test: another one."""

    scored: Source
    unlabelled: Source | None = None
    test: Source | None = None
    fractions: tuple[float, float, float]
    seed: int


class Member(Table):
    """What one member of the ensemble trains with, instead of `supervised`'s."""

    seed: int
    learning_rate: Annotated[float, Field(gt=0)]


class Recipe(ProcedureRecipe):
    """semi_supervised: False stops after step 1, Table 2's rows without SS. kl_weight: β."""

    semi_supervised: bool = True
    kl_weight: Annotated[float, Field(ge=0)]
    data: Data
    views: Views
    supervised: Training
    members: Annotated[tuple[Member, ...], Field(min_length=1)]
    joint: Training
    semi_supervision: SemiSupervision


def run(experiment: Experiment, recipe: Recipe) -> tuple[Measured, ...]:
    """Steps 1 to 3; the first member and, where trained, the joint network are measured."""
    scored = experiment.load(recipe.data.scored)
    train, validation, held = scored.split_by_group(recipe.data.fractions, recipe.data.seed)
    tests = [("test", "own split", held)]
    if recipe.data.test is not None:
        tests.append(("challenge", "test part", experiment.load(recipe.data.test).labelled))
    if not recipe.semi_supervised:
        recipe = recipe.model_copy(update={"members": recipe.members[:1]})

    ensemble = []
    for number, member in enumerate(recipe.members, start=1):
        network = _build(experiment, recipe, member.seed)
        experiment.train(
            f"member-{number}",
            network,
            recipe.supervised.model_copy(update=member.model_dump()),
            experiment.pictures(network, train, recipe.views),
            validation=experiment.pictures(network, validation, recipe.views),
        )
        ensemble.append(network)
    measured = _measured(experiment, recipe, "member-1", _title(recipe, False), ensemble[0], tests)
    if not recipe.semi_supervised:
        return measured

    if recipe.data.unlabelled is None:
        raise ValueError("data.unlabelled is missing; name a source, or set semi_supervised=false")
    others = experiment.load(recipe.data.unlabelled)
    pseudo = _pseudo_labels(experiment, recipe, ensemble, others)

    network = _build(experiment, recipe, recipe.joint.seed)
    experiment.train(
        "joint",
        network,
        recipe.joint,
        experiment.pictures(network, train, recipe.views),
        objective=MeanTeacher(network, recipe.semi_supervision),
        others=experiment.pictures(network, others, recipe.views, pseudo),
        validation=experiment.pictures(network, validation, recipe.views),
        follows=[f"member-{number}" for number in range(1, len(ensemble) + 1)],
    )
    return measured + _measured(experiment, recipe, "joint", _title(recipe, True), network, tests)


def _build(experiment: Experiment, recipe: Recipe, seed: int) -> Network:
    network = experiment.build(seed)
    if hasattr(network, "kl_weight"):
        network.kl_weight = recipe.kl_weight  # type: ignore[assignment] # MD-IQA's float
    return network


def _pseudo_labels(
    experiment: Experiment, recipe: Recipe, ensemble: list[Network], others: ScoredImages
) -> Float:
    """Step 2: the mean of the ensemble's scores `[n]`, kept in PSEUDO_NAME."""
    nothing = np.full(len(others), np.nan, np.float32)
    by_member = []
    for network in ensemble:
        pictures: Pictures = experiment.pictures(network, others, recipe.views, nothing)
        by_member.append(experiment.estimates(network, pictures))
    pseudo = np.mean(by_member, axis=0).clip(0, ensemble[0].preset.highest).astype(np.float32)
    if experiment.fabric.is_global_zero:
        with (experiment.run / PSEUDO_NAME).open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["file", "score"])
            table.writerows(
                (image.name, f"{score:.4f}")
                for image, score in zip(others.images, pseudo, strict=True)
            )
    return np.asarray(pseudo, np.float32)


def _measured(
    experiment: Experiment,
    recipe: Recipe,
    name: str,
    title: str,
    network: Network,
    tests: list[tuple[str, str, ScoredImages]],
) -> tuple[Measured, ...]:
    return tuple(
        agreement(
            f"{title}, {words}",
            *experiment.test(f"{name}-{short}", network, images, recipe.views),
            training=name,
        )
        for short, words, images in tests
        if len(images)
    )


def _title(recipe: Recipe, semi_supervised: bool) -> str:
    """As Table 2 names its rows."""
    distributions = "no MD" if "direct-regression" in recipe.ablations else "MD"
    return f"{distributions}, {'SS' if semi_supervised else 'no SS'}"
