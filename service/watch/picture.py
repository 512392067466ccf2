"""A thumbnail as a PNG."""

from __future__ import annotations

from io import BytesIO

from PIL import Image


def png(rows: int, columns: int, pixels: bytes) -> bytes:
    """Grey or RGB pixels, row by row, as PNG bytes. Raises ValueError when their number is
    neither's."""
    drawn = BytesIO()
    mode = "RGB" if len(pixels) == 3 * rows * columns else "L"
    Image.frombytes(mode, (columns, rows), pixels).save(drawn, "PNG", compress_level=1)
    return drawn.getvalue()
