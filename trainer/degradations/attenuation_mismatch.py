"""PET corrected with a CT of another breath."""

from __future__ import annotations

import numpy as np

from trainer.degradations.contract import degradation, refuse_negative
from trainer.degradations.sinogram import FULL_VIEWS
from trainer.projection import Float, project, reconstruct

LARGEST_SHIFT_MM = 20.0
"""How far the CT's diaphragm lies from the PET's at severity 1: deep inspiration."""


@degradation
def attenuation_mismatch(
    image: Float,
    severity: float,
    rng: np.random.Generator,
    *,
    spacing_mm: float,
    ct_hu: Float,
    index: int,
    slice_mm: float,
) -> Float:
    """A PET slice whose attenuation map was taken with the diaphragm elsewhere.

    PET is acquired over many breaths, CT in one. A ray of attenuation L = ∫μ that is corrected
    with the attenuation L' of the map severity·LARGEST_SHIFT_MM away reads e^(L' − L) times
    its activity; the change A f·(e^(L' − L) − 1) is reconstructed by filtered backprojection and
    added, and the slice cut at 0. Where the CT shows lung and the PET liver, uptake falls. ct_hu:
    the CT `[Z, H, W]` in HU on the PET's grid, from the head to the feet: the wrong map is the
    one nearer the head, as deep inspiration puts it; index: the PET slice's place in it;
    slice_mm: the CT's spacing in z.
    No random part. Source: Kinahan et al., Med Phys 25, 1998; Osman et al., Eur J Nucl Med Mol
    Imaging 30, 2003 (the artefact); Carney et al., Med Phys 33, 2006 (HU to μ at 511 keV).
    """
    del rng
    refuse_negative(image, "attenuation_mismatch")
    if ct_hu.ndim != 3 or ct_hu.shape[1:] != image.shape or not 0 <= index < len(ct_hu):
        raise ValueError(
            f"attenuation_mismatch: ct_hu must be [Z, H, W] on the PET's grid "
            f"{list(image.shape)} with the slice at `index`; it is {list(ct_hu.shape)}, {index}"
        )
    right = per_mm_at_511_kev(ct_hu[index])
    wrong = per_mm_at_511_kev(_slice_at(ct_hu, index - severity * LARGEST_SHIFT_MM / slice_mm))
    excess = project(wrong - right, FULL_VIEWS, spacing_mm)
    activity = project(image, FULL_VIEWS, spacing_mm)
    change = reconstruct(activity * np.expm1(excess), spacing_mm, "standard")
    return np.asarray(np.maximum(image + change, 0.0), np.float32)


def per_mm_at_511_kev(hu: Float) -> Float:
    """Attenuation in 1/mm at 511 keV of CT numbers at 120 kV: two straight lines.

    Source: Carney et al., Med Phys 33, 2006, table I (120 kVp; break at 47 HU).
    """
    soft = 9.6e-6 * (hu + 1000)
    bone = 5.1e-6 * (hu + 1000) + 4.71e-3
    return np.asarray(np.maximum(np.where(hu < 47, soft, bone), 0), np.float32)


def _slice_at(volume: Float, place: float) -> Float:
    """The slice at a fractional index, between its two neighbours; the ends go on for ever."""
    place = min(max(place, 0.0), len(volume) - 1.0)
    below = min(int(place), len(volume) - 2) if len(volume) > 1 else 0
    share = np.float32(place - below)
    above = min(below + 1, len(volume) - 1)
    return np.asarray((1 - share) * volume[below] + share * volume[above], np.float32)
