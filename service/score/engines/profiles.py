"""The batch sizes a GPU engine is built for.

A CUDA graph holds one shape, so pictures run in batches of a few fixed sizes: the powers of two
below the largest, and the largest. A batch in between is filled up: on a GPU an idle row costs
less than another launch.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """One of TensorRT's optimization profiles: the batch sizes it takes, and the one its kernels
    are chosen for."""

    smallest: int
    best: int
    largest: int


def batch_sizes(largest: int) -> tuple[int, ...]:
    """1, 2, 4, … and the largest."""
    sizes = {largest}
    size = 1
    while size < largest:
        sizes.add(size)
        size *= 2
    return tuple(sorted(sizes))


def profiles(largest: int) -> tuple[Profile, ...]:
    """One for a single picture, the newest slice of a series; one for batches, whose kernels are
    chosen for full ones."""
    single = Profile(1, 1, 1)
    return (single,) if largest == 1 else (single, Profile(2, largest, largest))


def profile_of(size: int, chosen: Sequence[Profile]) -> int:
    """The index of the profile that takes a batch size."""
    return next(index for index, one in enumerate(chosen) if one.smallest <= size <= one.largest)


def portions(count: int, sizes: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """How `count` pictures go through: (first picture, number of pictures, batch size to run)."""
    start = 0
    while start < count:
        held = min(count - start, sizes[-1])
        yield start, held, sizes[bisect_left(sizes, held)]
        start += held
