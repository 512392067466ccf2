"""Groups of pictures that show the same slice, where a dataset does not name them.

Splits must keep the degraded copies of one slice on one side. Averaged down to a thumbnail, a
slice stays itself under noise, compression and ghosting, while another slice does not: on the 324
pictures of PET-CT-IQA-DS whose sources are known, copies of one slice correlate above .9997 and
others below .946.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.render import resize
from trainer.datasets.folder import read_table
from trainer.datasets.pictures import read_picture
from trainer.datasets.scored import DatasetError

SOURCES_NAME = "sources.csv"
ALIKE = 0.97
"""Correlation of two thumbnails above which they show one slice."""
THUMBNAIL = 16
"""Side of the thumbnails, in pixels."""


def sources_of(home: Path, names: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """A group name for each picture: from `sources.csv` (`file, source`) in `home` where there is
    one, else by likeness.

    Raises DatasetError for a picture that the table does not name, or that cannot be read.
    """
    table = home / SOURCES_NAME
    if not table.exists():
        return group_by_likeness(paths)
    known = {row["file"]: row["source"] for _, row in read_table(table, ["file", "source"])}
    for name in names:
        if name not in known:
            raise DatasetError(f"{table}: has no row for {name!r}; add it, or remove the table")
    return [known[name] for name in names]


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
