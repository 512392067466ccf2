"""Whether a picture lies in the domain a bundle was trained for, in terms a physicist can check.

NumPy only. A picture is described by a few plain measures of its physical values (share of bone,
area of the body, how tissue differs from place to place), taken on cells of a few millimetres so
that noise hardly moves them. A card's `[domain]` table limits each (`trainer.domain` learns the
limits); a picture beyond any of them is not assessed, and the reason names the measure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.render import Float

Limits = Mapping[str, tuple[float, float]]
Mask = npt.NDArray[np.bool_]

CELL_MM = 5.0
"""CT and PET are described on cells of about this side: bone and organs show, noise does not."""

MR_CELLS = 48
"""MR is described on about so many cells a side: receivers' matrices differ more than patients."""

DIM = 0.2
"""Of the brightest signal; what is dimmer counts as background."""

MR_SHADING_CELLS = 9
"""Shading is smooth over so many of them, anatomy is not."""

TISSUE_HU = -300.0
BONE_HU = 250.0
DENSE_BONE_HU = (700.0, 2000.0)
"""Cortical bone; what lies above is metal."""
SOFT_HU = (-150.0, 200.0)
BAND_HU = 40.0
SHELL_HU = 150.0
SHELL_CELLS = 3
_FEWEST_CELLS = 12


@dataclass(frozen=True)
class Descriptor:
    """One measure.

    words: it in a sentence, `{}` for the value; unit: `%` for shares; reach: the range that
    patients' pictures may have whatever was trained on, for a training set shows few of them;
    widening: how far beyond the training pictures' range the limits go, as a factor.
    """

    words: str
    unit: str
    reach: tuple[float, float]
    widening: float = 1.25

    def value_words(self, value: float) -> str:
        if self.unit == "%":
            return f"{100 * value:.0f} %"
        return f"{value:.3g} {self.unit}".rstrip()


CT = {
    # a newborn's chest is scanned with 120 mm and more, an inner ear, a wrist or a mouse with less
    "field_mm": Descriptor("the field of view is {} wide", "mm", (100.0, 1000.0)),
    # from a newborn's chest to the largest field of a scanner filled
    "body_cm2": Descriptor("tissue covers {}", "cm²", (12.0, 3500.0)),
    # hips and shoulders of a slim patient, a heart full of contrast medium in a small field
    "bone": Descriptor("bone and contrast medium make up {} of the tissue", "%", (0.0, 0.5)),
    # two hip prostheses and their halo; a skull has more
    "dense_bone": Descriptor("dense bone makes up {} of the tissue", "%", (0.0, 0.07)),
    # ribs, shoulder blades and iliac crests lie under the skin here and there, a skull everywhere
    "bone_shell": Descriptor("bone lies under {} of the surface", "%", (0.0, 0.65)),
    "soft_tissue": Descriptor("fat and soft tissue make up {} of the tissue", "%", (0.4, 1.0)),
    # a lean child's abdomen is even; water and plastic are more so
    "evenness": Descriptor("{} of the tissue lies within 40 HU", "%", (0.0, 0.86)),
    # fat, muscle and organs, whatever the noise; in water or plastic, and in noise alone, nothing
    "structure_hu": Descriptor("tissue differs by {} from place to place", "HU", (15.0, 300.0)),
}

MR = {
    # in a uniform phantom neighbours share shading alone, in noise nothing
    "structure": Descriptor("tissue differs by {} from place to place", "%", (0.03, 2.0)),
}

PET_CT = {
    "field_mm": CT["field_mm"],
    "body_cm2": CT["body_cm2"],
    # whole-body scans show heads and legs
    "bone": Descriptor(CT["bone"].words, "%", (0.0, 0.7)),
    "soft_tissue": Descriptor(CT["soft_tissue"].words, "%", (0.2, 1.0)),
    "evenness": CT["evenness"],
    "structure_hu": CT["structure_hu"],
    # a bladder or an injection site reaches hundreds; no uptake at all is no FDG picture
    "highest_suv": Descriptor("the highest SUV is {}", "", (0.3, 2000.0)),
    "uptake": Descriptor("{} of the body has an SUV above 0.1", "%", (0.3, 1.0)),
}

DESCRIPTORS: dict[str, dict[str, Descriptor]] = {
    "ct-window": CT,
    "mr-stack": MR,
    "pet-ct-fused": PET_CT,
}
"""By the kind of picture that a bundle is served."""


