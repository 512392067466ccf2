"""k-space of an MR magnitude picture, and back.

A magnitude picture has lost its phase; it is taken as zero. Line 0 of an axis is its centre.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trainer.projection import Float

Complex = npt.NDArray[np.complex128]


def to_kspace(image: Float) -> Complex:
    """k-space `[H, W]` of a picture `[H, W]`, zero frequency at [0, 0]."""
    return np.asarray(np.fft.fft2(image.astype(np.float64)))


def to_magnitude(kspace: Complex) -> Float:
    """The magnitude picture `[H, W]` that a scanner makes of k-space."""
    return np.asarray(np.abs(np.fft.ifft2(kspace)), np.float32)


def lines(count: int) -> npt.NDArray[np.int64]:
    """The number of each line of `to_kspace` along an axis: 0 is the centre, −N/2 comes first."""
    return np.asarray(np.rint(np.fft.fftfreq(count, 1 / count)), np.int64)


def along_axis(values: npt.NDArray[np.generic], axis: int) -> npt.NDArray[np.complex128]:
    """Values of each line shaped to multiply k-space along an axis."""
    shaped = values[:, None] if axis == 0 else values[None, :]
    return shaped.astype(np.complex128)


def refuse_axis(phase_axis: int) -> None:
    """Raises ValueError where the axis is neither 0 (down the rows) nor 1 (across the columns)."""
    if phase_axis not in (0, 1):
        raise ValueError(f"phase_axis is 0 (down the rows) or 1 (across), not {phase_axis}")
