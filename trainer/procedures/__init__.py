"""Procedures: how each paper trains its network, from published data to the paper's table.

A recipe names its procedure; `run` takes it from the data to what was measured. Every training of
a procedure has a folder of its own in the run, with checkpoints, so that a procedure that was
killed goes on in the middle.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from trainer.procedures.experiment import Experiment, ProcedureRecipe
from trainer.recipe import RecipeError, validated
from trainer.reference import Measured
from trainer.tracking import Epoch

PROCEDURES = {
    "md-iqa": "trainer.procedures.md_iqa",
    "tfkt": "trainer.procedures.tfkt",
    "miqanet": "trainer.procedures.miqanet",
    "ms-iqa": "trainer.procedures.ms_iqa",
}


def run(
    text: str,
    data: Path,
    folder: Path,
    *,
    source: str = "recipe",
    report: Callable[[str, Epoch, int], None] = lambda _step, _epoch, _total: None,
) -> tuple[Measured, ...]:
    """Run the procedure of a recipe's text; what it measured, also in `measured.json`.

    Of several processes the first alone returns it.

    data: the folder that the recipe's datasets are in; folder: of the run, resumed where it holds
    a part of this very recipe's; report: is told each training's name, every epoch of it, and how
    many there are. Raises RecipeError for a recipe that cannot be read, and what datasets, weights
    and loop raise.
    """
    recipe = parse(text, source)
    module = import_module(PROCEDURES[recipe.procedure])
    experiment = Experiment.begin(recipe, text, data, folder, report)
    measured: tuple[Measured, ...] = module.run(experiment, recipe)
    experiment.close(measured)
    return measured if experiment.fabric.is_global_zero else ()


def parse(text: str, source: str = "recipe") -> ProcedureRecipe:
    """A procedure's recipe. Raises RecipeError naming the source and the key."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{source}: not TOML: {error}") from error
    name = raw.get("procedure")
    if name not in PROCEDURES:
        raise RecipeError(f"{source}: procedure = {name!r}; known: {', '.join(PROCEDURES)}")
    recipe: ProcedureRecipe = validated(import_module(PROCEDURES[name]).Recipe, raw, source)
    return recipe
