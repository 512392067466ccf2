"""Severities, taught before scores: a network first learns what was done to a picture, and how far.

A score is one number a picture; the severities of a simulated picture are one for each kind, and
they are exact. So both branches of MS-IQA end, for the time being, in K + 1 numbers: the severity
of each of the recipe's K degradations, and the target, scaled to 0…1. Idea: Kang et al.,
Simultaneous estimation of image quality and distortion via multi-task CNNs, ICIP 2015.

What is shown are crops of native resolution somewhere on the body, for a convolutional network
learns from a part of a picture at a part of the cost:

- half of them from the simulated set, as they are;
- half made worse again here: of pictures that have none of the degradations of a capture yet,
  enlarged or reduced, brighter or darker, with fresh noise, specks and JPEG. That is cheap and
  never the same twice. Their target is not known and not taught.

A step's crops and dropout follow from the seed and the step's number, and every KEPT_EVERY steps
are kept, so a training that was ended goes on to the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from models.networks.ms_iqa import MSIQA
from models.render import Float
from trainer.datasets import SimulatedSet
from trainer.degradations import degrade
from trainer.degradations.compression import colour_jpeg
from trainer.depthwise import quicken
from trainer.recipe import Recipe, Teaching

TAUGHT_NAME = "taught.pt"
KEPT_EVERY = 200
REPORTED_EVERY = 50
WARM_UP = 0.25
"""Share of the steps in which the rate rises to its highest."""

SCORE_SLOPE = 0.1
WEIGHT_SLOPE = 4.0
"""Of f and of w's logit in the taught target, where the readout begins: a sigmoid whose logit is
4·(x − ½) follows x about the middle."""

OF_CAPTURES = ("impulse_noise", "gaussian_noise", "colour_jpeg")
"""In the order they happen."""
ABSENT = 0.35
"""Chance that a crop made worse here has none of one of them."""

ZOOM = (0.75, 1.35)
BRIGHTER = (0.85, 1.15)
AROUND = 16
"""Pixels about a crop that are damaged with it, so that JPEG's blocks start anywhere."""

NO_BODY = 0.08
"""Mean of the channels below which a pixel is air."""
MOSTLY_AIR = 0.3
"""Share of body below which a crop is drawn again, ATTEMPTS times in all."""
ATTEMPTS = 4


@dataclass(frozen=True)
class Told:
    """How far a training has come: means over the last steps of the squared error, by name."""

    step: int
    errors: dict[str, float]

    def __str__(self) -> str:
        told = ", ".join(f"{name} {error:.4f}" for name, error in self.errors.items())
        return f"step {self.step}: squared errors of {told}"


class Severities(nn.Module):
    """A network whose branches end in K + 1 numbers each: pictures → `[2, B, K + 1]`."""

    def __init__(self, network: MSIQA, kinds: int) -> None:
        super().__init__()
        self.network = network
        score: Any = network.score
        weigh: Any = network.weigh
        score[-1] = nn.Linear(score[-1].in_features, kinds + 1)
        weigh[-2] = nn.Linear(weigh[-2].in_features, kinds + 1)
        weigh[-1] = nn.Identity()

    @property
    def lasts(self) -> tuple[nn.Linear, nn.Linear]:
        """What ends the score branch and the weight branch here."""
        score: Any = self.network.score
        weigh: Any = self.network.weigh
        return score[-1], weigh[-2]

    def forward(self, pictures: Tensor) -> Tensor:
        for_score, for_weight = self.network.vectors(pictures)
        return torch.stack([self.network.score(for_score), self.network.weigh(for_weight)])


