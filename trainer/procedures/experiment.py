"""The experiment: what every procedure does with data, networks and the loop."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric

from models.card import StartingWeights
from models.networks.network import Network
from models.render import Float, RenderSpec
from trainer import datasets, loop, metrics, weights
from trainer.batches import Pictures
from trainer.datasets import ScoredImages
from trainer.logistic import fit_logistic
from trainer.losses import Supervised
from trainer.procedures.description import Description
from trainer.reference import Measured
from trainer.settings import Hardware, Table, Training, Views, Weights
from trainer.tracking import Epoch

RECIPE_NAME = "recipe.toml"
CONFIGURATION_NAME = "configuration.json"
MEASURED_NAME = "measured.json"
TRAINING_NAME = "training.json"
"""In the folder of a training: what it keeps, and how many images of each source it has seen."""

FEWEST_FOR_LOGISTIC = 6
"""Five parameters pass through fewer."""


class Source(Table):
    """Where images come from: a dataset's name, its folder in the data folder, its part.

    group: of a plain folder, the column that names what images share; render: of DICOM slices, how
    they are drawn, as a bundle recipe's table of that name; licence, attribution: for the card of a
    bundle.
    """

    dataset: str
    folder: str = "."
    part: str | None = None
    group: str | None = None
    render: dict[str, str | float] | None = None
    licence: str = ""
    attribution: str = ""

    @property
    def title(self) -> str:
        """Its name in a run's files and on a card."""
        words = [self.dataset, self.part or "", "" if self.folder == "." else f"in {self.folder}"]
        return " ".join(word for word in words if word)


class ProcedureRecipe(Table):
    """What the recipes of all procedures have; `ablations` are the network's own names.

    bundle: what a card says beyond the run; only with it a run is exported.
    """

    procedure: str
    architecture: str
    preset: str
    ablations: tuple[str, ...] = ()
    hardware: Hardware = Hardware()
    weights: Weights = Weights()
    bundle: Description | None = None


