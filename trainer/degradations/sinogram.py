"""The rays of a CT slice, and what a change in them makes of it.

Parallel beams over 180°, as `trainer.projection` has them. Degradations change line integrals
and reconstruct the change alone.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from trainer.projection import WATER_PER_MM, Float, Kernel, attenuation_per_mm, project, reconstruct

FULL_VIEWS = 360
"""Views of a complete scan over 180°."""


def line_integrals(hu: Float, spacing_mm: float) -> Float:
    """The rays `[FULL_VIEWS, N]` through a slice `[N, N]` in HU, without unit; not to be written.

    The last slice's are kept: one slice is degraded many times over.
    """
    return _line_integrals(hu.astype(np.float32).tobytes(), hu.shape, spacing_mm)


@lru_cache(maxsize=1)
def _line_integrals(hu: bytes, shape: tuple[int, ...], spacing_mm: float) -> Float:
    pixels = np.frombuffer(hu, np.float32).reshape(shape)
    rays = project(attenuation_per_mm(pixels), FULL_VIEWS, spacing_mm)
    rays.flags.writeable = False
    return rays


def difference_hu(change: Float, spacing_mm: float, kernel: Kernel = "standard") -> Float:
    """What a change `[V, N]` of the line integrals adds to the slice, `[N, N]` in HU."""
    return reconstruct(change, spacing_mm, kernel) * np.float32(1000 / WATER_PER_MM)