def teach(
    network: MSIQA,
    recipe: Recipe,
    data: SimulatedSet,
    fabric: Fabric,
    run: Path,
    report: Callable[[Told], None] = lambda _: None,
) -> None:
    """Teach a network in place, going on from what the run folder holds.

    Its own last layers then tell the target, as taught: w nearly is it, f varies about 1 by a
    tenth of it. So f×w starts as a score. Raises ValueError for a network of
    another kind, or where the folder holds a training by another recipe.
    """
    settings = recipe.teach
    if settings is None or not isinstance(network, MSIQA) or not network.weighted:
        raise ValueError("[teach] is for ms-iqa with both of its branches; take it out")
    names = [one.name for one in recipe.degradations]
    torch.manual_seed(settings.seed)
    # The same network for crops: what it learns is of no size.
    crops = MSIQA(replace(network.preset, side=settings.side))
    crops.load_state_dict(network.state_dict())
    quicken(crops)
    taught = Severities(crops, len(names)).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(_rates(taught, settings), weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        [group["lr"] for group in optimiser.param_groups],
        total_steps=settings.steps,
        pct_start=WARM_UP,
        cycle_momentum=False,
    )
    wrapped, wrapped_optimiser = fabric.setup(taught, optimiser)
    first, path = 0, run / TAUGHT_NAME
    if path.exists():
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["recipe"] != recipe.text:
            raise ValueError(f"{path} was made from another recipe; choose a new --run folder")
        taught.load_state_dict(state["taught"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        first = int(state["step"])
    taught.train()
    source, recent = Crops(data, names, settings.side), None
    for step in range(first + 1, settings.steps + 1):
        rng = np.random.default_rng((settings.seed, step))
        torch.manual_seed(int(rng.integers(2**31)))
        pictures, wanted = source.batch(settings.batch_size, rng)
        pictures, wanted = fabric.to_device(pictures), fabric.to_device(wanted)
        told = wrapped(pictures.to(memory_format=torch.channels_last)).float()
        known = ~wanted.isnan()
        squared = (told - wanted.nan_to_num()).square() * known
        errors = squared.sum(dim=(0, 1)) / (2 * known.sum(dim=0).clamp(min=1))
        wrapped_optimiser.zero_grad()
        fabric.backward(errors.sum())
        fabric.clip_gradients(wrapped, wrapped_optimiser, max_norm=1.0)
        wrapped_optimiser.step()
        schedule.step()
        recent = errors.detach() if recent is None else recent.lerp(errors.detach(), 0.02)
        if step % REPORTED_EVERY == 0 or step == settings.steps:
            report(Told(step, dict(zip([*names, "target"], recent.tolist(), strict=True))))
        if fabric.is_global_zero and (step % KEPT_EVERY == 0 or step == settings.steps):
            run.mkdir(parents=True, exist_ok=True)
            state = {
                "recipe": recipe.text,
                "taught": taught.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "step": step,
            }
            partial = path.with_suffix(".tmp")
            torch.save(state, partial)
            partial.replace(path)
    learned = crops.state_dict()
    own = network.state_dict()
    ends = [key for key in own if own[key].shape != learned[key].shape]
    network.load_state_dict(own | {key: learned[key] for key in own if key not in ends})
    score: Any = network.score
    weigh: Any = network.weigh
    _begin(score[-1], taught.lasts[0], SCORE_SLOPE, 1.0)
    _begin(weigh[-2], taught.lasts[1], WEIGHT_SLOPE, 0.0)


def _begin(own: nn.Linear, taught: nn.Linear, slope: float, middle: float) -> None:
    """Have a branch's last layer tell the target it was taught: `middle` at half the scale."""
    with torch.no_grad():
        own.weight.copy_(slope * taught.weight[-1:])
        own.bias.copy_(slope * (taught.bias[-1:] - 0.5) + middle)


def _rates(taught: Severities, settings: Teaching) -> list[dict[str, Any]]:
    """Parameters that learn: those with published weights at a rate of their own."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in taught.named_parameters():
        if parameter.requires_grad:
            groups[name.startswith("network.cnn.")].append(parameter)
    return [
        {"params": groups[True], "lr": settings.backbone_rate},
        {"params": groups[False], "lr": settings.learning_rate},
    ]


class Crops:
    """Crops of a simulated set on the body, each with its severities and its target.

    Raises ValueError where the set's pictures are too small for them.
    """

    def __init__(self, data: SimulatedSet, names: Sequence[str], side: int) -> None:
        if min(data.pictures.shape[2:]) < side + AROUND:
            raise ValueError(
                f"pictures of {data.pictures.shape[2:]} are too small for crops of {side} and "
                f"{AROUND} about them; lower teach.side"
            )
        self.data, self.names, self.side = data, list(names), side
        self.wanted = np.array(
            [
                [*(entry.parts.get(name, 0.0) for name in names), entry.target / 4.0]
                for entry in data.entries
            ],
            np.float32,
        )
        self.undamaged = np.flatnonzero(
            [not set(entry.parts) & set(OF_CAPTURES) for entry in data.entries]
        )

    def batch(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Pictures `[count, 3, side, side]` and what is to be told of them `[count, K + 1]`.

        Every second one is made worse here; its target is NaN.
        """
        made = [self._worse(rng) if number % 2 else self._kept(rng) for number in range(count)]
        pictures, wanted = zip(*made, strict=True)
        return torch.from_numpy(np.stack(pictures)), torch.from_numpy(np.stack(wanted))

    def _kept(self, rng: np.random.Generator) -> tuple[Float, Float]:
        index = int(rng.integers(len(self.wanted)))
        picture = np.asarray(self.data.pictures[index], np.float32)
        return turned(_cut(picture, self.side, rng), rng), self.wanted[index]

    def _worse(self, rng: np.random.Generator) -> tuple[Float, Float]:
        index = int(rng.choice(self.undamaged))
        picture = np.asarray(self.data.pictures[index], np.float32)
        if rng.random() < 0.5:
            height, width = (round(n * rng.uniform(*ZOOM)) for n in picture.shape[1:])
            wanted_size = (max(width, self.side + AROUND), max(height, self.side + AROUND))
            smaller = wanted_size[0] < picture.shape[2]
            resized = cv2.resize(
                picture.transpose(1, 2, 0),
                wanted_size,
                interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC,
            )
            picture = np.asarray(resized.transpose(2, 0, 1), np.float32)
        picture = (picture * np.float32(rng.uniform(*BRIGHTER))).clip(0, 1)
        crop = _cut(picture, self.side + AROUND, rng)
        wanted = self.wanted[index].copy()
        wanted[-1] = np.nan
        for name in OF_CAPTURES:
            if name not in self.names:
                continue
            severity = 0.0 if rng.random() < ABSENT else float(rng.uniform())
            wanted[self.names.index(name)] = severity
            if name == "colour_jpeg":
                # As stored: at best quality, or not compressed at all.
                crop = colour_jpeg(crop, severity) if severity or rng.random() < 0.6 else crop
            elif severity:
                crop = np.stack(
                    [degrade(name, one, severity, rng, window=(0.0, 1.0)) for one in crop]
                )
        top, left = rng.integers(0, AROUND + 1, 2)
        inner = crop[:, top : top + self.side, left : left + self.side]
        return turned(inner, rng), wanted


def _cut(picture: Float, side: int, rng: np.random.Generator) -> Float:
    """A square about a random place of the body, not mostly air or table where that can be."""
    rows, columns = picture.shape[1:]
    coarse = cv2.resize(
        picture.mean(axis=0), (columns // 8, rows // 8), interpolation=cv2.INTER_AREA
    )
    body = coarse > NO_BODY
    places = np.argwhere(body) if body.any() else np.argwhere(~body)
    for _ in range(ATTEMPTS):
        centre = places[rng.integers(len(places))] * 8 + rng.integers(-32, 33, 2)
        top, left = (
            int(np.clip(c - side // 2, 0, size - side))
            for c, size in zip(centre, (rows, columns), strict=True)
        )
        there = body[top // 8 : (top + side) // 8, left // 8 : (left + side) // 8]
        if there.mean() > MOSTLY_AIR:
            break
    return picture[:, top : top + side, left : left + side]


def turned(picture: Float, rng: np.random.Generator) -> Float:
    """A picture `[C, S, S]` in one of its eight orientations, by lot."""
    picture = np.rot90(picture, int(rng.integers(4)), axes=(1, 2))
    if rng.integers(2):
        picture = picture[:, :, ::-1]
    return np.ascontiguousarray(picture, np.float32)
