"""Scored images: what every dataset comes to, whatever its layout on disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.render import Float


class DatasetError(ValueError):
    """A folder does not hold what it should; the message names file or row, and the way out."""


@dataclass(frozen=True)
class ScoredImage:
    """One image of a dataset.

    name: as published, unique in its set; score: as published, None where there is none; group:
    what it shares with others (a source slice, a reference, a patient), so that splits keep it on
    one side; read: reads it, a module-level function or a partial of one, so that worker
    processes can have it.
    """

    name: str
    group: str
    score: float | None
    read: Callable[[], Float]

    def load(self) -> Float:
        """The image, float32 `[C, H, W]`, 0…1. Raises DatasetError naming an unreadable file."""
        return self.read()


@dataclass(frozen=True)
class ScoredImages:
    """Images with their scores on the published scale, `low` … `high`.

    higher_is_better: False where the published score grows with the damage (LIVE's DMOS). Raises
    DatasetError for duplicate names and scores out of range.
    """

    images: Sequence[ScoredImage]
    low: float
    high: float
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for image in self.images:
            if image.name in seen:
                raise DatasetError(f"{image.name}: listed twice; names must be unique")
            seen.add(image.name)
            score = image.score
            # not (… <= …): a NaN fails it too
            if score is not None and not self.low <= score <= self.high:
                raise DatasetError(
                    f"{image.name}: score {score} is outside {self.low:g}…{self.high:g}; correct "
                    "the row, or give the scale it is on"
                )

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[ScoredImage]:
        return iter(self.images)

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """Scores `[n]`. Raises DatasetError naming the first image that has none."""
        for image in self.images:
            if image.score is None:
                raise DatasetError(f"{image.name}: has no score; take .labelled for those that do")
        return np.array([image.score for image in self.images], np.float32)

    @property
    def groups(self) -> npt.NDArray[np.str_]:
        """Group names `[n]`."""
        return np.array([image.group for image in self.images], np.str_)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(image.name for image in self.images)

    @property
    def labelled(self) -> ScoredImages:
        """Those that have a score."""
        return self.select([i for i, image in enumerate(self.images) if image.score is not None])

    @property
    def unlabelled(self) -> ScoredImages:
        """Those that have none."""
        return self.select([i for i, image in enumerate(self.images) if image.score is None])

    def select(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> ScoredImages:
        """The images at these positions, in this order."""
        return replace(self, images=tuple(self.images[int(i)] for i in indices))

    def split_by_group(self, parts: Sequence[float] | int, seed: int) -> tuple[ScoredImages, ...]:
        """Disjoint parts, every group whole in one of them; the same seed gives the same parts.

        parts: fractions of the images that sum to at most 1 (0.7, 0.1, 0.2), or k for k parts of
        about equal size. Raises DatasetError where there are fewer groups than parts, ValueError
        for fractions that make no sense.
        """
        fractions = [1 / parts] * parts if isinstance(parts, int) else list(parts)
        if not fractions or min(fractions) <= 0 or sum(fractions) > 1 + 1e-9:
            raise ValueError(f"fractions {fractions}: each must be above 0, their sum at most 1")
        names, number, counts = np.unique(self.groups, return_inverse=True, return_counts=True)
        if len(names) < len(fractions):
            raise DatasetError(
                f"{len(names)} groups do not fill {len(fractions)} parts; ask for fewer parts, or "
                "name finer groups"
            )
        order = np.random.default_rng(seed).permutation(len(names))
        spare = 1 - sum(fractions)
        wanted = np.array([*fractions, *([spare] if spare > 1e-9 else [])]) * len(self)
        taken = np.zeros(len(wanted), int)
        groups_in: list[list[int]] = [[] for _ in wanted]
        for position, group in enumerate(order):
            part = int(np.argmax((wanted - taken) / np.maximum(wanted, 1e-9)))
            empty = [i for i in range(len(fractions)) if not groups_in[i]]
            if empty and len(order) - position <= len(empty):
                part = empty[0]  # the last groups go where there is nothing yet
            groups_in[part].append(int(group))
            taken[part] += int(counts[group])
        return tuple(
            self.select(np.flatnonzero(np.isin(number, groups)))
            for groups in groups_in[: len(fractions)]
        )

    def folds(self, k: int, seed: int) -> tuple[tuple[ScoredImages, ScoredImages], ...]:
        """k pairs (train, held out): `split_by_group(k, seed)` held out in turn."""
        parts = self.split_by_group(k, seed)
        return tuple(
            (self.select(np.flatnonzero(~np.isin(self.groups, np.unique(part.groups)))), part)
            for part in parts
        )


def as_score(text: str, where: str) -> float:
    """A score as written in a table. Raises DatasetError naming the row."""
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise DatasetError(f"{where}: {text!r} is not a number")
    return score
