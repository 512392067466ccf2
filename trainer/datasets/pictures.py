"""Picture files: JPEG, PNG, BMP and TIFF to `[C, H, W]`, 0…1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from models.render import Float
from trainer.datasets.scored import DatasetError


def read_values(path: Path) -> npt.NDArray[np.generic]:
    """The stored values `[H, W]` or `[H, W, C]`. Raises DatasetError naming the file."""
    try:
        with Image.open(path) as picture:
            if picture.mode in ("1", "P", "PA", "LA", "RGBA", "CMYK", "YCbCr"):
                # colour tables and transparency say nothing of quality
                grey = picture.mode in ("1", "LA")
                return np.asarray(picture.convert("L" if grey else "RGB"))
            return np.asarray(picture)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: is missing; the dataset is not complete") from error
    # SyntaxError is what Pillow raises for a broken PNG
    except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: cannot be read as a picture ({error}); fetch it anew") from (
            error
        )


def read_picture(path: Path) -> Float:
    """A picture `[C, H, W]`, 0…1: 8 and 16 bit by their full scale, float as it is.

    Raises DatasetError where float values leave 0…1, for their scale is then not known.
    """
    values = read_values(path)
    if np.issubdtype(values.dtype, np.floating):
        picture = values.astype(np.float32)
        low, high = float(picture.min()), float(picture.max())
        if not (low >= 0 and high <= 1):
            raise DatasetError(f"{path}: values {low:g}…{high:g}; float pictures must be 0…1")
    else:
        wide = values.dtype.itemsize > 1
        picture = values.astype(np.float32) / np.float32(65535 if wide else 255)
    return channels_first(picture)


def channels_first(picture: Float) -> Float:
    """`[H, W]` or `[H, W, C]` to `[C, H, W]`."""
    if picture.ndim == 2:
        return np.ascontiguousarray(picture[None])
    return np.ascontiguousarray(picture.transpose(2, 0, 1))


def check_file(path: Path, row: str) -> Path:
    """The path itself; raises DatasetError naming file and row where nothing is there."""
    if not path.is_file():
        raise DatasetError(f"{row}: {path} is missing; fetch it, or take the row out")
    return path
