"""Example pictures of an evaluation grid: one slice under every degradation, with its scores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from trainer.datasets import CLEAN, SimulatedSet

CELL = 128
GAP = 2
LETTERS = 11
LINE = 16
GREYS = 32
"""As many as an example needs; fewer than 256 make a small file."""


def sheet(
    data: SimulatedSet, scores: npt.NDArray[np.floating], slice_name: str, cell: int = CELL
) -> Image.Image:
    """A row per degradation, a column per severity; below each picture its score, and its target.

    slice_name: as `SimulatedSet.slices` names it. Raises ValueError where the set has no such
    slice.
    """
    chosen = [i for i, name in enumerate(data.slices.tolist()) if name == slice_name]
    if not chosen:
        raise ValueError(f"no slice {slice_name!r} in the set")
    by_case = {(data.entries[i].kind, data.entries[i].severity): i for i in chosen}
    clean = by_case.get((CLEAN, 0.0))
    kinds = sorted({kind for kind, _ in by_case} - {CLEAN})
    severities = sorted({severity for _, severity in by_case})
    step, row_height = cell + GAP, cell + 2 * LINE
    mode = "RGB" if data.pictures.shape[1] == 3 else "L"
    page = Image.new(mode, (len(severities) * step - GAP, len(kinds) * row_height), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(LETTERS)
    for row, kind in enumerate(kinds):
        top = row * row_height
        draw.text((2, top), kind.replace("_", " "), "black", font)
        for column, severity in enumerate(severities):
            index = clean if severity == 0 else by_case.get((kind, severity))
            if index is None:
                continue
            page.paste(_picture(data.pictures[index], cell), (column * step, top + LINE))
            words = f"{scores[index]:.2f} (target {data.entries[index].target:.2f})"
            draw.text((column * step + 2, top + LINE + cell), words, "black", font)
    return page.quantize(GREYS if page.mode == "L" else 128)


def middle_slice(data: SimulatedSet) -> str:
    """The slice in the middle of the set, as `SimulatedSet.slices` names it."""
    names: list[str] = list(dict.fromkeys(data.slices.tolist()))
    return names[len(names) // 2]


def _picture(picture: npt.NDArray[np.float16], cell: int) -> Image.Image:
    grey = np.rint(np.clip(picture.astype(np.float32), 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(grey[0] if len(grey) == 1 else np.moveaxis(grey, 0, -1))
    return image.resize((cell, cell), Image.Resampling.BICUBIC)
