"""`python -m trainer`: from clean slices to a bundle.

    phantom    write a digital chest as two DICOM series, one good and one under-dosed
    simulate   degrade, draw and score the clean slices of a recipe
    calibrate  print the recipe's target knots, or a source's photons, as the slices give them
    fit        train the recipe's network on a simulated set
    reproduce  run a paper's procedure and print its table beside what was measured
    weights    keep a file of weights under timm's tensor names
    evaluate   measure a bundle, or a run, on a scored folder or a simulated set
    export     write a run as a bundle
    figures    draw every degradation at five severities

Exit status: 0 done, 2 bad usage, recipe or data. torch is imported only by what needs it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DEFAULT_RECIPE = Path("conf/recipes/ct-md-iqa-compact.toml")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        options.run_command(options)
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

        fit(recipe, train, validation, options.run, without=options.without, report=report)


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
    from trainer.datasets import SimulatedSet
    from trainer.evaluation import evaluate, figures, read_data

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
    print(options.out)


def _figures(options: argparse.Namespace) -> None:
    from trainer.figures import write_figures

    for path in write_figures(options.out, options.root, options.cell, options.greys):
        print(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m trainer", description="Train and export the networks that the gate serves."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    phantom = commands.add_parser("phantom", help="write a digital chest as two DICOM series")
    phantom.add_argument("out", type=Path)
    phantom.add_argument("--slices", type=int, default=24, help="per series (default 24)")
    phantom.add_argument("--seed-uids", help="make UIDs from this text instead of fresh ones")
    phantom.set_defaults(run_command=_phantom)

    simulate = commands.add_parser("simulate", help="degrade, draw and score clean slices")
    _recipe_arguments(simulate)
    simulate.add_argument("--out", type=Path, required=True, help="folder of the simulated set")
    simulate.add_argument("--source", action="append", default=[], help="only this source")
    simulate.add_argument(
        "--grid", action="store_true", help="the recipe's fixed severities, for evaluation"
    )
    simulate.add_argument(
        "--part",
        choices=["all", "train", "held-out"],
        default="all",
        help="of sources with blocks held out: only what is trained on, or only what is not",
    )
    simulate.add_argument("--every", type=int, help="one slice in so many")
    simulate.add_argument("--processes", type=int, default=2)
    simulate.set_defaults(run_command=_simulate)

    calibrate = commands.add_parser("calibrate", help="print the target knots")
    _recipe_arguments(calibrate)
    calibrate.add_argument("--every", type=int, default=8, help="one slice in so many")
    calibrate.add_argument(
        "--noise-hu",
        action="append",
        default=[],
        metavar="SOURCE=HU",
        help="print instead the photons at which a scan of this source has this noise",
    )
    calibrate.set_defaults(run_command=_calibrate)

    fit = commands.add_parser("fit", help="train the recipe's network; resumes what --run holds")
    fit.add_argument("--recipe", type=Path, default=DEFAULT_RECIPE)
    fit.add_argument("--data", type=Path, required=True, help="simulated set")
    fit.add_argument("--run", type=Path, required=True, help="folder of the run")
    fit.add_argument("--without", help="leave this source out")
    _training_arguments(fit)
    fit.add_argument("--validation", type=Path, help="simulated set to watch, never to choose by")
    fit.set_defaults(run_command=_fit)

    reproduce = commands.add_parser("reproduce", help="run a paper's procedure, end to end")
    reproduce.add_argument("procedure", choices=["md-iqa", "tfkt", "miqanet", "ms-iqa"])
    reproduce.add_argument("--data", type=Path, required=True, help="folder of the datasets")
    reproduce.add_argument("--run", type=Path, help="folder of the run (default runs/PROCEDURE)")
    reproduce.add_argument("--recipe", type=Path, help="instead of conf/recipes/PROCEDURE.toml")
    _training_arguments(reproduce)
    reproduce.set_defaults(run_command=_reproduce)

    weights = commands.add_parser("weights", help="keep a file of weights under timm's names")
    weights.add_argument("file", type=Path, help="tensors in the order of timm's")
    weights.add_argument("--backbone", required=True, help="timm's name of the network")
    weights.add_argument("--out", type=Path, required=True, help="folder of weights")
    weights.add_argument("--licence", default="", help="the file's, for the bundle's card")
    weights.set_defaults(run_command=_weights)

    evaluate = commands.add_parser("evaluate", help="measure a bundle or a run")
    measured = evaluate.add_mutually_exclusive_group(required=True)
    measured.add_argument("--bundle", type=Path, help="by ONNX Runtime")
    measured.add_argument("--run", type=Path, help="by PyTorch: as served, and as the paper")
    evaluate.add_argument(
        "--data",
        type=Path,
        required=True,
        help="simulated set, or a folder of images/ and scores.csv (file, score)",
    )
    evaluate.add_argument("--group", metavar="COLUMN", help="of scores.csv: what images share")
    evaluate.add_argument(
        "--logistic", action="store_true", help="fit five parameters before PLCC and RMSE"
    )
    evaluate.add_argument("--plots", type=Path, help="folder to draw the bundle's plots into")
    evaluate.add_argument("--threads", type=int, default=2)
    evaluate.add_argument("--json", action="store_true", help="on one line")
    evaluate.set_defaults(run_command=_evaluate)

    export = commands.add_parser("export", help="write a run as a bundle")
    export.add_argument(
        "--run", type=Path, required=True, help="of `fit`; of `reproduce`: RUN/TRAINING"
    )
    export.add_argument("--data", type=Path, help="what it was trained on")
    export.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="bundle.KEY=VALUE",
        help="what the recipe of `reproduce` does not say of the bundle",
    )
    export.add_argument("--out", type=Path, required=True, help="folder of the bundle")
    export.add_argument(
        "--measured",
        action="append",
        default=[],
        metavar="TITLE=FILE",
        help="figures that `evaluate --json` wrote, for the card",
    )
    export.set_defaults(run_command=_export)

    figures = commands.add_parser("figures", help="draw every degradation at five severities")
    figures.add_argument("out", type=Path, help="folder of the pages, a PNG a modality")
    figures.add_argument("--root", type=Path, help="DICOM series instead of digital phantoms")
    figures.add_argument("--cell", type=int, default=256, help="side of a picture (default 256)")
    figures.add_argument("--greys", type=int, default=256, help="fewer make smaller files")
    figures.set_defaults(run_command=_figures)
    return parser


def _recipe_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recipe", type=Path, default=DEFAULT_RECIPE)
    parser.add_argument("--root", type=Path, help="the folder that the recipe's folders are in")


def _training_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", type=Path, help="file or folder of backbone weights")
    parser.add_argument(
        "--allow-hub", action="store_true", help="fetch weights that are missing there"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override a value of the recipe, such as fit.epochs=3; no value takes the key out",
    )


def _overrides(options: argparse.Namespace) -> list[str]:
    """What the command line changes of a recipe, the weights' place included."""
    overrides = list(options.set)
    if options.weights:
        overrides.append(f"weights.folder={json.dumps(str(options.weights))}")
    if options.allow_hub:
        overrides.append("weights.hub=true")
    return overrides


if __name__ == "__main__":
    raise SystemExit(main())
