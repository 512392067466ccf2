"""What the figure page degrades: a CT, a PET and an MR slice, digital or from DICOM files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.errors import InvalidDicomError

from models.physical import to_hu
from trainer.degradations.point_spread import gaussian
from trainer.phantom import SPACING_MM, Chest
from trainer.projection import Float

PET_SIDE, PET_MM = 128, 4.0
MR_SIDE, MR_MM = 256, 1.0
CHEST_MM = 62.0
DOME_MM = 70.0
"""Height of the liver's dome in the digital body, above its lowest slice."""


@dataclass(frozen=True)
class Subject:
    """A slice to degrade and how a reader sees it.

    image `[H, W]` in the modality's unit; geometry: every keyword that some degradation of this
    modality may take; window: the values drawn black and white (for PET white and black: readers
    look at it inverted); origin: a line for the page; zoom: the middle part that is drawn.
    """

    modality: str
    image: Float
    geometry: dict[str, Any]
    window: tuple[float, float]
    origin: str
    zoom: float = 1.0


def digital_subjects() -> list[Subject]:
    """The chest phantom, a body with a liver in PET and CT, a brain in T1 contrast."""
    index = 8
    heights = [DOME_MM - 25 + 5.0 * (index - number) for number in range(2 * index)]
    body = [body_slice(height) for height in heights]
    return [
        Subject(
            "CT",
            Chest.ordinary().slice(CHEST_MM),
            {"spacing_mm": SPACING_MM, "window": (-160.0, 240.0)},
            (-160.0, 240.0),
            "digital chest, liver and lung bases, W400 L40",
            zoom=0.82,
        ),
        Subject(
            "PET",
            body[index][0],
            {
                "spacing_mm": PET_MM,
                "ct_hu": np.stack([hu for _, hu in body]),
                "index": index,
                "slice_mm": 5.0,
                "window": (0.0, 5.0),
            },
            (0.0, 5.0),
            "digital body below the liver's dome, SUV 0 to 5",
            zoom=0.75,
        ),
        Subject(
            "MR",
            brain_slice(),
            {"spacing_mm": MR_MM, "window": (0.0, 230.0)},
            (0.0, 230.0),
            "digital brain, T1",
        ),
    ]


