"""Datasets: published layouts, a hospital's own folder, DICOM, simulated sets.

Each comes to `ScoredImages`: images that load as float32 `[C, H, W]`, 0…1, with the published
score, and the group that they share with others of the same source. `load` knows them by name.
"""

from __future__ import annotations

from pathlib import Path

from models.render import RenderSpec
from trainer.datasets.dicom import CleanSlice, load_dicom, read_ct_slices
from trainer.datasets.folder import load_folder
from trainer.datasets.kadid10k import load_kadid10k
from trainer.datasets.ldctiqac2023 import load_ldctiqac2023
from trainer.datasets.live import load_live
from trainer.datasets.pet_ct_iqa_ds import load_pet_ct_iqa_ds
from trainer.datasets.rad_iqmri import load_rad_iqmri
from trainer.datasets.scored import DatasetError, ScoredImage, ScoredImages
from trainer.datasets.simulated import (
    CLEAN,
    MANIFEST_NAME,
    PICTURES_NAME,
    Entry,
    SimulatedSet,
    read_set,
    write_set,
)

__all__ = [
    "CLEAN",
    "MANIFEST_NAME",
    "NAMES",
    "PARTS",
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

NAMES = (
    "dicom",
    "folder",
    "kadid10k",
    "ldctiqac2023",
    "live",
    "pet-ct-iqa-ds",
    "rad-iqmri",
    "simulated",
)
PARTS = {"ldctiqac2023": "train", "pet-ct-iqa-ds": "test", "rad-iqmri": "all"}
"""The part taken where none is named: the one that has scores."""


def load(
    name: str,
    folder: Path,
    *,
    part: str | None = None,
    group: str | None = None,
    render: RenderSpec | None = None,
) -> ScoredImages:
    """The dataset `name`, one of NAMES, in `folder`.

    part: the published part, for those in PARTS; group: the column of a plain folder that names
    groups; render: how DICOM slices are drawn. Raises DatasetError for an unknown name, for an
    option that the dataset does not have, and as the dataset's own loader does.
    """
    if name not in NAMES:
        raise DatasetError(f"no dataset {name!r}; known: {', '.join(NAMES)}")
    if part and name not in PARTS:
        raise DatasetError(f"{name} has no parts; leave out part = {part!r}")
    if group and name != "folder":
        raise DatasetError(f"{name} brings its own groups; leave out group = {group!r}")
    if render and name != "dicom":
        raise DatasetError(f"{name} holds pictures; only dicom is drawn by a render table")
    match name:
        case "dicom":
            if render is None:
                raise DatasetError("dicom needs a render table: how its slices are drawn")
            return load_dicom(folder, render)
        case "folder":
            return load_folder(folder, group)
        case "kadid10k":
            return load_kadid10k(folder)
        case "ldctiqac2023":
            return load_ldctiqac2023(folder, part or PARTS[name])
        case "live":
            return load_live(folder)
        case "pet-ct-iqa-ds":
            return load_pet_ct_iqa_ds(folder, part or PARTS[name])
        case "rad-iqmri":
            return load_rad_iqmri(folder, part or PARTS[name])
        case _:
            return read_set(folder).scored