def limits_from(kind: str, table: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    """Limits from a `[domain]` table. Raises ValueError naming what is no measure or no range."""
    limits = {}
    for name, span in table.items():
        if name not in DESCRIPTORS[kind]:
            known = ", ".join(DESCRIPTORS[kind])
            raise ValueError(f"domain.{name} does not describe {kind}; known: {known}")
        if len(span) != 2 or not span[0] <= span[1]:
            raise ValueError(f"domain.{name} must be [lowest, highest]")
        limits[name] = (float(span[0]), float(span[1]))
    return limits


def outside(kind: str, described: Mapping[str, float], limits: Limits) -> str | None:
    """Why a picture lies outside, in words; None where it does not. What was not described, for
    its header does not tell, is not held against it."""
    for name, descriptor in DESCRIPTORS[kind].items():
        if name not in described or name not in limits:
            continue
        value, (low, high) = described[name], limits[name]
        if low <= value <= high:
            continue
        bound = (
            f"at least {descriptor.value_words(low)}"
            if not value >= low
            else f"up to {descriptor.value_words(high)}"
        )
        said = descriptor.words.format(descriptor.value_words(value))
        return f"out of domain: {said}, the network is for {bound}"
    return None


def describe_ct(hu: Float, spacing_mm: float | None) -> dict[str, float]:
    """A CT slice `[H, W]` in HU; spacing_mm: of its pixels, None where the header has none.

    Tissue is what lies above TISSUE_HU, inside what is also tissue all round: skin, tables and
    plates drop out. With too little of it only the areas are told.
    """
    cell = _cell(hu.shape, spacing_mm)
    image = _cells(hu, cell)
    tissue = image > TISSUE_HU
    inner = _inner(tissue)
    count = int(inner.sum())
    described = {}
    if spacing_mm:
        described["field_mm"] = min(hu.shape) * spacing_mm
        described["body_cm2"] = count * (cell * spacing_mm / 10) ** 2
    if count < _FEWEST_CELLS:
        return described | {"soft_tissue": 0.0}
    smooth = _smoothed(image, tissue, 3)
    values, sharp = smooth[inner], image[inner]
    counts, _ = np.histogram(values, np.arange(TISSUE_HU, 400.0, BAND_HU / 4))
    return described | {
        "bone": float((values > BONE_HU).mean()),
        "dense_bone": float(((sharp > DENSE_BONE_HU[0]) & (sharp < DENSE_BONE_HU[1])).mean()),
        "bone_shell": _shell(inner, smooth > SHELL_HU),
        "soft_tissue": float(((values > SOFT_HU[0]) & (values < SOFT_HU[1])).mean()),
        "evenness": float(np.convolve(counts, np.ones(4)).max() / count),
        "structure_hu": _shared_deviation(np.clip(image, -200.0, 300.0), inner),
    }


def describe_mr(signal: Float) -> dict[str, float]:
    """An MR slice `[H, W]` of signal from 0 up."""
    image = _cells(signal, max(2, round(max(signal.shape) / MR_CELLS)))
    inner = _inner(image > DIM * np.percentile(image, 99))
    if int(inner.sum()) < _FEWEST_CELLS:
        return {"structure": 0.0}
    detail = image - _smoothed(image, inner, MR_SHADING_CELLS)
    return {"structure": _shared_deviation(detail, inner) / float(image[inner].mean())}


def describe_pet_ct(hu: Float, suv: Float, spacing_mm: float | None) -> dict[str, float]:
    """CT `[H, W]` in HU and PET `[H, W]` in SUV on the same grid."""
    ct = describe_ct(hu, spacing_mm)
    described = {name: value for name, value in ct.items() if name in PET_CT}
    cell = _cell(hu.shape, spacing_mm)
    body = _cells(hu, cell) > TISSUE_HU
    uptake = _cells(suv, cell)
    described["highest_suv"] = float(uptake.max())
    described["uptake"] = float((uptake[body] > 0.1).mean()) if body.any() else 0.0
    return described


def _cell(shape: tuple[int, ...], spacing_mm: float | None) -> int:
    """Pixels along a cell; where the spacing is not known the picture is taken to be 400 mm."""
    return max(1, round(CELL_MM / (spacing_mm or 400.0 / max(shape))))


def _cells(image: Float, side: int) -> Float:
    """Means `[H/side, W/side]` of square cells; what is left at the far edges is dropped."""
    rows, columns = (max(1, length // side) for length in image.shape)
    down, across = (min(side, length) for length in image.shape)
    part = image[: rows * down, : columns * across]
    strips = part.reshape(rows, down, columns * across).sum(axis=1)
    sums = strips.reshape(rows, columns, across).sum(axis=2)
    return np.asarray(sums / np.float32(down * across), np.float32)


def _inner(mask: Mask) -> Mask:
    """What of a mask has the mask on all four sides; the picture's edge counts as outside."""
    inner = np.zeros_like(mask)
    inner[1:-1, 1:-1] = (
        mask[1:-1, 1:-1] & mask[2:, 1:-1] & mask[:-2, 1:-1] & mask[1:-1, 2:] & mask[1:-1, :-2]
    )
    return inner


def _neighbours(image: Float, inner: Mask) -> tuple[Float, Float]:
    """The values of all pairs of neighbours that both lie inside, as two rows."""
    down, across = inner[1:] & inner[:-1], inner[:, 1:] & inner[:, :-1]
    return (
        np.concatenate([image[1:][down], image[:, 1:][across]]),
        np.concatenate([image[:-1][down], image[:, :-1][across]]),
    )


def _smoothed(image: Float, mask: Mask, side: int) -> Float:
    """Means of side×side cells (side odd) over what of them the mask holds; 0 where nothing."""

    def box(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        sums = np.pad(values, ((side // 2 + 1, side // 2),) * 2).cumsum(0).cumsum(1)
        return np.asarray(
            sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
        )

    weight = mask.astype(np.float64)
    return np.asarray(box(image * weight) / np.maximum(box(weight), 1.0), np.float32)


def _shared_deviation(image: Float, inner: Mask) -> float:
    """The deviation that neighbours share, the root of their covariance: noise adds nothing."""
    one, other = _neighbours(image, inner)
    if one.size < 2:
        return 0.0
    covariance = float((one - one.mean()) @ (other - other.mean())) / one.size
    return float(np.sqrt(abs(covariance)))


def _shell(inner: Mask, bone: Mask) -> float:
    """The share of the lines of sight from the four sides that meet bone just under the skin."""
    met = seen = 0
    for turned, hard in ((inner, bone), (inner.T, bone.T)):
        for mask, dense in ((turned, hard), (turned[:, ::-1], hard[:, ::-1])):
            lines = np.flatnonzero(mask.any(axis=1))
            first = mask[lines].argmax(axis=1)
            deep = np.clip(first[:, None] + np.arange(-1, SHELL_CELLS), 0, mask.shape[1] - 1)
            met += int(dense[lines[:, None], deep].any(axis=1).sum())
            seen += len(lines)
    return met / seen if seen else 0.0
