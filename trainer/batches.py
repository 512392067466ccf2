"""Batches of scored pictures, in an order and with variations that an epoch's number fixes.

Every draw has a random generator of its own, seeded by (seed, epoch, place in the epoch). So an
epoch repeats exactly whatever happened before it, however many processes load, and a resumed run
needs no state of a loader.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from models.render import Float
from trainer.settings import Hardware, Views
from trainer.views import measured_views, prepared, training_view


class Loadable(Protocol):
    """A picture that can be loaded: `[C, H, W]` float32, 0…1."""

    def load(self) -> Float: ...


@dataclass(frozen=True)
class Draw:
    """A picture's index, and the seed of what is varied in it; no seed: as it is measured."""

    index: int
    seed: tuple[int, ...] | None = None


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """Pictures with scores, as a network with so many channels sees them.

    Drawn with a seed, an item is a training view `[C, S, S]` and its score; without one, the
    measured views `[crops, C, S, S]`. Scores are NaN where there is none.
    """

    def __init__(
        self,
        images: Sequence[Loadable],
        scores: npt.NDArray[np.floating[Any]],
        views: Views,
        channels: int,
        keep_in_memory: bool = False,
    ) -> None:
        if len(images) != len(scores):
            raise ValueError(f"{len(images)} pictures and {len(scores)} scores")
        self.images = images
        self.scores = torch.from_numpy(np.asarray(scores, np.float32))
        self.views = views
        self.channels = channels
        self._kept: dict[int, Float] | None = {} if keep_in_memory else None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, Tensor]:
        picture = self._prepared(draw.index)
        if draw.seed is None:
            view = measured_views(picture, self.views)
        else:
            rng = np.random.default_rng(draw.seed)
            view = training_view(picture, self.views, rng)
        return torch.from_numpy(view), self.scores[draw.index]

    def _prepared(self, index: int) -> Float:
        if self._kept is not None and index in self._kept:
            return self._kept[index]
        picture = prepared(self.images[index].load(), self.views, self.channels)
        if self._kept is not None:
            self._kept[index] = picture
        return picture


class Shuffled(Sampler[list[Draw]]):
    """The batches of one process in one epoch; all processes together see a picture once.

    batches: how many each process draws; by default as many as the pictures fill, what is left
    over waiting for another epoch. More than that goes through the pictures again.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        batches: int | None = None,
    ) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.rank, self.world = rank, world
        self.batches = count // (batch_size * world) if batches is None else batches
        self.epoch = 0

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[Draw]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        needed = self.batches * self.batch_size * self.world
        rounds = -(-needed // self.count)
        order = np.concatenate([rng.permutation(self.count) for _ in range(rounds)])
        for batch in range(self.batches):
            start = (batch * self.world + self.rank) * self.batch_size
            yield [
                Draw(int(order[place]), (self.seed, self.epoch, place))
                for place in range(start, start + self.batch_size)
            ]


def training_batches(
    pictures: Pictures, order: Shuffled, hardware: Hardware
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Batches of pictures `[B, C, S, S]` and scores `[B]` in an order."""
    return DataLoader(
        pictures,
        batch_sampler=order,
        num_workers=hardware.workers,
        pin_memory=torch.cuda.is_available(),
        # A generator of its own: a loader otherwise takes a number from torch's at every epoch.
        generator=torch.Generator(),
    )


def measured_batches(
    pictures: Pictures, indices: Sequence[int], batch_size: int, hardware: Hardware
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Batches of all views `[B, crops, C, S, S]` of some pictures, in order."""
    draws = [Draw(index) for index in indices]
    return DataLoader(
        pictures,
        batch_sampler=[
            draws[start : start + batch_size] for start in range(0, len(draws), batch_size)
        ],
        num_workers=hardware.workers,
        generator=torch.Generator(),
    )
