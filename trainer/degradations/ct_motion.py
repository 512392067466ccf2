"""Motion during a CT turn: the patient lies elsewhere in some views than in others."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from trainer.degradations.contract import degradation
from trainer.degradations.sinogram import FULL_VIEWS, difference_hu, line_integrals
from trainer.projection import Float, Kernel

LARGEST_SHIFT_MM = 5.0
LARGEST_TURN_DEG = 1.5


@degradation
def ct_motion(
    image: Float,
    severity: float,
    rng: np.random.Generator,
    *,
    spacing_mm: float,
    kernel: Kernel = "standard",
) -> Float:
    """Doubled edges and streaks of a patient who moved once while a CT slice was acquired.

    A rigid move (shift of severity·LARGEST_SHIFT_MM in a random direction, turn of
    ±severity·LARGEST_TURN_DEG) takes place within a tenth of the views, at a random time in the
    middle of the scan. It is exact in the sinogram: p'(θ, t) = p(θ − φ, t − dx·cos θ − dy·sin θ).
    The slice keeps the pose of the earlier views; the difference of the later ones is
    reconstructed. Source: Kak and Slaney, section 3.1 (shift and turn of projections); Boas and
    Fleischmann, Imaging Med 4, 2012.
    """
    heading, moment, sense = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.6), rng.choice([-1, 1])
    shift_px = severity * LARGEST_SHIFT_MM / spacing_mm
    turn_views = sense * severity * LARGEST_TURN_DEG * FULL_VIEWS / 180
    rays = line_integrals(image, spacing_mm)
    view = np.arange(FULL_VIEWS)
    done = np.clip((view / FULL_VIEWS - moment) / 0.1, 0, 1)
    done = done * done * (3 - 2 * done)  # sets off and comes to rest smoothly
    angle = view * np.pi / FULL_VIEWS
    shift = done * shift_px * np.cos(angle - heading)
    moved = _resampled(rays, view - done * turn_views, shift)
    return image + difference_hu(moved - rays, spacing_mm, kernel)


def _resampled(
    rays: Float, views: npt.NDArray[np.float64], shift_px: npt.NDArray[np.float64]
) -> Float:
    """Rays `[V, N]` read at other views, and their bins moved by a shift per view."""
    # Beyond 180° the same rays come mirrored: p(θ + π, t) = p(θ, −t).
    margin = FULL_VIEWS // 10
    mirrored = rays[:, ::-1]
    turned = np.concatenate([mirrored[-margin:], rays, mirrored[:margin]])
    bins = np.arange(rays.shape[1], dtype=np.float32)
    across = (bins[None] - shift_px[:, None]).astype(np.float32)
    down = np.repeat((views + margin)[:, None], rays.shape[1], axis=1).astype(np.float32)
    read = cv2.remap(turned, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)
    # Where nothing moved nothing may change, not even by the interpolation's rounding.
    still = (shift_px == 0) & (views == np.arange(len(views)))
    read[still] = rays[still]
    return np.asarray(read, np.float32)
