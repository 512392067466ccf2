"""PET's own figure beside the score: signal to noise in the liver."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.render import Float
from service.score.plane import Plane

LIVER_HU = (40.0, 90.0)
"""Liver, unenhanced; under contrast medium it is brighter, and no figure is given."""
LIVER_SUV = (0.8, 5.0)
DISC_RADIUS_MM = 15.0
ROOM_RADIUS_MM = 30.0
"""The disc's centre has nothing but liver within this distance: the edge, which breathing moves
between CT and PET, stays as far from the disc as the disc is wide."""
DEPTH_RADIUS_MM = 70.0
LEAST_SHARE = 0.95
LEAST_RIGHT_MM = 25.0
"""How far to the right of the body's middle the centre lies at least: not in the heart."""
FEWEST_PIXELS = 12
QUARTER_TOLERANCE = 0.2
QUARTER_SIGMA = 2.5
INDEPENDENT_SHARE = 0.25
"""A quarter of the disc whose mean differs from the disc's by more than this share, and by more
than so many standard errors, shows a lesion or an edge. Neighbouring pixels of PET are not
independent: taken for about one in four. Noise alone must not fail the test, or only the quieter
slices of a noisy series would count."""

_BLOCK_MM = 4.0
_BODY_HU = -300.0


def liver_snr(hu: Float, ct: Plane, suv: Float, pet: Plane) -> float | None:
    """Mean over standard deviation of SUV in a disc of 3 cm in the right lobe of the liver, from
    one slice: CT `[H, W]` in HU on the grid `ct`, PET `[h, w]` in SUV on its own grid `pet`, not
    resampled, since resampling would smooth its noise. None where the slice does not show it.

    The inverse is the coefficient of variation that EANM's guideline for FDG PET/CT (Boellaard et
    al., Eur J Nucl Med Mol Imaging 2015;42:328) holds noise by; the place and the 3 cm are those
    of PERCIST (Wahl et al., J Nucl Med 2009;50 Suppl 1:122S), in a plane where PERCIST takes a
    sphere. Where the CT shows 40 to 90 HU within 3 cm all about, on the patient's right, the disc
    lies deepest in it; it counts where its SUV is a liver's and even over its quarters.
    """
    centre = _deepest(hu, ct)
    if centre is None:
        return None
    row, column = pet.pixel(ct.point(*centre))
    down = (np.arange(suv.shape[0]) - row) * pet.row_mm
    across = (np.arange(suv.shape[1]) - column) * pet.column_mm
    inside = np.hypot(down[:, None], across[None, :]) <= DISC_RADIUS_MM
    values = suv[inside].astype(np.float64)
    if values.size < FEWEST_PIXELS:
        return None
    mean, deviation = float(values.mean()), float(values.std(ddof=1))
    if not LIVER_SUV[0] <= mean <= LIVER_SUV[1] or not deviation > 0:
        return None
    noise = 1.4826 * float(np.median(np.abs(values - np.median(values))))
    below = np.broadcast_to((down >= 0)[:, None], inside.shape)[inside]
    beyond = np.broadcast_to((across >= 0)[None, :], inside.shape)[inside]
    for quarter in (below & beyond, below & ~beyond, ~below & beyond, ~below & ~beyond):
        count = int(quarter.sum())
        if not count:
            return None
        error = noise / np.sqrt(max(1.0, count * INDEPENDENT_SHARE))
        if abs(values[quarter].mean() - mean) > max(
            QUARTER_TOLERANCE * mean, QUARTER_SIGMA * error
        ):
            return None
    return mean / deviation


def _deepest(hu: Float, ct: Plane) -> tuple[float, float] | None:
    """Row and column of the place deepest in the liver; None where there is none."""
    step = max(1, round(_BLOCK_MM / max(ct.row_mm, ct.column_mm)))
    rows, columns = hu.shape[0] // step, hu.shape[1] // step
    if not rows or not columns:
        return None
    blocks = hu[: rows * step, : columns * step].reshape(rows, step, columns, step)
    means = blocks.mean(axis=(1, 3))
    x_mm, body = _x_mm(ct, rows, columns, step), means > _BODY_HU
    if not body.any():
        return None
    like = ((means >= LIVER_HU[0]) & (means <= LIVER_HU[1])).astype(np.int64)
    block_mm = step * ct.row_mm, step * ct.column_mm
    room = _disc_share(like, ROOM_RADIUS_MM, *block_mm)
    right = x_mm <= x_mm[body].mean() - LEAST_RIGHT_MM
    fits = (room >= LEAST_SHARE) & right
    if not fits.any():
        return None
    depth = np.where(fits, _disc_share(like, DEPTH_RADIUS_MM, *block_mm), -1.0)
    row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
    half = (step - 1) / 2
    return float(row * step + half), float(column * step + half)


def _x_mm(ct: Plane, rows: int, columns: int, step: int) -> npt.NDArray[np.float64]:
    """The patient's x, which grows to the left, of every block `[rows, columns]`."""
    return np.asarray(
        ct.origin[0]
        + ct.down[0] * ct.row_mm * step * np.arange(rows)[:, None]
        + ct.across[0] * ct.column_mm * step * np.arange(columns)[None, :]
    )


def _disc_share(
    like: npt.NDArray[np.int64], radius_mm: float, row_mm: float, column_mm: float
) -> npt.NDArray[np.float64]:
    """The share of the blocks about each, within a radius, that are alike; beyond the picture
    none is."""
    rows = int(radius_mm // row_mm)
    reach = int(radius_mm // column_mm)
    padded = np.pad(like, ((rows, rows), (reach + 1, reach)))
    sums = np.cumsum(padded, axis=1)
    total, count = np.zeros(like.shape, np.int64), 0
    for offset in range(-rows, rows + 1):
        half = int(np.sqrt(radius_mm**2 - (offset * row_mm) ** 2) // column_mm)
        lines = sums[rows + offset : rows + offset + like.shape[0]]
        start = reach - half
        total += (
            lines[:, start + 2 * half + 1 : start + 2 * half + 1 + like.shape[1]]
            - lines[:, start : start + like.shape[1]]
        )
        count += 2 * half + 1
    return np.asarray(total / count)
