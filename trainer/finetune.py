"""Fine-tuning on a site's own scored images: a few epochs at a low rate, measured before and after.

Images of one group (a patient) stay on one side. What is told is of the groups held out, with
intervals, the gain included; whether it is better is for the reader of that interval to say. The
result is a bundle of its own name, its card naming the site's images: limits commissioned for the
old one do not hold for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.card import Card, TrainingSource
from models.networks.network import Network
from models.render import Float
from trainer import cards, from_bundle, loop, metrics
from trainer.batches import Pictures
from trainer.datasets import ScoredImage, ScoredImages, load
from trainer.evaluation import figures, fit_input
from trainer.export import write_bundle
from trainer.fit import estimates, load_network
from trainer.losses import Supervised
from trainer.settings import Hardware, Training, Views
from trainer.tracking import Epoch

SUFFIX = "-site"
MEASURED_NAME = "measured.json"
FEWEST_GROUPS = 12
FEWEST_IMAGES = 120
"""Below these, what is held out tells nothing and what is trained on is learned by heart."""

GAIN_SEED = 21
GAIN_RESAMPLES = 1000


@dataclass(frozen=True)
class Start:
    """What is trained on: network, its card, and golden pictures `[n, C, S, S]` of the result."""

    network: Network
    card: Card
    golden: Float


@dataclass(frozen=True)
class Tuning:
    """How little is changed. held_out: share of the images whose groups are only measured."""

    epochs: int = 5
    learning_rate: float = 1e-5
    batch_size: int = 8
    held_out: float = 0.3
    seed: int = 20
    threads: int = 2

    def training(self, images: int) -> Training:
        """Raises ValueError naming what is out of range."""
        return Training(
            seed=self.seed,
            epochs=self.epochs,
            batch_size=min(self.batch_size, images),
            learning_rate=self.learning_rate,
            weight_decay=1e-4,
            schedule="cosine",
            clip_norm=1.0,
        )


@dataclass(frozen=True)
class Fitted:
    """An image as the network's input, whatever its size on disk."""

    image: ScoredImage
    shape: tuple[int, int, int]

    def load(self) -> Float:
        return fit_input(self.image.load(), self.shape, self.image.name)


def start_from_bundle(folder: Path) -> Start:
    """Raises CardError and ValueError as `from_bundle.load` does."""
    network, bundle, golden = from_bundle.load(folder)
    return Start(network, bundle.card, golden)


def start_from_run(run: Path, golden_of: Path) -> Start:
    """A run of `fit`; golden_of: the bundle that it was exported as, whose golden pictures serve,
    so that the site's own images stay out of the result."""
    network, recipe, configuration = load_network(run)
    with np.load(golden_of / "golden.npz") as golden:
        pictures = np.asarray(golden["input"], np.float32)
    return Start(network, cards.fitted(recipe, configuration, {}), pictures)


def finetune(
    start: Start,
    images: ScoredImages,
    out: Path,
    tuning: Tuning = Tuning(),
    *,
    report: Callable[[Epoch], None] = lambda _: None,
) -> dict[str, Any]:
    """Train on, write the bundle `out/NAME-site` and `out/measured.json`; what that holds.

    Raises ValueError for too few images or groups, and for scores on another scale than the card's.
    """
    card, network = start.card, start.network
    _check(images, card)
    held_out, train = images.split_by_group((tuning.held_out, 1 - tuning.held_out), tuning.seed)
    shape = start.golden.shape[1:]
    measured_pictures = np.stack([Fitted(one, shape).load() for one in held_out])
    before = estimates(network, measured_pictures)["served"]
    _train(network, train, shape, out, tuning, report)
    after = estimates(network, measured_pictures)["served"]
    measured = {
        "site, before": figures(before, held_out),
        "site, fine-tuned": figures(after, held_out),
        "gain": gain(before, after, held_out),
        "trained_on": {"images": len(train), "groups": len(set(train.groups.tolist()))},
        "tuning": asdict(tuning),
    }
    write_bundle(network, _card(card, train, measured), start.golden, out / f"{card.name}{SUFFIX}")
    (out / MEASURED_NAME).write_text(json.dumps(measured, indent=1) + "\n", "utf-8")
    return measured


def read_images(folder: Path, group: str | None, card: Card) -> ScoredImages:
    """The site's scored images: `images/` and `scores.csv`, or DICOM with a `scores.csv`, drawn as
    the card says. Raises DatasetError."""
    if (folder / "images").is_dir():
        return load("folder", folder, group=group).labelled
    return load("dicom", folder, render=card.render).labelled