def real_subjects(root: Path) -> list[Subject]:
    """The middle slice of the longest CT, PET and MR series below a folder; PET needs its CT.

    Raises ValueError where there is no series of any of them.
    """
    series = _series(root)
    subjects = []
    if found := _longest(series, "CT"):
        ds = pydicom.dcmread(found[len(found) // 2][1])
        spacing_mm, window = float(ds.PixelSpacing[0]), (-160.0, 240.0)
        subjects.append(
            Subject(
                "CT",
                to_hu(ds.pixel_array, ds),
                {"spacing_mm": spacing_mm, "window": window},
                window,
                f"{Path(found[0][1]).parent.name}, W400 L40",
                zoom=0.75,
            )
        )
    if found := _longest(series, "PT"):
        subjects.append(_real_pet(found, series))
    if found := _longest(series, "MR"):
        path = found[len(found) // 2][1]
        ds = pydicom.dcmread(path)
        image = ds.pixel_array.astype(np.float32)
        window = (0.0, float(np.percentile(image, 99.5)))
        # COL: the phase encodes along a column, so ghosts go down the rows.
        axis = 1 if ds.get("InPlanePhaseEncodingDirection") == "ROW" else 0
        subjects.append(
            Subject(
                "MR",
                image,
                {
                    "spacing_mm": float(ds.PixelSpacing[0]),
                    "phase_axis": axis,
                    "window": window,
                },
                window,
                path.parent.name,
            )
        )
    if not subjects:
        raise ValueError(f"{root}: no CT, PET or MR series; leave --root out for the phantoms")
    return subjects


Series = list[tuple[float, Path]]

_TAGS: list[Any] = [
    "Modality",
    "SeriesInstanceUID",
    "ImageType",
    "ImagePositionPatient",
    "ImageOrientationPatient",
]


def _series(root: Path) -> dict[tuple[str, str], Series]:
    """Files below a folder by (modality, Series Instance UID), in order of place.

    Axial slices come from head to feet.
    """
    found: dict[tuple[str, str], Series] = {}
    for path in sorted(root.rglob("*.dcm")):
        try:
            ds = pydicom.dcmread(path, specific_tags=_TAGS, stop_before_pixels=True)
        except (InvalidDicomError, RecursionError):  # no DICOM, or sequences without an end
            continue
        if "ImageOrientationPatient" not in ds or "LOCALIZER" in ds.get("ImageType", []):
            continue
        row, column = np.reshape(np.asarray(ds.ImageOrientationPatient, float), (2, 3))
        place = -float(np.cross(row, column) @ np.asarray(ds.ImagePositionPatient, float))
        key = (str(ds.Modality), str(ds.SeriesInstanceUID))
        found.setdefault(key, []).append((place, path))
    return {key: sorted(slices) for key, slices in found.items()}


def _longest(series: dict[tuple[str, str], Series], modality: str) -> Series:
    return max(
        (slices for key, slices in series.items() if key[0] == modality), key=len, default=[]
    )


def _real_pet(pet: Series, series: dict[tuple[str, str], Series]) -> Subject:
    """The PET slice where the most of the liver's dome moves, with its CT on the PET's grid."""
    frame = pydicom.dcmread(pet[0][1], stop_before_pixels=True).FrameOfReferenceUID
    ct = [
        pydicom.dcmread(path)
        for key, slices in series.items()
        if key[0] == "CT"
        for _, path in slices
        if pydicom.dcmread(path, stop_before_pixels=True).get("FrameOfReferenceUID") == frame
    ]
    ds = pydicom.dcmread(pet[len(pet) // 2][1])
    if len(ct) < 2:
        raise ValueError(f"{pet[0][1].parent}: no CT of the same Frame of Reference below --root")
    slice_mm = abs(float(ct[1].ImagePositionPatient[2]) - float(ct[0].ImagePositionPatient[2]))
    maps = np.stack([_on_grid(to_hu(one.pixel_array, one), one, ds) for one in ct])
    # Below the dome: soft tissue here where the CT 20 mm nearer the head has lung.
    step = max(1, round(20 / slice_mm))
    lung, soft = (maps > -950) & (maps < -600), maps > -50
    index = step + int(np.argmax((lung[:-step] & soft[step:]).sum(axis=(1, 2))))
    z = float(ct[index].ImagePositionPatient[2])
    ds = pydicom.dcmread(min(pet, key=lambda one: abs(-one[0] - z))[1])
    image = np.maximum(to_suv_like(ds), 0)
    window = (0.0, float(np.percentile(image, 99.7)))
    return Subject(
        "PET",
        image,
        {
            "spacing_mm": float(ds.PixelSpacing[0]),
            "ct_hu": maps,
            "index": index,
            "slice_mm": slice_mm,
            "window": window,
        },
        window,
        pet[0][1].parent.name,
        zoom=0.75,
    )


def to_suv_like(ds: pydicom.Dataset) -> Float:
    """Stored values to the series' own unit, whatever it is: no degradation minds a factor."""
    slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
    return ds.pixel_array.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _on_grid(hu: Float, ct: pydicom.Dataset, pet: pydicom.Dataset) -> Float:
    """A CT slice `[H, W]` resampled to the pixels of a PET slice of the same orientation."""
    scale = float(pet.PixelSpacing[0]) / float(ct.PixelSpacing[0])
    offset = [
        (float(pet.ImagePositionPatient[i]) - float(ct.ImagePositionPatient[i]))
        / float(ct.PixelSpacing[0])
        for i in range(2)
    ]
    # Averaged over a PET pixel first, as the scanner's own attenuation map is.
    smooth = gaussian(hu, scale)
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    return np.asarray(
        cv2.warpAffine(
            smooth,
            matrix,
            (int(pet.Columns), int(pet.Rows)),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=-1000.0,
        ),
        np.float32,
    )


def body_slice(z_mm: float) -> tuple[Float, Float]:
    """SUV and HU `[PET_SIDE, PET_SIDE]` of a body at a height: lungs above, the liver below.

    The liver is half an ellipsoid under DOME_MM, with a lesion 30 mm below the dome.
    """
    suv = np.zeros((PET_SIDE, PET_SIDE), np.float32)
    hu = np.full((PET_SIDE, PET_SIDE), -1000, np.float32)

    def organ(x: float, y: float, a: float, b: float, uptake: float, ct_hu: float) -> None:
        inside = _ellipse(PET_SIDE, PET_MM, x, y, a, b)
        suv[...] += inside * (uptake - suv)
        hu[...] += inside * (ct_hu - hu)

    organ(0, 0, 175, 120, 0.4, -100)
    organ(0, 0, 162, 108, 0.9, 50)
    for side in (-1, 1):
        organ(side * 78, -2, 62, 86, 0.35, -800)
    organ(0, 0, 24, 80, 0.9, 30)
    below = DOME_MM - z_mm
    if below > 0:
        grown = min(1.0, float(np.sqrt(1 - (1 - min(below, 70) / 70) ** 2)))
        organ(-76, -4, 66 * grown, 84 * grown, 2.3, 60)
        organ(80, 30, 40 * grown, 45 * grown, 1.8, 50)
        reach = 14.0**2 - (below - 30) ** 2
        if reach > 0:
            organ(-76, -30, reach**0.5, reach**0.5, 6.0, 55)
    if below < 10:
        organ(25, -30, 45, 38, 3.2, 45)
    organ(0, 70, 20, 18, 1.6, 250)
    organ(14, 45, 11, 11, 1.7, 45)
    return np.maximum(gaussian(suv, 6 / PET_MM), 0), hu


def brain_slice() -> Float:
    """A head `[MR_SIDE, MR_SIDE]` in T1 contrast, arbitrary units: scalp, skull, folds, ventricles.

    Ellipses after Shepp and Logan, IEEE Trans Nucl Sci 21, 1974, with a folded cortex.
    """
    head = np.zeros((MR_SIDE, MR_SIDE), np.float32)
    axis = (np.arange(MR_SIDE) - (MR_SIDE - 1) / 2) * MR_MM
    turn = np.arctan2(axis[:, None], axis[None])
    fold = 1 + 0.035 * np.sin(19 * turn) + 0.02 * np.sin(31 * turn + 1)

    def tissue(x: float, y: float, a: float, b: float, value: float, shape: Any = 1.0) -> None:
        head[...] += _ellipse(MR_SIDE, MR_MM, x, y, a, b, shape) * (value - head)

    tissue(0, 0, 78, 98, 215)
    tissue(0, 0, 73, 93, 18)
    tissue(0, 0, 67, 87, 45)
    tissue(0, 0, 65, 85, 105)
    tissue(0, 0, 57, 77, 165, fold)
    tissue(0, -2, 1.5, 84, 45)
    for side in (-1, 1):
        tissue(side * 24, 8, 12, 20, 118)
        tissue(side * 11, -14, 6, 22, 42)
        tissue(side * 14, 30, 5, 14, 42)
        tissue(side * 30, 2, 4, 9, 100)
    tissue(-34, -34, 7, 7, 60)
    for number in range(5):
        tissue(-20 + 10 * number, 62, 1.2 + 0.5 * number, 1.2 + 0.5 * number, 60)
    return gaussian(head, 1.5)


def _ellipse(
    side: int,
    spacing_mm: float,
    x: float,
    y: float,
    a: float,
    b: float,
    shape: float | npt.NDArray[np.float64] = 1.0,
) -> Float:
    """How much of each pixel an ellipse covers, 0…1 (centre and half axes in mm)."""
    axis = (np.arange(side) - (side - 1) / 2) * spacing_mm
    radius = np.hypot((axis[None] - x) / a, (axis[:, None] - y) / b) / shape
    return np.asarray(np.clip((1 - radius) * min(a, b) / spacing_mm + 0.5, 0, 1), np.float32)
