"""A thumbnail as a PNG."""

from __future__ import annotations

from io import BytesIO

from PIL import Image


def png(rows: int, columns: int, pixels: bytes) -> bytes:
    """Grey pixels, row by row, as PNG bytes. Raises ValueError when their number is wrong."""
    drawn = BytesIO()
    Image.frombytes("L", (columns, rows), pixels).save(drawn, "PNG", compress_level=1)
    return drawn.getvalue()