def gain(before: Float, after: Float, held_out: ScoredImages) -> dict[str, Any]:
    """After minus before of SROCC and RMSE, with 95 % intervals of a bootstrap over whole groups
    (both on the same images, so that what is hard for both cancels)."""
    targets, groups = held_out.scores, held_out.groups
    names, number = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(number == group) for group in range(len(names))]
    rng = np.random.default_rng(GAIN_SEED)
    everything = np.arange(len(targets))
    found = _gain(before, after, targets, everything)
    drawn = []
    for _ in range(GAIN_RESAMPLES):
        chosen = np.concatenate([members[i] for i in rng.integers(0, len(names), len(names))])
        drawn.append(_gain(before, after, targets, chosen))
    return {
        name: {
            "value": found[name],
            "interval": np.percentile([one[name] for one in drawn], [2.5, 97.5]).tolist(),
        }
        for name in found
    }


def _gain(
    before: Float, after: Float, targets: Float, chosen: npt.NDArray[np.intp]
) -> dict[str, float]:
    b, a, t = before[chosen], after[chosen], targets[chosen]
    return {
        "srocc": metrics.srocc(a, t) - metrics.srocc(b, t),
        "rmse": metrics.rmse(a, t) - metrics.rmse(b, t),
    }


def lines(measured: Mapping[str, Any]) -> list[str]:
    """The outcome as people read it."""
    before, after = measured["site, before"], measured["site, fine-tuned"]
    trained, change = measured["trained_on"], measured["gain"]
    shown = [
        f"trained on {trained['images']} images of {trained['groups']} groups; held out: "
        f"{after['n']} of {after['groups']} groups"
    ]
    for name, one in (("before", before), ("fine-tuned", after)):
        low, high = one["intervals"]["srocc"]
        shown.append(
            f"{name:<11} SROCC {one['srocc']:.3f} ({low:.3f} to {high:.3f})  RMSE {one['rmse']:.3f}"
        )
    for name in ("srocc", "rmse"):
        low, high = change[name]["interval"]
        value = change[name]["value"]
        shown.append(f"gain        {name.upper()} {value:+.3f} ({low:+.3f} to {high:+.3f})")
    if change["rmse"]["interval"][1] >= 0 and change["srocc"]["interval"][0] <= 0:
        shown.append("Neither interval excludes 0: nothing shows that it became better.")
    return shown


def _check(images: ScoredImages, card: Card) -> None:
    groups = len(set(images.groups.tolist()))
    if len(images) < FEWEST_IMAGES or groups < FEWEST_GROUPS:
        raise ValueError(
            f"{len(images)} scored images of {groups} groups are too few to fine-tune on and to "
            f"measure with: bring {FEWEST_IMAGES} of {FEWEST_GROUPS} (--group names the column of "
            "patients)"
        )
    if (images.low, images.high) != (card.scale.worst, card.scale.best):
        raise ValueError(
            f"scores from {images.low:g} to {images.high:g}, and the network's go from "
            f"{card.scale.worst:g} to {card.scale.best:g}; bring them to its scale"
        )


def _train(
    network: Network,
    train: ScoredImages,
    shape: tuple[int, int, int],
    out: Path,
    tuning: Tuning,
    report: Callable[[Epoch], None],
) -> None:
    hardware = Hardware(accelerator="cpu", threads=tuning.threads)
    fabric = loop.start(hardware)
    torch.manual_seed(tuning.seed)
    pictures = Pictures(
        [Fitted(image, shape) for image in train],
        train.scores,
        # mirror images only: a reader's picture has its way up
        Views(side=network.preset.side, mirror=0.5),
        network.preset.channels,
    )
    words = json.dumps({"finetune": asdict(tuning), "images": train.names})
    loop.train(
        network,
        Supervised(network),
        tuning.training(len(train)),
        hardware,
        fabric,
        pictures,
        loop.Step(out, words, None, report),
    )
    network.eval()


def _card(card: Card, train: ScoredImages, measured: Mapping[str, Any]) -> Card:
    groups = len(set(train.groups.tolist()))
    return replace(
        card,
        name=f"{card.name}{SUFFIX}",
        training=(
            *card.training,
            TrainingSource("site", "the site's own: this bundle stays there", len(train)),
        ),
        limitations=(
            *card.limitations,
            f"Fine-tuned on {len(train)} images of {groups} groups scored at one site; figures "
            "measured before that do not hold for it.",
        ),
        measured={name: measured[name] for name in ("site, before", "site, fine-tuned")},
    )
