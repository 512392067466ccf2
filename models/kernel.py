"""In which window a CT series is read, by its reconstruction kernel.

A sharp kernel raises noise on purpose and is read in a wide window that shows little of it: drawn
in the soft-tissue window it would look like a bad image, which it is not. Vendors publish no list
of how their kernels are read; the tables hold the names seen, as their user documentation and
public series describe them.
"""

from __future__ import annotations

import re
from typing import Literal

Reading = Literal["soft", "lung", "bone"]

_LUNG = re.compile(
    r"""
      LUNG                                          # GE, Canon AiCE, anyone by name
    | ^ Bl \d\d                                     # Siemens: Bl57, Bl64
    | ^ FC (?: 5\d | 86 ) $                         # Canon/Toshiba
    | ^ L $                                         # Philips: lung enhanced
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Sharp kernels for lungs."""

_SHARP = re.compile(
    r"""
      BONE | EDGE | ULTRA                           # GE, by name: BONE, BONEPLUS, EDGE
    | ^ [BCDHIJTU] [a-z]? [6-9] \d                  # Siemens: B60f, Br64, H70h, I70f, U90u
    | ^ Q [a-z] [6-9] \d                            # Siemens quantitative
    | ^ FC (?: 3 | 8 ) \d                           # Canon/Toshiba: bone, high resolution
    | ^ (?: D | E | Y | Y[A-E] | YL | SHARP ) $     # Philips
    | ^ [BHL] _ V? SHARP                            # United Imaging: B_SHARP_C, B_VSHARP_B
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Sharp kernels read in a wide window: bone's, unless the header's own window is lung's."""

_SOFT = re.compile(
    r"""
      ^ (?: SOFT | STANDARD | STND | SMOOTH )       # GE, Philips
    | ^ [BCDHIJU] [a-z]? [1-4] \d                   # Siemens: B30f, Br40, Bv36, D30f, I41f, H31s
    | ^ Q [a-z] [1-4] \d                            # Siemens quantitative: Qr40
    | ^ FC (?: 0 | 1 | 2 | 4 ) \d                   # Canon/Toshiba: body, head
    | ^ (?: A | B | C | [CSU][ABC] | XC[ABC] ) $    # Philips: body, UA–UC head, CA–XCC cardiac
    | ^ [BH] _ SOFT                                 # United Imaging: B_SOFT_B
    | ^ BODY (?! .* SHARP ) | ^ CARDIAC | ^ BRAIN   # Canon AiCE, FIRST
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Soft kernels: read in the soft-tissue window, whatever window somebody stored in the header."""

WIDE_HU = 1000.0
LUNG_CENTER_HU = -200.0


def reading(kernel: str, window_center_hu: float | None, window_width_hu: float | None) -> Reading:
    """How a series is read: by its kernel's name, and its header's own window where that leaves
    it open.

    kernel: Convolution Kernel, its first value; the window is the header's first, None where it
    has none. A kernel of unknown name whose header asks for a window wider than WIDE_HU counts as
    sharp. Without a window a sharp kernel that is none for lungs is read as bone.
    """
    name = kernel.strip()
    if _LUNG.search(name):
        return "lung"
    if _SOFT.search(name):
        return "soft"
    wide = window_width_hu is not None and window_width_hu >= WIDE_HU
    if not (_SHARP.search(name) or wide):
        return "soft"
    of_lungs = window_center_hu is not None and wide and window_center_hu <= LUNG_CENTER_HU
    return "lung" if of_lungs else "bone"
