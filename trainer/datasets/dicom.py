"""DICOM folders: the axial slices in them, as acquired."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

from models.render import Float, to_hu
from trainer.datasets.scored import DatasetError


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
