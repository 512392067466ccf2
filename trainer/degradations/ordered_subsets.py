"""Ordered-subsets expectation maximisation (OSEM) of one PET slice, parallel beams over 180°."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from trainer.projection import Float

VIEWS = 96
SUBSETS = 8
ITERATIONS = 3


@dataclass(frozen=True)
class Emission:
    """A slice of activity as the scanner sees it.

    rays: its sums `[VIEWS, N]` along lines, in the slice's unit times pixels; support: the disc
    of pixels that every view sees, `[N, N]` of 0 and 1.
    """

    rays: npt.NDArray[np.float64]
    support: Float

    @classmethod
    def of(cls, activity: Float) -> Emission:
        """Raises ValueError where the slice is not square."""
        if activity.shape[0] != activity.shape[1]:
            raise ValueError(f"a square slice is needed, this one is {list(activity.shape)}")
        axis = np.arange(len(activity)) - (len(activity) - 1) / 2
        inside = axis[None] ** 2 + axis[:, None] ** 2 <= (len(activity) / 2) ** 2
        rays = np.stack([_along(activity, turn) for turn in _turns(len(activity))])
        return cls(rays.astype(np.float64), inside.astype(np.float32))

    def reconstruct(
        self, counts: npt.NDArray[np.generic], background: npt.NDArray[np.float64]
    ) -> Float:
        """The activity `[N, N]` in counts per pixel and view whose rays best explain the counts.

        counts: `[VIEWS, N]`; background: the known mean of randoms and scatter in each bin of a
        view, `[VIEWS]`. ITERATIONS passes over SUBSETS subsets of evenly spaced views, from a
        uniform start: f ← f / Aᵀ1 · Aᵀ(y / (A f + r)).
        """
        side = len(self.support)
        turns = _turns(side)
        measured = counts.astype(np.float32)
        image = self.support.copy()
        for _ in range(ITERATIONS):
            for first in range(SUBSETS):
                ratio_sum = np.zeros((side, side), np.float32)
                ones_sum = np.zeros((side, side), np.float32)
                for view in range(first, VIEWS, SUBSETS):
                    estimate = _along(image, turns[view]) + np.float32(background[view])
                    ratio = measured[view] / np.maximum(estimate, np.float32(1e-6))
                    ratio_sum += _smeared(ratio, turns[view], side)
                    ones_sum += _smeared(np.ones(side, np.float32), turns[view], side)
                image *= ratio_sum / np.maximum(ones_sum, np.float32(1e-3))
        return image


def _turns(side: int) -> list[npt.NDArray[np.float64]]:
    """For each view the matrix from the turned picture's (column, row) to the picture's."""
    middle = (side - 1) / 2
    turns = []
    for angle in np.arange(VIEWS) * np.pi / VIEWS:
        c, s = np.cos(angle), np.sin(angle)
        turns.append(
            np.array([[c, -s, middle - middle * (c - s)], [s, c, middle - middle * (s + c)]])
        )
    return turns


def _along(image: Float, turn: npt.NDArray[np.float64]) -> Float:
    """Sums `[N]` along the lines of one view."""
    size = (image.shape[1], image.shape[0])
    turned = cv2.warpAffine(image, turn, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(turned.sum(axis=0), np.float32)


def _smeared(row: Float, turn: npt.NDArray[np.float64], side: int) -> Float:
    """A row `[N]` spread back along the lines of its view, `[N, N]`."""
    flat = np.ascontiguousarray(np.broadcast_to(row, (side, side)))
    return np.asarray(cv2.warpAffine(flat, turn, (side, side), flags=cv2.INTER_LINEAR), np.float32)
