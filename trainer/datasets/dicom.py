"""DICOM folders: the axial slices in them, as acquired or drawn as a network sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue

from models.kernel import Reading, reading
from models.physical import to_hu
from models.render import CtWindow, Float, RenderSpec
from trainer.datasets.folder import SCORES_NAME, read_table
from trainer.datasets.scored import DatasetError, ScoredImage, ScoredImages, as_score

LOW, HIGH = 0.0, 4.0


@dataclass(frozen=True)
class CleanSlice:
    """A slice as acquired: `[N, N]` in HU, with where it came from.

    incident_photons: I₀ of its own exposure, where it is known better than for the whole source;
    reading: the window that its kernel is read in.
    """

    hu: Float
    spacing_mm: float
    z_mm: float
    source: str
    name: str
    incident_photons: float | None = None
    reading: Reading = "soft"


def read_ct_slices(folder: Path, source: str) -> Iterator[CleanSlice]:
    """The axial CT slices below a folder in order of z; scouts and other modalities are passed by.

    Raises DatasetError where there are none.
    """
    found = [(float(ds.ImagePositionPatient[2]), path) for path, ds in _axial_ct(folder)]
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
            reading=reading_of(ds),
        )


def load_dicom(folder: Path, spec: RenderSpec) -> ScoredImages:
    """The axial CT slices below a folder, drawn by `models.render` as the service draws them.

    Scores come from a `scores.csv` in the folder (`file, score`, files relative to it, 0–4); files
    it does not name are unlabelled. Slices of one patient are one group, named by a digest, so
    that no identity goes into tables or logs. Raises DatasetError naming file or row.
    """
    slices = {
        path.relative_to(folder).as_posix(): (path, _patient(ds)) for path, ds in _axial_ct(folder)
    }
    if not slices:
        raise DatasetError(f"{folder}: no axial CT slices below it")
    table = folder / SCORES_NAME
    scores: dict[str, float | None] = {}
    for where, row in read_table(table, ["file", "score"]) if table.exists() else ():
        if row["file"] not in slices:
            raise DatasetError(f"{where}: {row['file']!r} is no axial CT slice below {folder}")
        if row["file"] in scores:
            raise DatasetError(f"{where}: {row['file']!r} is listed twice")
        scores[row["file"]] = as_score(row["score"], where) if row["score"] else None
    images = tuple(
        ScoredImage(name, patient, scores.get(name), partial(draw_slice, path, spec))
        for name, (path, patient) in slices.items()
    )
    return ScoredImages(images, LOW, HIGH)


def draw_slice(path: Path, spec: RenderSpec) -> Float:
    """One slice `[1, rows, columns]`, 0…1. Raises DatasetError naming a file without pixels."""
    ds = pydicom.dcmread(path)
    try:
        stored = ds.pixel_array
    # what pydicom's decoders raise for missing or broken pixel data
    except (AttributeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise DatasetError(f"{path}: its pixels cannot be decoded: {error}") from error
    if not isinstance(spec, CtWindow):
        raise DatasetError(f"{path}: only CT is drawn from DICOM folders, not {spec.kind}")
    return spec.draw(to_hu(stored, ds), reading_of(ds))


def reading_of(ds: pydicom.Dataset) -> Reading:
    """The window that a CT slice is read in, by its header, as the gate decides it."""
    return reading(
        _first(ds.get("ConvolutionKernel")) or "",
        _number(_first(ds.get("WindowCenter"))),
        _number(_first(ds.get("WindowWidth"))),
    )


def _first(value: Any) -> str | None:
    """The first of an element's values as text, None where there is none."""
    values = value if isinstance(value, MultiValue) else [value]
    return str(values[0]) if values and values[0] not in (None, "") else None


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _axial_ct(folder: Path) -> Iterator[tuple[Path, pydicom.Dataset]]:
    """The CT files below a folder that are no scouts, headers only, in order of name."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            continue
        try:
            ds = pydicom.dcmread(path, stop_before_pixels=True)
        except (InvalidDicomError, RecursionError):  # not DICOM, or nested beyond reason
            continue
        if ds.get("Modality") == "CT" and "LOCALIZER" not in ds.get("ImageType", []):
            yield path, ds


def _patient(ds: pydicom.Dataset) -> str:
    identity = str(ds.get("PatientID") or ds.get("StudyInstanceUID") or "")
    return hashlib.sha256(identity.encode()).hexdigest()[:12]
