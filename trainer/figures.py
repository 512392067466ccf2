"""The figure page: each degradation of a modality at five severities, drawn side by side."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from trainer.degradations import ARTEFACTS, degrade, names
from trainer.figure_subjects import Subject, digital_subjects, real_subjects
from trainer.projection import Float

SEVERITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
GAP = 2
PAPER, INK = 255, 0


def write_figures(folder: Path, root: Path | None, cell: int, greys: int = 256) -> list[Path]:
    """Write a PNG a modality into a folder and return their paths.

    root: DICOM series to degrade instead of the digital phantoms; cell: side of one picture in
    pixels; greys: how many there are, fewer for a small file. Raises ValueError where root holds
    no series or greys is not within 2…256.
    """
    if not 2 <= greys <= 256:
        raise ValueError(f"--greys {greys} is not within 2…256")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for subject in real_subjects(root) if root else digital_subjects():
        path = folder / f"{subject.modality.lower()}.png"
        sheet = page(subject, cell)
        if greys < 256:
            levels = np.rint(np.rint(np.arange(256) / 255 * (greys - 1)) * 255 / (greys - 1))
            # Palette colours are then exactly the levels there are, packed into fewer bits.
            sheet = sheet.point(levels.astype(int).tolist()).quantize(greys)
        sheet.save(path, optimize=True)
        written.append(path)
    return written


def page(subject: Subject, cell: int) -> Image.Image:
    """The page of one slice: a row per degradation, a column per severity, 8-bit grey."""
    letters = max(9, cell // 13)
    font, line = ImageFont.load_default(letters), round(letters * 1.5)
    rows = [
        (name, severities(subject, name))
        for name in names(subject.modality)  # type: ignore[arg-type] # a modality of the registry
    ]
    step = cell + GAP
    canvas = Image.new("L", (len(SEVERITIES) * step, 2 * line + len(rows) * (step + line)), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((4, line // 6), f"{subject.modality}: {subject.origin}", INK, font)
    for column, severity in enumerate(SEVERITIES):
        draw.text((4 + column * step, line + line // 6), f"severity {severity:g}", INK, font)
    for row, (name, pictures) in enumerate(rows):
        top = 2 * line + row * (step + line)
        draw.text((4, top + line // 6), name.replace("_", " "), INK, font)
        for column, picture in enumerate(pictures):
            canvas.paste(drawn(picture, subject, cell), (column * step, top + line))
    return canvas


def severities(subject: Subject, name: str) -> list[Float]:
    """The slice under one degradation at SEVERITIES; the same random draws for all of them."""
    seed = zlib.crc32(name.encode())
    known = ARTEFACTS[name].geometry
    geometry = {key: value for key, value in subject.geometry.items() if key in known}
    return [
        degrade(name, subject.image, severity, np.random.default_rng(seed), **geometry)
        for severity in SEVERITIES
    ]


def drawn(picture: Float, subject: Subject, cell: int) -> Image.Image:
    """One picture through the subject's window, fitted into a square cell."""
    low, high = subject.window
    top, left = (round(side * (1 - subject.zoom) / 2) for side in picture.shape)
    picture = picture[top : picture.shape[0] - top, left : picture.shape[1] - left]
    grey = np.clip((picture - low) / (high - low), 0, 1)
    if subject.modality == "PET":
        grey = 1 - grey
    image = Image.fromarray(np.rint(grey * 255).astype(np.uint8))
    scale = cell / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    fitted = Image.new("L", (cell, cell), PAPER if subject.modality == "PET" else INK)
    # Bicubic widens its reach when it shrinks, so that noise is averaged and not folded.
    small = image.resize(size, Image.Resampling.BICUBIC)
    fitted.paste(small, ((cell - size[0]) // 2, (cell - size[1]) // 2))
    return fitted
