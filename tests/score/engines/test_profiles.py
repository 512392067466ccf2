"""The batch sizes a GPU engine is built for, and how batches go through them."""

from __future__ import annotations

import pytest

from service.score.engines.profiles import (
    Profile,
    batch_sizes,
    portions,
    profile_of,
    profiles,
)


@pytest.mark.parametrize(
    ("largest", "sizes"),
    [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (16, (1, 2, 4, 8, 16))],
)
def test_sizes_are_powers_of_two_and_the_largest(largest, sizes):
    assert batch_sizes(largest) == sizes


@pytest.mark.parametrize("largest", [1, 2, 3, 16, 64])
def test_each_size_has_one_profile(largest):
    chosen = profiles(largest)
    assert chosen[0] == Profile(1, 1, 1)
    for size in batch_sizes(largest):
        one = chosen[profile_of(size, chosen)]
        assert one.smallest <= size <= one.largest
    assert chosen[-1].best == largest


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [(0, 1, 1)]),
        (3, [(0, 3, 4)]),
        (16, [(0, 16, 16)]),
        (21, [(0, 16, 16), (16, 5, 8)]),
        (40, [(0, 16, 16), (16, 16, 16), (32, 8, 8)]),
        (0, []),
    ],
)
def test_batches_go_through_the_smallest_size_that_holds_them(count, expected):
    assert list(portions(count, batch_sizes(16))) == expected