@dataclass
class Experiment:
    """One run of a procedure: its recipe, folders and Fabric, and the weights it started from.

    loaded: the images of every source, with its title; seen: titles and names of the images that a
    training's network has learned from, by the training's name.
    """

    recipe: ProcedureRecipe
    text: str
    data: Path
    run: Path
    fabric: Fabric
    report: Callable[[str, Epoch, int], None]
    records: tuple[StartingWeights, ...] = ()
    loaded: list[tuple[str, ScoredImages]] = field(default_factory=list)
    seen: dict[str, set[tuple[str, str]]] = field(default_factory=dict)

    @classmethod
    def begin(
        cls,
        recipe: ProcedureRecipe,
        text: str,
        data: Path,
        run: Path,
        report: Callable[[str, Epoch, int], None],
    ) -> Experiment:
        """Start Fabric and keep the recipe. Raises ValueError where the run is another recipe's."""
        kept = run / RECIPE_NAME
        if kept.exists() and kept.read_text("utf-8") != text:
            raise ValueError(f"{kept} is another recipe; choose a new --run folder")
        fabric = loop.start(recipe.hardware)
        if fabric.is_global_zero:
            run.mkdir(parents=True, exist_ok=True)
            kept.write_text(text, "utf-8")
        return cls(recipe, text, data, run, fabric, report)

    def load(self, source: Source) -> ScoredImages:
        """The images of a source; their number goes into the run's configuration."""
        images = load_source(source, self.data)
        self.loaded.append((source.title, images))
        return images

    def build(self, seed: int) -> Network:
        """The recipe's network on the weights it names, new parameters drawn by a seed."""
        torch.manual_seed(seed)
        recipe = self.recipe
        network, self.records = weights.build(
            recipe.architecture, recipe.preset, recipe.ablations, recipe.weights
        )
        return network

    def pictures(
        self,
        network: Network,
        images: ScoredImages,
        views: Views,
        scores: npt.NDArray[np.float32] | None = None,
    ) -> Pictures:
        """Images as a network sees them; scores: the ones to learn, by default on its scale."""
        return Pictures(
            images.images,
            on_scale(images, network.preset.highest) if scores is None else scores,
            views if views.side else views.model_copy(update={"side": network.preset.side}),
            network.preset.channels,
            self.recipe.hardware.keep_in_memory,
        )

    def train(
        self,
        name: str,
        network: Network,
        settings: Training,
        pictures: Pictures,
        *,
        objective: Supervised | None = None,
        others: Pictures | None = None,
        validation: Pictures | None = None,
        follows: Iterable[str] = (),
    ) -> None:
        """Train a network in the run's folder of this name.

        follows: the trainings that this one builds on, whose images its network knows too.
        """
        self._tell(name, settings, pictures, others, follows)
        loop.train(
            network,
            objective or Supervised(network),
            settings,
            self.recipe.hardware,
            self.fabric,
            pictures,
            loop.Step(
                self.run / name,
                self.text,
                report=lambda epoch: self.report(name, epoch, settings.epochs),
            ),
            others=others,
            validation=validation,
        )

    def _tell(
        self,
        name: str,
        settings: Training,
        pictures: Pictures,
        others: Pictures | None,
        follows: Iterable[str],
    ) -> None:
        """Write TRAINING_NAME, for whoever exports the training's network."""
        titles = {id(one): title for title, images in self.loaded for one in images}
        seen = set().union(*(self.seen[earlier] for earlier in follows))
        for part in (pictures, others):
            for one in part.images if part is not None else ():
                seen.add((titles[id(one)], str(getattr(one, "name", ""))))
        self.seen[name] = seen
        if self.fabric.is_global_zero:
            counts = Counter(title for title, _ in seen)
            told = {"keep": settings.keep, "images": dict(sorted(counts.items()))}
            (self.run / name).mkdir(parents=True, exist_ok=True)
            (self.run / name / TRAINING_NAME).write_text(json.dumps(told, indent=1) + "\n", "utf-8")

    def estimates(self, network: Network, pictures: Pictures) -> Float:
        """The scores `[n]` of pictures, as the paper evaluates."""
        self.fabric.to_device(network)
        return loop.estimates(network, pictures, 16, self.recipe.hardware, self.fabric)

    def test(
        self, name: str, network: Network, images: ScoredImages, views: Views
    ) -> tuple[Float, Float]:
        """Estimates and scores `[n]` of images, which also go to `NAME.csv` in the run."""
        pictures = self.pictures(network, images, views)
        found = self.estimates(network, pictures)
        scores = pictures.scores.numpy()
        if self.fabric.is_global_zero:
            with (self.run / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerow(["file", "group", "score", "estimate"])
                for image, score, estimate in zip(images.images, scores, found, strict=True):
                    table.writerow([image.name, image.group, f"{score:.4f}", f"{estimate:.4f}"])
        return found, scores

    def close(self, measured: tuple[Measured, ...]) -> None:
        """Write what was measured, and what the run is made of."""
        if not self.fabric.is_global_zero:
            return
        configuration = {
            "procedure": self.recipe.procedure,
            "images": {title: len(images) for title, images in self.loaded},
            "weights": weights.as_tables(self.records),
            "torch": torch.__version__,
            "device": str(self.fabric.device),
        }
        rows = [asdict(one) | {"overall": one.overall} for one in measured]
        for name, content in ((CONFIGURATION_NAME, configuration), (MEASURED_NAME, rows)):
            (self.run / name).write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def load_source(source: Source, data: Path) -> ScoredImages:
    """The images of a source in the data folder."""
    return datasets.load(
        source.dataset,
        data / source.folder,
        part=source.part,
        group=source.group,
        render=RenderSpec.from_table(dict(source.render)) if source.render else None,
    )


def sources_of(recipe: ProcedureRecipe) -> Iterator[tuple[str, Source]]:
    """The sources in a recipe's data, with the key that each stands under."""
    data = getattr(recipe, "data", None)
    for name in type(data).model_fields if isinstance(data, Table) else ():
        source = getattr(data, name)
        if isinstance(source, Source):
            yield f"data.{name}", source


def on_scale(images: ScoredImages, highest: float) -> npt.NDArray[np.float32]:
    """Scores `[n]` from the published scale to 0…highest, the best picture highest.

    NaN where an image has no score.
    """
    published = np.array(
        [np.nan if image.score is None else image.score for image in images.images], np.float32
    )
    share = (published - images.low) / (images.high - images.low)
    return np.asarray((share if images.higher_is_better else 1 - share) * highest, np.float32)


def agreement(
    method: str, estimates: Float, scores: Float, *, training: str = "", logistic: bool = False
) -> Measured:
    """The figures of estimates `[n]` against scores `[n]`.

    training: whose network made the estimates; logistic: also PLCC after the five-parameter
    logistic, fitted to these very scores (NaN for fewer than six).
    """
    bent = np.nan
    if len(scores) < 3 or np.ptp(scores) == 0 or np.ptp(estimates) == 0:
        plain = (np.nan, np.nan, np.nan)
    else:
        plain = (
            metrics.plcc(estimates, scores),
            metrics.srocc(estimates, scores),
            metrics.krocc(estimates, scores),
        )
        if logistic and len(scores) >= FEWEST_FOR_LOGISTIC:
            bent = metrics.plcc(fit_logistic(estimates, scores)(estimates), scores)
    return Measured(
        method,
        len(scores),
        *plain,
        rmse=float(np.sqrt(np.mean((estimates - scores) ** 2))),
        plcc_logistic=bent if logistic else None,
        training=training,
    )


def stratified(
    images: ScoredImages, fraction: float, seed: int
) -> tuple[ScoredImages, ScoredImages]:
    """Two parts with like scores, the second of about this fraction; groups stay whole.

    Groups in order of their mean score are dealt into runs of 1/fraction, and one of each run, by
    lot, goes to the second part. Raises ValueError where there are too few groups for one.
    """
    names, number = np.unique(images.groups, return_inverse=True)
    scores = images.scores
    means = np.array([scores[number == group].mean() for group in range(len(names))])
    every = round(1 / fraction)
    if len(names) < max(2, every):
        raise ValueError(
            f"{len(names)} groups are too few to hold out {fraction:g} of them; bring more images"
        )
    rng = np.random.default_rng(seed)
    order = np.argsort(means, kind="stable")
    held = [
        int(order[start + rng.integers(every)]) for start in range(0, len(order) - every + 1, every)
    ]
    second = np.isin(number, held)
    return images.select(np.flatnonzero(~second)), images.select(np.flatnonzero(second))
