"""In which window a CT series is read, by its reconstruction kernel.

A sharp kernel raises noise on purpose and is read in a wide window that shows little of it: drawn
in the soft-tissue window it would look like a bad image, which it is not.
"""

from __future__ import annotations

import re
from typing import Literal

Reading = Literal["soft", "lung", "bone"]

_SHARP = re.compile(
    r"""
      BONE | EDGE | LUNG | ULTRA | DETAIL\+? $      # GE, by name
    | ^ [BHTU] [a-z]? [6-9] \d                      # Siemens: B60f, Br64, H70h, Bl64
    | ^ Q [a-z] [6-9] \d                            # Siemens quantitative
    | ^ FC (?: 3 | 5 | 8 ) \d                       # Canon/Toshiba: bone, lung, high resolution
    | ^ (?: Y | L | D | E | YA | YB | YC | YD | YE | YL | SHARP ) $      # Philips
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Kernels that are read in a wide window. Vendors publish no list; these are the names seen."""

WIDE_HU = 1000.0
LUNG_CENTER_HU = -200.0


def reading(kernel: str, window_center_hu: float | None, window_width_hu: float | None) -> Reading:
    """How a series is read: by a sharp kernel's name, and its header's own window to tell which.

    kernel: Convolution Kernel, its first value; the window is the header's first, None where it
    has none. A kernel of unknown name whose header asks for a window wider than WIDE_HU counts as
    sharp. Without a window a sharp kernel is read as bone.
    """
    wide = window_width_hu is not None and window_width_hu >= WIDE_HU
    if not (_SHARP.search(kernel.strip()) or wide):
        return "soft"
    if window_center_hu is not None and wide and window_center_hu <= LUNG_CENTER_HU:
        return "lung"
    return "lung" if "LUNG" in kernel.upper() else "bone"
