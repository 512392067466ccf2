"""LDCTIQAC2023: low-dose abdomen CT with the scores of five radiologists, 0–4.

Layout as published (Zenodo record 7833096, CC BY 4.0): `LDCTIQAG2023_train/image/0000.tif` …
`0999.tif`, 512×512 float32, and `LDCTIQAG2023_train/train.json`, file name → score. The test part
came later: `LDCTIQAC_test/images/*.tiff` with `test.json` of the same form; without that file its
images are unlabelled, as MD-IQA's second step takes them. No file says which images show the same
slice: a `sources.csv` (`file, source`) beside the JSON is read where someone has worked it out,
else every image is a group of its own.

Challenge papers state the window W350 L40, but test files seen hold −1000…+400 HU scaled to 0–1.
So the values are looked at: 0…1 is taken as it is, Hounsfield units are scaled from −1000…+400,
and anything else is refused.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np

from models.render import Float
from trainer.datasets.folder import read_table
from trainer.datasets.pictures import channels_first, check_file, read_values
from trainer.datasets.scored import DatasetError, ScoredImage, ScoredImages, as_score

LOW, HIGH = 0.0, 4.0
LOWEST_HU, HIGHEST_HU = -1000.0, 400.0
"""The Hounsfield units that 0 and 1 stand for in the files seen."""

PARTS = {
    "train": (("LDCTIQAG2023_train",), ("image",), ("train.json",)),
    "test": (
        ("LDCTIQAC_test", "LDCTIQAC2023_test"),
        ("images", "image", "."),
        ("test.json", "test-ground-truth.json"),
    ),
}
"""Of each part: its folder, the folder of its images, its table."""


def load_ldctiqac2023(folder: Path, part: str = "train") -> ScoredImages:
    """One part, `train` or `test`. folder: the part's own, or the one that holds it.

    Raises DatasetError naming file and entry.
    """
    if part not in PARTS:
        raise DatasetError(f"LDCTIQAC2023 has no part {part!r}; it has {', '.join(PARTS)}")
    homes, image_folders, tables = PARTS[part]
    home = next((folder / name for name in homes if (folder / name).is_dir()), folder)
    pictures = next(
        (home / name for name in image_folders if any((home / name).glob("*.tif*"))), None
    )
    if pictures is None:
        raise DatasetError(f"{home}: no {image_folders[0]}/*.tif; unpack the {part} archive there")
    sources = _sources(home)
    table = next((home / name for name in tables if (home / name).is_file()), None)
    if table is None and part == "train":
        raise DatasetError(f"{home / tables[0]}: is missing; unpack the whole archive")
    scores: dict[str, float | None] = {}
    if table is None:
        scores = {path.name: None for path in sorted(pictures.glob("*.tif*"))}
    else:
        scores = dict(_scores(table))
    images = []
    for name, score in scores.items():
        path = check_file(pictures / name, f"{table}, {name!r}")
        images.append(ScoredImage(name, sources.get(name, name), score, partial(read_slice, path)))
    return ScoredImages(tuple(images), LOW, HIGH)


def read_slice(path: Path) -> Float:
    """A slice `[1, H, W]`, 0…1. Raises DatasetError where its values are on no known scale."""
    values = read_values(path)
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.floating):
        raise DatasetError(
            f"{path}: {values.dtype} {values.shape}; the published slices are float32 [H, W]"
        )
    low, high = float(values.min()), float(values.max())
    slice_ = values.astype(np.float32)
    if low >= 0 and high <= 1:
        return channels_first(slice_)
    if low < -50 and high > 50:
        scaled = (slice_ - np.float32(LOWEST_HU)) / np.float32(HIGHEST_HU - LOWEST_HU)
        return channels_first(np.clip(scaled, 0, 1))
    raise DatasetError(
        f"{path}: values {low:g}…{high:g} are neither 0…1 nor Hounsfield units; fetch it anew"
    )


def _scores(table: Path) -> dict[str, float]:
    """File name → score. Raises DatasetError for what is not such a table, duplicates included."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        names = [name for name, _ in pairs]
        for name in names:
            if names.count(name) > 1:
                raise DatasetError(f"{table}: {name!r} is listed twice")
        return dict(pairs)

    try:
        raw = json.loads(table.read_text("utf-8"), object_pairs_hook=unique)
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{table}: cannot be read as JSON: {error}") from error
    if not isinstance(raw, dict) or not raw:
        raise DatasetError(f'{table}: must be an object of file names and scores, {{"0.tif": 3.8}}')
    return {name: as_score(str(value), f"{table}, {name!r}") for name, value in raw.items()}


def _sources(home: Path) -> dict[str, str]:
    table = home / "sources.csv"
    if not table.exists():
        return {}
    return {row["file"]: row["source"] for _, row in read_table(table, ["file", "source"])}
