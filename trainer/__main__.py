"""`python -m trainer`: from clean slices to a bundle.

    phantom     write a digital chest as two DICOM series, one good and one under-dosed
    simulate    degrade, draw and score the clean slices of a recipe
    calibrate   print the recipe's target knots, or a source's photons, as the slices give them
    fit         train the recipe's network on a simulated set
    reproduce   run a paper's procedure and print its table beside what was measured
    weights     keep a file of weights under timm's tensor names
    evaluate    measure a bundle, or a run, on a scored folder or a simulated set
    robustness  measure how a bundle's score hangs on what is not quality, and its false alarms
    export      write a run as a bundle
    domain      learn what a bundle is for from its recipe's slices, and write it into its card
    uncertainty find how far a bundle's scores may be off, and write it into its card
    page        write a bundle's page for people from its card
    commission  propose limits from folders of one's own series, as `iqgate commission` does
    finetune    train a bundle on, with a site's own scored images
    figures     draw every degradation at five severities

Exit status: 0 done, 2 bad usage, recipe or data. torch is imported only by what needs it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.arguments import DEFAULT_RECIPE, parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        COMMANDS[options.command](options)
    except (ValueError, KeyError, OSError) as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 2
    return 0


def _phantom(options: argparse.Namespace) -> None:
    from trainer.phantom_series import write_demo

    for folder, count in write_demo(options.out, options.slices, options.seed_uids):
        print(f"{folder}: {count} slices")


def _simulate(options: argparse.Namespace) -> None:
    from rich.progress import Progress, TextColumn

    from trainer.recipe import load_recipe
    from trainer.simulation import simulate

    recipe = load_recipe(options.recipe)
    sources = [recipe.source(name) for name in options.source] or list(recipe.sources)
    with Progress(TextColumn("{task.description}: {task.completed} slices")) as progress:
        tasks = {source.name: progress.add_task(source.name, total=None) for source in sources}
        count = simulate(
            recipe,
            options.root,
            sources,
            options.out,
            grid=options.grid,
            every=options.every,
            part=options.part,
            plain=options.plain,
            processes=options.processes,
            report=lambda name, done: progress.update(tasks[name], completed=done),
        )
    print(f"{options.out}: {count} pictures")


def _calibrate(options: argparse.Namespace) -> None:
    from trainer.recipe import load_recipe
    from trainer.simulation import calibrate, calibrate_photons

    recipe = load_recipe(options.recipe)
    for name, _, noise_hu in (pair.partition("=") for pair in options.noise_hu):
        photons = calibrate_photons(
            recipe, recipe.source(name), options.root, options.every, float(noise_hu)
        )
        print(f"{name}: incident_photons = {photons:.2g}")
    if options.noise_hu:
        return
    knots = calibrate(recipe, options.root, options.every)
    for name, values in knots.items():
        print(f'[[targets]]\nname = "{name}"\nknots = {[round(value, 4) for value in values]}\n')


def _fit(options: argparse.Namespace) -> None:
    from rich.progress import Progress

    from trainer.datasets import read_set
    from trainer.fit import fit
    from trainer.recipe import load_recipe
    from trainer.tracking import Epoch

    recipe = load_recipe(options.recipe, _overrides(options))
    train = read_set(options.data)
    if options.without:
        recipe.source(options.without)
        train = train.of_sources({source.name for source in recipe.sources} - {options.without})
    validation = read_set(options.validation) if options.validation else None
    with Progress() as progress:
        task = progress.add_task("fit", total=recipe.fit.epochs)

        def report(epoch: Epoch) -> None:
            progress.console.print(str(epoch))
            progress.update(task, completed=epoch.number)

        fit(
            recipe,
            train,
            validation,
            options.run,
            without=options.without,
            start=options.start,
            report=report,
            told=lambda told: progress.console.print(str(told)),
        )


def _reproduce(options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from trainer import procedures, reference
    from trainer.recipe import read_text
    from trainer.tracking import Epoch

    path = options.recipe or DEFAULT_RECIPE.parent / f"{options.procedure}.toml"
    text = read_text(path, _overrides(options))
    with Progress() as progress:
        tasks: dict[str, TaskID] = {}

        def report(step: str, epoch: Epoch, total: int) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=total)
            progress.console.print(f"{step}, {epoch}")
            progress.update(tasks[step], completed=epoch.number)

        folder = options.run or Path("runs") / options.procedure
        measured = procedures.run(text, options.data, folder, source=str(path), report=report)
    if measured:
        console = Console()
        for table in reference.comparison(options.procedure, measured):
            console.print(table)


def _weights(options: argparse.Namespace) -> None:
    from trainer.weights import adopt

    print(adopt(options.file, options.backbone, options.out, options.licence))


def _evaluate(options: argparse.Namespace) -> None:
    from trainer.datasets import MANIFEST_NAME, DatasetError, SimulatedSet
    from trainer.datasets.folder import SCORES_NAME
    from trainer.evaluation import evaluate, evaluate_series, figures, read_data

    if options.bundle and not any(
        (options.data / name).exists() for name in (MANIFEST_NAME, SCORES_NAME)
    ):
        try:
            found = evaluate_series(
                options.bundle, options.data, options.threads, ignore_domain=options.ignore_domain
            )
        except DatasetError as error:
            raise DatasetError(
                f"{error} (there is neither {MANIFEST_NAME} nor {SCORES_NAME} either)"
            ) from error
        print(json.dumps(found, indent=None if options.json else 2))
        return
    if options.ignore_domain:
        raise ValueError(f"{options.data} holds pictures, which have no domain: DICOM series have")
    data = read_data(options.data, options.group)
    by_group = options.group is not None
    if options.bundle:
        result: dict[str, Any] = evaluate(
            options.bundle,
            data,
            options.threads,
            logistic=options.logistic,
            by_group=by_group,
            plots=options.plots,
        )
    elif not isinstance(data, SimulatedSet):
        raise ValueError("a run is measured on a simulated set; export it, and give its --bundle")
    else:
        from trainer.fit import estimates, load_network

        network, _, _ = load_network(options.run)
        found = estimates(network, data.pictures)
        result = {
            name: figures(scores, data, logistic=options.logistic) for name, scores in found.items()
        }
    print(json.dumps(result, indent=None if options.json else 2))


def _robustness(options: argparse.Namespace) -> None:
    from rich.console import Console

    from trainer import robustness
    from trainer.datasets import read_set
    from trainer.recipe import load_recipe

    recipe = load_recipe(options.recipe)
    names = options.source or ([] if options.series else [one.name for one in recipe.sources])
    series = robustness.gather(recipe, options.root, names, options.series, options.every)
    result = robustness.measure(
        options.bundle,
        recipe,
        series,
        limit=options.limit,
        per_day=options.per_day,
        grid=read_set(options.grid) if options.grid else None,
        threads=options.threads,
    )
    if options.json:
        print(json.dumps(result))
        return
    console = Console()
    for table in robustness.tables(result):
        console.print(table)


def _export(options: argparse.Namespace) -> None:
    from trainer.procedures.experiment import TRAINING_NAME

    measured = {
        title: json.loads(Path(path).read_text("utf-8"))
        for title, _, path in (pair.partition("=") for pair in options.measured)
    }
    if (options.run / TRAINING_NAME).exists():
        from trainer.procedures import bundle

        bundle.export(
            options.run, options.out, data=options.data, overrides=options.set, measured=measured
        )
    else:
        from trainer.datasets import read_set
        from trainer.export import export
        from trainer.fit import load_network

        network, recipe, configuration = load_network(options.run)
        if options.data is None or options.set:
            raise ValueError(f"{options.run}: a run of `fit` is exported with --data, no --set")
        data = read_set(options.data).of_sources(set(configuration["pictures"]))
        export(network, recipe, data, configuration, measured, options.out)
        if options.root is not None:
            from trainer import domain

            domain.write(options.out, domain.learn(recipe, options.root, domain.SLICES))
    print(options.out)


def _page(options: argparse.Namespace) -> None:
    from models.card import load_bundle
    from trainer.card_page import write_page

    print(write_page(load_bundle(options.bundle), options.out))


def _domain(options: argparse.Namespace) -> None:
    from trainer import domain
    from trainer.recipe import load_recipe

    limits = domain.learn(load_recipe(options.recipe), options.root, options.slices)
    domain.write(options.bundle, limits)
    for name, (low, high) in limits.items():
        print(f"{name} = [{low:g}, {high:g}]")


def _uncertainty(options: argparse.Namespace) -> None:
    from trainer import uncertainty

    found = uncertainty.learn(options.bundle, options.data, options.found_on, options.threads)
    if found.factor is not None:
        print(f"the network's spread × {found.factor:g} is a standard deviation")
    else:
        print(f"a score's standard deviation is {found.error:g}")


def _commission(options: argparse.Namespace) -> None:
    from models.proposal import Budget
    from trainer import commissioning

    policy = options.policy or commissioning.packaged_policy()
    share = 0.02 if options.share is None and options.alarms_per_day is None else options.share
    if options.assessed:
        assessed = commissioning.read(json.loads(options.assessed.read_text("utf-8")))
    else:
        assessed = commissioning.assess(options.series, policy, options.bundles)
    budget = Budget(share, options.alarms_per_day)
    print(commissioning.page(assessed, budget, policy, options.without))


def _finetune(options: argparse.Namespace) -> None:
    from trainer import finetune

    if options.run:
        start = finetune.start_from_run(options.run, options.bundle)
    else:
        start = finetune.start_from_bundle(options.bundle)
    images = finetune.read_images(options.data, options.group, start.card)
    tuning = finetune.Tuning(
        epochs=options.epochs,
        learning_rate=options.learning_rate,
        held_out=options.held_out,
        threads=options.threads,
    )
    print("\n".join(finetune.lines(finetune.finetune(start, images, options.out, tuning))))


def _figures(options: argparse.Namespace) -> None:
    from trainer.figures import write_figures

    for path in write_figures(options.out, options.root, options.cell, options.greys):
        print(path)


def _overrides(options: argparse.Namespace) -> list[str]:
    """What the command line changes of a recipe, the weights' place included."""
    overrides = list(options.set)
    if options.weights:
        overrides.append(f"weights.folder={json.dumps(str(options.weights))}")
    if options.allow_hub:
        overrides.append("weights.hub=true")
    return overrides


COMMANDS = {
    "phantom": _phantom,
    "simulate": _simulate,
    "calibrate": _calibrate,
    "fit": _fit,
    "reproduce": _reproduce,
    "weights": _weights,
    "evaluate": _evaluate,
    "robustness": _robustness,
    "export": _export,
    "domain": _domain,
    "uncertainty": _uncertainty,
    "page": _page,
    "commission": _commission,
    "finetune": _finetune,
    "figures": _figures,
}


if __name__ == "__main__":
    raise SystemExit(main())
