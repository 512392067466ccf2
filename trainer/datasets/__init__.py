"""Datasets: published layouts, a hospital's own folder, DICOM, simulated sets.

Each comes to `ScoredImages`: images that load as float32 `[C, H, W]`, 0…1, with the published
score, and the group that they share with others of the same source. `load` knows them by name.
"""

from __future__ import annotations

from pathlib import Path

from trainer.datasets.dicom import CleanSlice, read_ct_slices
from trainer.datasets.folder import load_folder
from trainer.datasets.ldctiqac2023 import load_ldctiqac2023
from trainer.datasets.pet_ct_iqa_ds import load_pet_ct_iqa_ds
from trainer.datasets.scored import DatasetError, ScoredImage, ScoredImages
from trainer.datasets.simulated import (
    MANIFEST_NAME,
    PICTURES_NAME,
    Entry,
    SimulatedSet,
    read_set,
    write_set,
)

__all__ = [
    "MANIFEST_NAME",
    "NAMES",
    "PICTURES_NAME",
    "CleanSlice",
    "DatasetError",
    "Entry",
    "ScoredImage",
    "ScoredImages",
    "SimulatedSet",
    "load",
    "read_ct_slices",
    "read_set",
    "write_set",
]

NAMES = ("folder", "ldctiqac2023", "pet-ct-iqa-ds", "simulated")


def load(
    name: str,
    folder: Path,
    *,
    part: str | None = None,
    group: str | None = None,
) -> ScoredImages:
    """The dataset `name` in `folder`.

    part: the published part, the dataset's labelled one by default (`train` of ldctiqac2023,
    `test` of pet-ct-iqa-ds). group: the column of a plain folder that names groups. Raises
    DatasetError for an unknown name, and as the dataset's own loader does.
    """
    if name == "folder":
        return load_folder(folder, group)
    if name == "ldctiqac2023":
        return load_ldctiqac2023(folder, part or "train")
    if name == "pet-ct-iqa-ds":
        return load_pet_ct_iqa_ds(folder, part or "test")
    if name == "simulated":
        return read_set(folder).scored
    raise DatasetError(f"no dataset {name!r}; known: {', '.join(NAMES)}")
