"""DICOM folders of PET/CT studies: each CT slice with the PET of the same place, as SUV."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from models.physical import to_hu
from models.render import Float
from models.suv import SuvUnknown, attenuation_corrected, suv_factor, to_activity
from trainer.datasets.scored import DatasetError
from trainer.degradations.point_spread import gaussian

AIR_HU = -1000.0


@dataclass(frozen=True)
class Grid:
    """Where the pixels of a slice lie: spacing and the centre of the first one, in mm."""

    spacing_mm: float
    x_mm: float
    y_mm: float


@dataclass(frozen=True)
class Attenuation:
    """The CT `[Z, h, w]` in HU on the PET's pixels, from the head to the feet, slice_mm apart."""

    hu: Float
    slice_mm: float


@dataclass(frozen=True)
class PetCtSlice:
    """A CT slice `[H, W]` in HU and the PET of the same place `[h, w]` in SUV, each on its grid.

    attenuation: what the PET was corrected with, and the index of this slice in it; None where
    there is no stack. incident_photons: I₀ of the CT's exposure, where it is known.
    """

    hu: Float
    ct: Grid
    suv: Float
    pet: Grid
    z_mm: float
    source: str
    name: str
    attenuation: Attenuation | None = None
    index: int = 0
    incident_photons: float | None = None


def read_pet_ct_slices(folder: Path, source: str) -> Iterator[PetCtSlice]:
    """The CT slices below a folder that attenuation-corrected PET covers, in order of z.

    PET is taken from the series in the CT's Frame of Reference, between its two nearest slices,
    each by its own slope, as SUV by body weight. Axial, unrotated grids only. Raises DatasetError
    where one of the two is missing, or the SUV cannot be computed.
    """
    ct = _axial(folder, "CT")
    pet = [one for one in _axial(folder, "PT") if attenuation_corrected(one[2])]
    if len(ct) < 2 or len(pet) < 2:
        raise DatasetError(
            f"{folder}: {len(ct)} CT and {len(pet)} attenuation-corrected PET slices; "
            "both are needed, with Corrected Image (0028,0051) stating ATTN"
        )
    if len({ds.get("FrameOfReferenceUID") for _, _, ds in (*ct, *pet)}) > 1:
        raise DatasetError(f"{folder}: CT and PET are of different Frames of Reference")
    suv = np.stack([_suv(path) for _, path, _ in pet])
    pet_z = np.array([z for z, _, _ in pet])
    pet_grid, shape = _grid(pet[0][2]), suv.shape[1:]
    volume = []
    for _, path, ds in ct:
        own = _grid(ds)
        # Averaged over a PET pixel first, as the scanner's own attenuation map is.
        smooth = gaussian(_hu(path), pet_grid.spacing_mm / own.spacing_mm)
        volume.append(on_grid(smooth, own, pet_grid, shape, outside=AIR_HU))
    slice_mm = float(np.median(np.diff([z for z, _, _ in ct])))
    attenuation = Attenuation(np.stack(volume[::-1]), slice_mm)
    for number, (z_mm, path, ds) in enumerate(ct):
        if pet_z[0] - slice_mm <= z_mm <= pet_z[-1] + slice_mm:
            yield PetCtSlice(
                hu=_hu(path),
                ct=_grid(ds),
                suv=_at(suv, pet_z, z_mm),
                pet=pet_grid,
                z_mm=z_mm,
                source=source,
                name=path.stem,
                attenuation=attenuation,
                index=len(ct) - 1 - number,
            )


def on_grid(
    image: Float, own: Grid, wanted: Grid, shape: tuple[int, ...], outside: float = 0.0
) -> Float:
    """A slice `[h, w]` resampled linearly to the pixels `[H, W]` of another grid."""
    scale = wanted.spacing_mm / own.spacing_mm
    x = (wanted.x_mm - own.x_mm) / own.spacing_mm
    y = (wanted.y_mm - own.y_mm) / own.spacing_mm
    return np.asarray(
        cv2.warpAffine(
            image,
            np.array([[scale, 0, x], [0, scale, y]]),
            (shape[1], shape[0]),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=outside,
        ),
        np.float32,
    )


def _axial(folder: Path, modality: str) -> list[tuple[float, Path, pydicom.Dataset]]:
    """Files of a modality below a folder that are no scouts: height, path and header, by height."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            continue
        try:
            ds = pydicom.dcmread(path, stop_before_pixels=True)
        except (InvalidDicomError, RecursionError):  # not DICOM, or nested beyond reason
            continue
        if ds.get("Modality") == modality and "LOCALIZER" not in ds.get("ImageType", []):
            found.append((float(ds.ImagePositionPatient[2]), path, ds))
    return sorted(found, key=lambda one: one[:2])


def _grid(ds: pydicom.Dataset) -> Grid:
    x, y, _ = (float(value) for value in ds.ImagePositionPatient)
    return Grid(float(ds.PixelSpacing[0]), x, y)


def _hu(path: Path) -> Float:
    ds = pydicom.dcmread(path)
    return to_hu(ds.pixel_array, ds)


def _suv(path: Path) -> Float:
    ds = pydicom.dcmread(path)
    try:
        factor = suv_factor(ds)
    except SuvUnknown as error:
        raise DatasetError(f"{path}: {error}") from error
    return np.asarray(np.maximum(to_activity(ds.pixel_array, ds) * factor, 0), np.float32)


def _at(volume: Float, places: Float, z_mm: float) -> Float:
    """The slice of a volume `[Z, h, w]` at a height, between its two neighbours."""
    above = int(np.clip(np.searchsorted(places, z_mm), 1, len(places) - 1))
    share = (z_mm - places[above - 1]) / (places[above] - places[above - 1])
    share = np.float32(np.clip(share, 0, 1))
    return np.asarray((1 - share) * volume[above - 1] + share * volume[above], np.float32)
