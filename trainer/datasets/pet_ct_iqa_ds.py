"""PET-CT-IQA-DS: fused PET/CT pictures with radiologists' scores, 0–4 (MS-IQA paper).

Layout as published (github.com/MS-IQA/MS-IQA, no licence: measure with it, ship nothing made from
it): `PET-CT-IQA-DS/test/001.jpg` …, RGB 512×512, and `PET-CT-IQA-DS/label.txt`, lines
`001.jpg,3.8` without a header. Of the paper's 2,700 pictures only this part is public: 20 source
slices × 27 degradations.

The files do not say which pictures show the same slice, and a split that ignores it measures
memory. `sources.csv` (`file, source`) beside `label.txt` is read where there is one; else pictures
are grouped by likeness, for the same slice stays the same under noise and compression once it is
averaged down.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.render import resize
from trainer.datasets.folder import read_table
from trainer.datasets.pictures import check_file, read_picture
from trainer.datasets.scored import DatasetError, ScoredImage, ScoredImages, as_score

LOW, HIGH = 0.0, 4.0
TABLE_NAME = "label.txt"
ALIKE = 0.97
"""Correlation of two pictures' THUMBNAIL×THUMBNAIL averages above which they show one slice."""
THUMBNAIL = 16


def load_pet_ct_iqa_ds(folder: Path, part: str = "test") -> ScoredImages:
    """The public part. folder: `PET-CT-IQA-DS`, or the one that holds it.

    Raises DatasetError naming file and line.
    """
    home = folder / "PET-CT-IQA-DS" if (folder / "PET-CT-IQA-DS").is_dir() else folder
    if part != "test":
        raise DatasetError(f"PET-CT-IQA-DS publishes no part {part!r}; it has test")
    table = home / TABLE_NAME
    try:
        lines = table.read_text("utf-8").splitlines()
    except OSError as error:
        raise DatasetError(
            f"{table}: cannot be read: {error.strerror}; it must hold lines `001.jpg,3.8`"
        ) from error
    names, scores, paths = [], [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{table}, line {number}"
        name, comma, score = (text.strip() for text in line.partition(","))
        if not (name and comma):
            raise DatasetError(f"{where}: {line!r} is not `file,score`")
        names.append(name)
        scores.append(as_score(score, where))
        paths.append(check_file(home / part / name, where))
    if not names:
        raise DatasetError(f"{table}: holds no lines")
    sources = _sources(home, names) or group_by_likeness(paths)
    images = tuple(
        ScoredImage(name, source, score, partial(read_picture, path))
        for name, source, score, path in zip(names, sources, scores, paths, strict=True)
    )
    return ScoredImages(images, LOW, HIGH)


def group_by_likeness(paths: Sequence[Path]) -> list[str]:
    """A group name for each picture: alike pictures, directly or through others, share one.

    A group is named after its first picture. Raises DatasetError for an unreadable picture.
    """
    thumbnails = np.stack([_thumbnail(path) for path in paths])
    alike = thumbnails @ thumbnails.T > ALIKE
    names: list[str] = [""] * len(paths)
    for first, path in enumerate(paths):
        waiting = [] if names[first] else [first]
        while waiting:
            member = waiting.pop()
            names[member] = f"like-{path.stem}"
            waiting.extend(int(i) for i in np.flatnonzero(alike[member]) if not names[i])
    return names


def _thumbnail(path: Path) -> npt.NDArray[np.float32]:
    """The picture averaged down, of mean 0 and length 1: products are then correlations."""
    grey = read_picture(path).mean(axis=0)
    small = resize(grey, THUMBNAIL, THUMBNAIL).ravel()
    small = small - small.mean()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-9), np.float32)


def _sources(home: Path, names: Sequence[str]) -> list[str]:
    table = home / "sources.csv"
    if not table.exists():
        return []
    known = {row["file"]: row["source"] for _, row in read_table(table, ["file", "source"])}
    for name in names:
        if name not in known:
            raise DatasetError(f"{table}: has no row for {name!r}; add it, or remove the table")
    return [known[name] for name in names]
