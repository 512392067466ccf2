"""Simulated sets: pictures drawn as the network sees them, with what was done to each.

A simulated set is a folder: `pictures.npy` `[n, C, H, W]` float16, drawn as the network sees
them; `manifest.json` with the recipe's render table and an entry per picture.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.render import Float, RenderSpec
from trainer.datasets.scored import DatasetError, ScoredImage, ScoredImages

PICTURES_NAME = "pictures.npy"
MANIFEST_NAME = "manifest.json"
LOW, HIGH = 0.0, 4.0

CLEAN = "clean"
"""The kind of a picture that nothing was done to."""


@dataclass(frozen=True)
class Entry:
    """One picture of a simulated set: what was done to which slice, and its target 0–4.

    severity is the largest of those in `parts`, 0…1; options: what the case drew besides.
    """

    source: str
    slice: str
    kind: str
    severity: float
    parts: dict[str, float]
    options: dict[str, str]
    metrics: dict[str, float]
    target: float


@dataclass(frozen=True)
class SimulatedSet:
    """Pictures `[n, C, H, W]` float16 (memory-mapped) with an entry each."""

    pictures: npt.NDArray[np.float16]
    entries: tuple[Entry, ...]
    render: dict[str, Any]

    def select(self, keep: npt.NDArray[np.bool_]) -> SimulatedSet:
        chosen = np.flatnonzero(keep)
        return SimulatedSet(
            self.pictures[chosen], tuple(self.entries[i] for i in chosen), self.render
        )

    def of_sources(self, names: set[str]) -> SimulatedSet:
        return self.select(np.array([entry.source in names for entry in self.entries]))

    @property
    def targets(self) -> npt.NDArray[np.float32]:
        return np.array([entry.target for entry in self.entries], np.float32)

    @property
    def slices(self) -> npt.NDArray[np.str_]:
        """The slice each picture was made from, `[n]`: the pictures of one are not independent."""
        return np.array([f"{entry.source}/{entry.slice}" for entry in self.entries])

    @property
    def scored(self) -> ScoredImages:
        """The set as scored images, a group per slice."""
        images = tuple(
            ScoredImage(f"{index:06d}", group, entry.target, partial(_picture, self, index))
            for index, (entry, group) in enumerate(zip(self.entries, self.slices, strict=True))
        )
        return ScoredImages(images, LOW, HIGH)


def write_set(
    folder: Path, pictures: list[npt.NDArray[np.float16]], entries: list[Entry], render: RenderSpec
) -> None:
    """Write a simulated set; an older one in the same folder is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / PICTURES_NAME, np.stack(pictures))
    manifest = {"render": render.as_table(), "entries": [asdict(entry) for entry in entries]}
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")


def read_set(folder: Path) -> SimulatedSet:
    """Read a simulated set. Raises DatasetError naming what is missing."""
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_text("utf-8"))
        pictures = np.load(folder / PICTURES_NAME, mmap_mode="r")
    except OSError as error:
        raise DatasetError(
            f"{folder}: not a simulated set ({error.filename}: {error.strerror}); "
            "make one with `python -m trainer simulate`"
        ) from error
    entries = tuple(Entry(**entry) for entry in manifest["entries"])
    if len(entries) != len(pictures):
        raise DatasetError(f"{folder}: {len(pictures)} pictures and {len(entries)} entries")
    return SimulatedSet(pictures, entries, manifest["render"])


def _picture(data: SimulatedSet, index: int) -> Float:
    return np.asarray(data.pictures[index], np.float32)
