"""Lossy compression of a picture, as an archive or a viewer's export does it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, features

from trainer.degradations.contract import degradation
from trainer.projection import Float

BEST_QUALITY, WORST_QUALITY = 95, 3
WORST_COLOUR_QUALITY = 16
SMALLEST_RATIO, LARGEST_RATIO = 8.0, 80.0


@degradation
def jpeg(
    image: Float,
    severity: float,
    rng: np.random.Generator,
    *,
    window: tuple[float, float] | None = None,
) -> Float:
    """Blocks and ringing of JPEG at a quality of BEST_QUALITY·(WORST/BEST)^severity, by Pillow.

    The picture is quantised to 8 bits between the two values of `window` (default: its own lowest
    and highest), compressed and read back; what that changed is added to it, so that quantisation
    and what lies outside the window are left out, and the result stays between its own extremes.
    JPEG divides the cosine transform of 8×8 blocks by a table that grows as 5000/quality. No
    random part. Source: ITU-T T.81 annex A and K; the scaling: Independent JPEG Group.
    """
    del rng
    quality = round(BEST_QUALITY * (WORST_QUALITY / BEST_QUALITY) ** severity)
    levels, unit = _levels(image, window, 255)
    drawn = Image.fromarray(levels.astype(np.uint8))
    return _with_loss(image, drawn, unit, format="JPEG", quality=quality)


@degradation
def jpeg2000(
    image: Float,
    severity: float,
    rng: np.random.Generator,
    *,
    window: tuple[float, float] | None = None,
) -> Float:
    """Blur and smudges of JPEG 2000 at SMALLEST_RATIO·(LARGEST/SMALLEST)^severity to one.

    As `jpeg`, with 16 bits and the irreversible 9/7 wavelet; the ratio is of 16-bit pixels. No
    random part. Raises ValueError where Pillow was built without JPEG 2000. Source: ISO/IEC
    15444-1; PS3.5 A.4.4.
    """
    del rng
    if not features.check("jpg_2000"):
        raise ValueError("jpeg2000: this Pillow has no JPEG 2000; install a wheel from PyPI")
    ratio = SMALLEST_RATIO * (LARGEST_RATIO / SMALLEST_RATIO) ** severity
    levels, unit = _levels(image, window, 65535)
    drawn = Image.fromarray(levels.astype(np.uint16))
    return _with_loss(
        image,
        drawn,
        unit,
        format="JPEG2000",
        irreversible=True,
        quality_mode="rates",
        quality_layers=[ratio],
    )


def colour_jpeg(picture: Float, severity: float) -> Float:
    """A colour picture `[3, H, W]`, 0…1, saved as JPEG and opened again, in 8 bits.

    Quality 100·(WORST_COLOUR_QUALITY/100)^severity: 70 at about 0.2, 40 at ½. Other than the
    degradations of the registry it takes all channels at once, for JPEG keeps brightness apart
    from colour and halves the colour's matrix (4:2:0), so that even at severity 0 noise of single
    pixels loses its colour. No random part. Source: as `jpeg`; ITU-T T.871 (the conversion).
    """
    if picture.ndim != 3 or len(picture) != 3:
        raise ValueError(f"colour_jpeg takes a picture [3, H, W], not {list(picture.shape)}")
    if not 0 <= severity <= 1:
        raise ValueError(f"colour_jpeg: severity {severity} is not within 0…1")
    levels = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    quality = round(100 * (WORST_COLOUR_QUALITY / 100) ** severity)
    file = io.BytesIO()
    Image.fromarray(levels).save(file, format="JPEG", quality=quality, subsampling="4:2:0")
    file.seek(0)
    with Image.open(file) as opened:
        return np.asarray(opened, np.float32).transpose(2, 0, 1) / np.float32(255)


def _levels(image: Float, window: tuple[float, float] | None, top: int) -> tuple[Float, float]:
    """The picture in grey levels 0…top, and what one level is worth."""
    low, high = window or (float(image.min()), float(image.max()))
    if high <= low:
        if window:
            raise ValueError(f"compression: window {window} is not (lower, higher)")
        high = low + 1
    unit = (high - low) / top
    return np.rint(np.clip((image - low) / unit, 0, top)).astype(np.float32), unit


def _with_loss(image: Float, drawn: Image.Image, unit: float, **save: object) -> Float:
    """The picture with what saving and opening changes in the drawn one."""
    file = io.BytesIO()
    drawn.save(file, **save)  # type: ignore[arg-type] # Pillow's options depend on the format
    file.seek(0)
    with Image.open(file) as opened:
        loss = np.asarray(opened, np.float32) - np.asarray(drawn, np.float32)
    worse = image + np.float32(unit) * loss
    return np.clip(worse, image.min(), image.max())
