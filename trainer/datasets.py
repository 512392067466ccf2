"""Sets of slices: DICOM folders as they come, and simulated sets as they are cached.

A simulated set is a folder: `pictures.npy` `[n, C, H, W]` float16, drawn as the network sees
them; `manifest.json` with the recipe's render table and an entry per picture.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.errors import InvalidDicomError

from models.render import Float, to_hu

PICTURES_NAME = "pictures.npy"
MANIFEST_NAME = "manifest.json"


class DatasetError(ValueError):
    """A folder does not hold what it should; the message names it."""


@dataclass(frozen=True)
class CleanSlice:
    """A slice as acquired: `[N, N]` in HU, with where it came from.

    incident_photons: I₀ of its own exposure, where it is known better than for the whole source.
    """

    hu: Float
    spacing_mm: float
    z_mm: float
    source: str
    name: str
    incident_photons: float | None = None


@dataclass(frozen=True)
class Entry:
    """One picture of a simulated set: what was done to which slice, and its target 0–4.

    severity is the larger of the noise and sparsity severities, both 0…1.
    """

    source: str
    slice: str
    kind: str
    severity: float
    dose_fraction: float
    views: int
    kernel: str
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


def read_ct_slices(folder: Path, source: str) -> Iterator[CleanSlice]:
    """The axial CT slices below a folder in order of z; scouts and other modalities are passed by.

    Raises DatasetError where there are none.
    """
    found: list[tuple[float, Path]] = []
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            continue
        try:
            ds = pydicom.dcmread(path, stop_before_pixels=True)
        except InvalidDicomError:
            continue
        if ds.get("Modality") == "CT" and "LOCALIZER" not in ds.get("ImageType", []):
            found.append((float(ds.ImagePositionPatient[2]), path))
    if not found:
        raise DatasetError(f"{folder}: no axial CT slices; check --root and the recipe's folders")
    for z_mm, path in sorted(found):
        ds = pydicom.dcmread(path)
        yield CleanSlice(
            hu=to_hu(ds.pixel_array, ds),
            spacing_mm=float(ds.PixelSpacing[0]),
            z_mm=z_mm,
            source=source,
            name=path.stem,
        )


def write_set(
    folder: Path, pictures: list[npt.NDArray[np.float16]], entries: list[Entry], render: Any
) -> None:
    """Write a simulated set; an older one in the same folder is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / PICTURES_NAME, np.stack(pictures))
    manifest = {"render": asdict(render), "entries": [asdict(entry) for entry in entries]}
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
