"""From stored values to physical ones: Hounsfield units, MR signal.

NumPy only; `ds` is anything that answers to DICOM keywords (a pydicom Dataset, the frame's own
functional groups already merged into it). SUV needs more than one attribute and lives in
`models.suv`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.render import Float

AIR_HU = -1024.0
"""What padding outside the reconstruction circle is taken to be."""

HIGHEST_HU = 3071.0
"""The top of the 12-bit CT scale; extended scales (metal) are clipped to it."""


def to_hu(stored: npt.NDArray[Any], ds: Any) -> Float:
    """Stored values `[H, W]` to Hounsfield units `[H, W]` (PS3.3 C.11.1: slope, intercept).

    `ds` is anything that answers to DICOM keywords (a pydicom Dataset, the frame's own functional
    groups already merged into it). Pixel Padding Value, with its range limit where given, becomes
    air (PS3.3 C.7.5.1.1.2), and the result is clipped to the 12-bit scale.
    """
    slope = float(getattr(ds, "RescaleSlope", None) or 1.0)
    intercept = float(getattr(ds, "RescaleIntercept", None) or 0.0)
    hu = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    padding = getattr(ds, "PixelPaddingValue", None)
    if padding is not None:
        limit = getattr(ds, "PixelPaddingRangeLimit", None)
        low, high = sorted((int(padding), int(padding if limit is None else limit)))
        hu[(stored >= low) & (stored <= high)] = AIR_HU
    return np.clip(hu, AIR_HU, HIGHEST_HU, out=hu)


def not_hounsfield(hu: Float) -> str | None:
    """Why values `[H, W]` in HU, as `to_hu` gives them, cannot be what they claim; None otherwise.

    Metal reaches the top of the scale, but never over a tenth of a picture. And where nothing is
    as low as fat or air, a fifth of the picture cannot be as dense as bone: then the offset of
    the scale is missing.
    """
    if (hu >= HIGHEST_HU).mean() > 0.1:
        return f"over a tenth of the picture lies above {HIGHEST_HU:.0f} HU"
    if np.percentile(hu, 0.5) > -200 and (hu > 700).mean() > 0.2:
        return "nothing in the picture is air or fat, and over a fifth of it is as dense as bone"
    return None


PHILIPS_SCALE_SLOPE = (0x2005, 0x100E)
"""Scale Slope of Philips' private block "Philips MR Imaging DD 001"."""


def to_mr_signal(stored: npt.NDArray[Any], ds: Any) -> Float:
    """Stored values `[H, W]` to MR signal `[H, W]`, from 0 up, in the scanner's own unit.

    Slope and intercept where given (PS3.3 C.7.6.16.2.9). Philips rescales every slice for display
    and keeps the way back to its signal in private Scale Slope: (stored · RS + RI) / (RS · SS)
    (Chenevert et al., Transl Oncol 7, 2014). Real-valued pictures (inversion recovery before its
    magnitude is taken) are shown by their magnitude. Pixel Padding Value becomes 0.
    """
    slope = float(getattr(ds, "RescaleSlope", None) or 1.0)
    intercept = float(getattr(ds, "RescaleIntercept", None) or 0.0)
    signal = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    scale_slope = _private(ds, PHILIPS_SCALE_SLOPE)
    if scale_slope:
        signal /= np.float32(slope * scale_slope)
    padding = getattr(ds, "PixelPaddingValue", None)
    if padding is not None:
        signal[stored == int(padding)] = 0.0
    return np.asarray(np.abs(signal), np.float32)


def _private(ds: Any, tag: tuple[int, int]) -> float:
    """A private number of a header; 0 where there is none that can be read."""
    try:
        return float(ds[tag].value)
    except (KeyError, TypeError, ValueError, AttributeError):
        return 0.0
