"""Clean MR slices: DICOM series by stack, and NIfTI volumes in their three planes."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.errors import InvalidDicomError

from models.intensity import shows_anatomy, slice_level, stack_level
from models.physical import to_mr_signal
from models.render import Float
from trainer.datasets.scored import DatasetError

MODALITIES = frozenset({"MR", "MRI"})
"""MR as the standard has it, and as converters write it whose pictures are trained on."""

PASSED_BY = frozenset({"LOCALIZER", "ADC", "FA", "MIP", "MPR", "MOSAIC", "DERIVED"})
"""Image Type values of pictures that are no slices as acquired."""

NIFTI_EVERY = 4
"""Of a volume's neighbouring slices, all but one in so many are left out: they look alike."""

NIFTI_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 512: "u2"}


@dataclass(frozen=True)
class MrSlice:
    """A slice as acquired: `[H, W]` of signal, with the level of its stack.

    z_mm: its place along the stack's normal; phase_axis: along which phase was encoded, 0 down
    the rows (COL), 1 across (ROW), None where the header does not say.
    """

    signal: Float
    level: float
    spacing_mm: float
    z_mm: float
    phase_axis: int | None
    source: str
    name: str


def read_mr_slices(folders: Sequence[Path], source: str) -> Iterator[MrSlice]:
    """The slices that a gate would score of the MR below folders, stack by stack in order of z.

    A series may lie in several folders. Localizers, maps and whatever else was derived are passed
    by. Folders may hold NIfTI volumes (`.nii.gz`) instead, cut in their three planes. Raises
    DatasetError where there are none.
    """
    stacks: dict[tuple[object, ...], list[MrSlice]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.name.endswith(".nii.gz"):
                for plane, one in _of_volume(path, source):
                    stacks.setdefault((path.name, plane), []).append(one)
            elif path.is_file() and (ds := _acquired(path)) is not None:
                stacks.setdefault(_stack(ds), []).append(_slice(ds, source, path.stem))
    if not stacks:
        raise DatasetError(
            f"{', '.join(map(str, folders))}: no MR slices; check --root and the recipe's folders"
        )
    for slices in stacks.values():
        yield from _of_stack(slices)


def _of_stack(slices: list[MrSlice]) -> Iterator[MrSlice]:
    """The slices of one stack that show anatomy, with the stack's level."""
    found = [slice_level(one.signal) for one in slices]
    voting = [level.level for level in found if level.votes]
    if not voting:
        return
    level = stack_level(voting)
    for own, one in sorted(zip(found, slices, strict=True), key=lambda pair: pair[1].z_mm):
        if shows_anatomy(one.signal, own, level):
            yield MrSlice(
                one.signal, level, one.spacing_mm, one.z_mm, one.phase_axis, one.source, one.name
            )


def _acquired(path: Path) -> pydicom.Dataset | None:
    try:
        ds = pydicom.dcmread(path)
    except (InvalidDicomError, RecursionError):  # not DICOM, or nested beyond reason
        return None
    kind = {str(value).upper() for value in ds.get("ImageType", [])}
    return ds if ds.get("Modality") in MODALITIES and not kind & PASSED_BY else None


def _stack(ds: pydicom.Dataset) -> tuple[object, ...]:
    turned = tuple(round(float(value), 3) for value in ds.ImageOrientationPatient)
    return (
        ds.get("SeriesInstanceUID"),
        turned,
        ds.get("EchoNumbers"),
        ds.get("TemporalPositionIdentifier"),
    )


def _slice(ds: pydicom.Dataset, source: str, name: str) -> MrSlice:
    across, down = np.array(ds.ImageOrientationPatient, float).reshape(2, 3)
    encoded = ds.get("InPlanePhaseEncodingDirection")
    return MrSlice(
        signal=to_mr_signal(ds.pixel_array, ds),
        level=0.0,
        spacing_mm=float(ds.PixelSpacing[0]),
        z_mm=float(np.cross(across, down) @ np.array(ds.ImagePositionPatient, float)),
        phase_axis={"COL": 0, "ROW": 1}.get(str(encoded)),
        source=source,
        name=name,
    )


def _of_volume(path: Path, source: str) -> Iterator[tuple[int, MrSlice]]:
    """Every NIFTI_EVERY-th slice across each axis of a volume, with the axis."""
    volume, spacing_mm = read_nifti(path)
    for plane in range(3):
        for index in range(0, volume.shape[plane], NIFTI_EVERY):
            cut = np.rot90(volume.take(index, axis=plane))
            side = max(cut.shape)
            square = np.zeros((side, side), np.float32)
            top, left = (side - cut.shape[0]) // 2, (side - cut.shape[1]) // 2
            square[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
            z_mm = index * spacing_mm[plane]
            in_plane_mm = spacing_mm[(plane + 1) % 3]
            name = f"{'xyz'[plane]}{index:03d}"
            yield plane, MrSlice(square, 0.0, in_plane_mm, z_mm, None, source, name)


def read_nifti(path: Path) -> tuple[Float, tuple[float, float, float]]:
    """A little-endian NIfTI-1 volume `[X, Y, Z]`, from 0 up, and its spacings in mm.

    Raises DatasetError naming the file where it is none, or of a type that is not read.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path}: cannot be unpacked: {error}") from error
    if len(content) < 352 or content[344:347] != b"n+1":
        raise DatasetError(f"{path}: no NIfTI-1 volume in one file")
    dimensions = struct.unpack("<8h", content[40:56])
    (code,) = struct.unpack("<h", content[70:72])
    if dimensions[0] < 3 or code not in NIFTI_TYPES:
        raise DatasetError(f"{path}: {dimensions[0]} dimensions of type {code} are not read")
    X, Y, Z = dimensions[1:4]
    offset, slope, intercept = struct.unpack("<3f", content[108:120])
    stored: npt.NDArray[Any] = np.frombuffer(
        content, np.dtype(NIFTI_TYPES[code]).newbyteorder("<"), X * Y * Z, int(offset)
    )
    values = stored.reshape((X, Y, Z), order="F").astype(np.float32) * np.float32(slope or 1.0)
    dx, dy, dz = (float(one) for one in struct.unpack("<3f", content[80:92]))
    return np.maximum(values + np.float32(intercept), 0.0), (dx, dy, dz)
