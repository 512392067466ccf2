"""One frame's own header, and where the frame lies: its stack, its place along the normal."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom import Dataset

from service import header

_STACK_TERMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("time", ("TemporalPositionIndex", "TemporalPositionIdentifier")),
    ("phase", ("NominalPercentageOfCardiacPhase",)),
    ("echo", ("EffectiveEchoTime", "EchoNumbers")),
    ("keV", ("MonoenergeticEnergyEquivalent",)),
    ("kV", ("KVP",)),
)


_B_VALUES = ((0x0019, 0x100C), (0x0043, 0x1039), (0x2001, 0x1003))
"""Where Siemens, GE and Philips keep the b-value that older software has no attribute for."""

_GE_B_OFFSET = 1e9
"""GE adds it to b-values of later software."""


def frame_header(ds: Dataset, frame_number: int) -> Dataset:
    """A flat header for one frame (counted from 1).

    For multi-frame objects with functional groups (PS3.3 C.7.6.16), the shared groups' attributes
    and then the frame's own are laid over the object's; others are returned as they are.
    """
    shared = _items(ds, "SharedFunctionalGroupsSequence")
    per_frame = _items(ds, "PerFrameFunctionalGroupsSequence")
    if not shared and not per_frame:
        return ds
    flat = Dataset()
    flat.update({element.tag: element for element in ds if element.VR != "SQ"})
    groups = shared[:1] + per_frame[frame_number - 1 : frame_number]
    for group in groups:
        for element in group:
            if element.VR == "SQ" and element.value:
                flat.update({inner.tag: inner for inner in element.value[0] if inner.VR != "SQ"})
    return flat


def stack(flat: Dataset) -> str:
    """The stack's name: orientation, then what else tells it from its series' other stacks."""
    parts = [_orientation(flat)]
    for label, keywords in _STACK_TERMS:
        value = next((v for v in (header.number(flat, k) for k in keywords) if v is not None), None)
        if value is not None:
            parts.append(f"{label} {value:g}")
    b_value = _b_value(flat)
    if b_value is not None:
        parts.append(f"b {b_value:g}")
    return ", ".join(part for part in parts if part)


def _b_value(flat: Dataset) -> float | None:
    """Diffusion b-value in s/mm²; None for what is no diffusion image."""
    stated = header.number(flat, "DiffusionBValue")
    if stated is not None or header.text(flat, "Modality", 16) != "MR":
        return stated
    siemens, ge, philips = (header.private_number(flat, tag) for tag in _B_VALUES)
    if siemens is not None and "SIEMENS" in header.text(flat, "Manufacturer").upper():
        return siemens
    if ge and "GE" in header.text(flat, "Manufacturer").upper():
        return ge % _GE_B_OFFSET
    if philips is not None and "PHILIPS" in header.text(flat, "Manufacturer").upper():
        return philips
    return None


def position_mm(flat: Dataset) -> float | None:
    """Distance of the slice from the origin along its normal (PS3.3 C.7.6.2.1.1)."""
    place, normal = _vector(flat, "ImagePositionPatient", 3), _normal(flat)
    if place is None or normal is None:
        return header.number(flat, "SliceLocation")
    return float(np.dot(place, normal))


def spacing_mm(flat: Dataset) -> float | None:
    """Distance between pixels, the mean of both directions; None where it is not stated."""
    spacing = _vector(flat, "PixelSpacing", 2)
    if spacing is None or not (spacing > 0).all():
        return None
    return float(np.sqrt(spacing[0] * spacing[1]))


def _orientation(flat: Dataset) -> str:
    normal = _normal(flat)
    if normal is None:
        return ""
    axis = int(np.argmax(np.abs(normal)))
    name = ("sagittal", "coronal", "axial")[axis]
    # obliques of one series differ by more than rounding: a tenth of the unit vector
    return name if abs(normal[axis]) > 0.995 else f"{name} {np.round(normal, 1).tolist()}"


def _normal(flat: Dataset) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    directions = _vector(flat, "ImageOrientationPatient", 6)
    if directions is None:
        return None
    normal = np.cross(directions[:3], directions[3:])
    length = float(np.linalg.norm(normal))
    return normal / length if length > 0.5 else None


def _vector(
    flat: Dataset, keyword: str, length: int
) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    try:
        vector = np.array([float(part) for part in header.text(flat, keyword, 512).split("\\")])
    except ValueError:
        return None
    return vector if vector.shape == (length,) and np.isfinite(vector).all() else None


def _items(ds: Dataset, keyword: str) -> list[Dataset]:
    try:
        return list(ds.get(keyword) or [])
    except header.BROKEN:
        return []
