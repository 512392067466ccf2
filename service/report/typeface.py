"""Text in pictures: fonts of our own, so that a picture is the same on every host.

DejaVu Sans draws Latin, Greek and Cyrillic. It holds no Chinese, Japanese or Korean, and right
to left scripts need shaping: such text is named in the picture and stands in full in the report.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from importlib import resources
from io import BytesIO
from typing import Final

from PIL import ImageFont

_ABSENT: Final = "\U0010fffd"
_SCRIPTS: Final[dict[str, str]] = {
    "CJK": "Japanese or Chinese",
    "HIRAGANA": "Japanese or Chinese",
    "KATAKANA": "Japanese or Chinese",
    "KATAKANA-HIRAGANA": "Japanese or Chinese",
    "IDEOGRAPHIC": "Japanese or Chinese",
    "HANGUL": "Korean",
    "ARABIC": "Arabic",
    "HEBREW": "Hebrew",
    "THAI": "Thai",
}


@lru_cache(maxsize=2)
def _file(bold: bool) -> bytes:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return resources.files("service.report").joinpath("fonts", name).read_bytes()


@lru_cache(maxsize=32)
def typeface(size_px: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans at a size in pixels."""
    return ImageFont.truetype(BytesIO(_file(bold)), size_px, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=4096)
def _has_glyph(char: str) -> bool:
    if char.isascii():
        return char.isprintable()
    if unicodedata.bidirectional(char) in ("R", "AL"):
        return False
    font = typeface(20)
    return bytes(font.getmask(char)) != bytes(font.getmask(_ABSENT))


def drawable(text: str) -> str:
    """The text with what cannot be drawn named in brackets, and an ellipsis where it recurs."""
    made, named, skipping = "", False, False
    for char in unicodedata.normalize("NFKC", text):
        if _has_glyph(char):
            made, skipping = made + char, skipping and char == " "
        elif char.isspace():
            made += " "
        elif not skipping:
            made += "…" if named else f"[{_script(char)} text]"
            named = skipping = True
    return made


def _script(char: str) -> str:
    name = unicodedata.name(char, "").split(" ")[0]
    return _SCRIPTS.get(name, name.capitalize() or "other")


def fit(text: str, font: ImageFont.FreeTypeFont, width_px: float) -> str:
    """The text on one line, shortened with an ellipsis where it is wider."""
    words = drawable(text)
    if font.getlength(words) <= width_px:
        return words
    while words and font.getlength(words + "…") > width_px:
        words = words[:-1]
    return words.rstrip() + "…"


def wrap(text: str, font: ImageFont.FreeTypeFont, width_px: float, lines: int) -> list[str]:
    """The text on at most so many lines, the last one shortened where it does not end there."""
    made: list[str] = []
    rest = drawable(text).split()
    while rest and len(made) < lines - 1:
        taken = 1
        while taken < len(rest) and font.getlength(" ".join(rest[: taken + 1])) <= width_px:
            taken += 1
        made.append(fit(" ".join(rest[:taken]), font, width_px))
        rest = rest[taken:]
    return [*made, fit(" ".join(rest), font, width_px)] if rest else made
