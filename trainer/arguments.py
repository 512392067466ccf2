"""The arguments of `python -m trainer`."""

from __future__ import annotations

import argparse
from pathlib import Path

DEFAULT_RECIPE = Path("conf/recipes/ct-md-iqa-compact.toml")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m trainer", description="Train and export the networks that the gate serves."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    phantom = commands.add_parser("phantom", help="write a digital chest as two DICOM series")
    phantom.add_argument("out", type=Path)
    phantom.add_argument("--slices", type=int, default=24, help="per series (default 24)")
    phantom.add_argument("--seed-uids", help="make UIDs from this text instead of fresh ones")

    simulate = commands.add_parser("simulate", help="degrade, draw and score clean slices")
    _recipe_arguments(simulate)
    simulate.add_argument("--out", type=Path, required=True, help="folder of the simulated set")
    simulate.add_argument("--source", action="append", default=[], help="only this source")
    simulate.add_argument(
        "--grid", action="store_true", help="the recipe's fixed severities, for evaluation"
    )
    simulate.add_argument(
        "--plain", action="store_true", help="random severities, every slice drawn as it is read"
    )
    simulate.add_argument(
        "--part",
        choices=["all", "train", "held-out"],
        default="all",
        help="of sources with blocks held out: only what is trained on, or only what is not",
    )
    simulate.add_argument("--every", type=int, help="one slice in so many")
    simulate.add_argument("--processes", type=int, default=2)

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

    fit = commands.add_parser("fit", help="train the recipe's network; resumes what --run holds")
    fit.add_argument("--recipe", type=Path, default=DEFAULT_RECIPE)
    fit.add_argument("--data", type=Path, required=True, help="simulated set")
    fit.add_argument("--run", type=Path, required=True, help="folder of the run")
    fit.add_argument("--without", help="leave this source out")
    fit.add_argument("--start", type=Path, help="go on from the weights of this run")
    _training_arguments(fit)
    fit.add_argument("--validation", type=Path, help="simulated set to watch, never to choose by")

    reproduce = commands.add_parser("reproduce", help="run a paper's procedure, end to end")
    reproduce.add_argument("procedure", choices=["md-iqa", "tfkt", "miqanet", "ms-iqa"])
    reproduce.add_argument("--data", type=Path, required=True, help="folder of the datasets")
    reproduce.add_argument("--run", type=Path, help="folder of the run (default runs/PROCEDURE)")
    reproduce.add_argument("--recipe", type=Path, help="instead of conf/recipes/PROCEDURE.toml")
    _training_arguments(reproduce)

    weights = commands.add_parser("weights", help="keep a file of weights under timm's names")
    weights.add_argument("file", type=Path, help="tensors in the order of timm's")
    weights.add_argument("--backbone", required=True, help="timm's name of the network")
    weights.add_argument("--out", type=Path, required=True, help="folder of weights")
    weights.add_argument("--licence", default="", help="the file's, for the bundle's card")

    evaluate = commands.add_parser("evaluate", help="measure a bundle or a run")
    measured = evaluate.add_mutually_exclusive_group(required=True)
    measured.add_argument("--bundle", type=Path, help="by ONNX Runtime")
    measured.add_argument("--run", type=Path, help="by PyTorch: as served, and as the paper")
    evaluate.add_argument(
        "--data",
        type=Path,
        required=True,
        help="simulated set, folder of images/ and scores.csv (file, score), or DICOM series",
    )
    evaluate.add_argument("--group", metavar="COLUMN", help="of scores.csv: what images share")
    evaluate.add_argument(
        "--logistic", action="store_true", help="fit five parameters before PLCC and RMSE"
    )
    evaluate.add_argument("--plots", type=Path, help="folder to draw the bundle's plots into")
    evaluate.add_argument(
        "--ignore-domain",
        action="store_true",
        help="score slices that the gate would refuse as out of domain, such as phantoms",
    )
    evaluate.add_argument("--threads", type=int, default=2)
    evaluate.add_argument("--json", action="store_true", help="on one line")

    robustness = commands.add_parser("robustness", help="measure what should not move a score")
    _recipe_arguments(robustness)
    robustness.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    robustness.add_argument("--source", action="append", default=[], help="only this source")
    robustness.add_argument(
        "--series", action="append", default=[], type=Path, help="folder of clean CT slices"
    )
    robustness.add_argument("--grid", type=Path, help="`simulate --grid` set, for detection")
    robustness.add_argument("--every", type=int, default=4, help="one slice in so many (default 4)")
    robustness.add_argument("--limit", type=float, default=2.5, help="a median below alarms")
    robustness.add_argument(
        "--per-day", type=float, default=40, help="acquisitions of a scanner in a day (default 40)"
    )
    robustness.add_argument("--threads", type=int, default=2)
    robustness.add_argument("--json", action="store_true", help="on one line, instead of tables")

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
        "--root",
        type=Path,
        help="the folder that the recipe's folders are in: learn the bundle's domain from them",
    )
    export.add_argument(
        "--measured",
        action="append",
        default=[],
        metavar="TITLE=FILE",
        help="figures that `evaluate --json` wrote, for the card",
    )

    page = commands.add_parser("page", help="write a bundle's page for people from its card")
    page.add_argument("--bundle", type=Path, required=True)
    page.add_argument("--out", type=Path, default=Path("docs/bundles"), help="folder of the page")

    domain = commands.add_parser("domain", help="learn what a bundle is for, into its card")
    _recipe_arguments(domain)
    domain.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    domain.add_argument("--slices", type=int, default=6, help="of each source (default 6)")

    uncertainty = commands.add_parser(
        "uncertainty", help="find how far a bundle's scores may be off, into its card"
    )
    uncertainty.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    uncertainty.add_argument(
        "--data", type=Path, required=True, help="simulated set of sources it was not trained on"
    )
    uncertainty.add_argument(
        "--found-on", required=True, help="what the set shows, in words, for the card"
    )
    uncertainty.add_argument("--threads", type=int, default=2)

    commission = commands.add_parser(
        "commission", help="propose limits from folders of one's own series"
    )
    gathered = commission.add_mutually_exclusive_group(required=True)
    gathered.add_argument("--series", type=Path, nargs="+", metavar="DIR", help="DICOM folders")
    gathered.add_argument(
        "--assessed", type=Path, metavar="FILE", help="of iqgate assess --json --commissioning"
    )
    commission.add_argument("--policy", type=Path, help="default: the one that ships")
    commission.add_argument(
        "--without", nargs="+", default=[], metavar="UID", help="series found to be bad"
    )
    commission.add_argument("--bundles", type=Path, help="default: those that ship")
    budget = commission.add_mutually_exclusive_group()
    budget.add_argument("--share", type=float, help="of acquisitions that may alarm (0.02)")
    budget.add_argument("--alarms-per-day", type=float, metavar="N", help="per scanner")

    finetune = commands.add_parser(
        "finetune", help="train a bundle on, with one's own scored images"
    )
    finetune.add_argument("--bundle", type=Path, required=True, help="what is trained on")
    finetune.add_argument(
        "--run", type=Path, help="the run it was exported from: start from its weights instead"
    )
    finetune.add_argument(
        "--data", type=Path, required=True, help="images/ and scores.csv, or DICOM and scores.csv"
    )
    finetune.add_argument("--group", metavar="COLUMN", help="of scores.csv: the patient")
    finetune.add_argument("--out", type=Path, required=True, help="folder of the new bundle")
    finetune.add_argument("--epochs", type=int, default=5)
    finetune.add_argument("--learning-rate", type=float, default=1e-5)
    finetune.add_argument("--held-out", type=float, default=0.3, help="share of images (0.3)")
    finetune.add_argument("--threads", type=int, default=2)

    figures = commands.add_parser("figures", help="draw every degradation at five severities")
    figures.add_argument("out", type=Path, help="folder of the pages, a PNG a modality")
    figures.add_argument("--root", type=Path, help="DICOM series instead of digital phantoms")
    figures.add_argument("--cell", type=int, default=256, help="side of a picture (default 256)")
    figures.add_argument("--greys", type=int, default=256, help="fewer make smaller files")
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
