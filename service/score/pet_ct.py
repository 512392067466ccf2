"""PET: stored values to SUV, drawn fused with the CT slice at the same place in the patient."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np

from models import domain
from models.card import Bundle
from models.physical import not_hounsfield, to_hu
from models.render import Float, PetCtFused
from models.suv import SuvUnknown, suv_factor, to_activity
from service import header
from service.score.drawing import Drawing, Frame, FrameSource, NotScored
from service.score.liver import liver_snr
from service.score.plane import Plane, resample

SLICES_KEPT = 64
"""CT slices held decoded, 1 MB each at 512²: each is the neighbour of several PET slices."""

LEAST_REACH_MM = 1.0
SNAP_SHARE = 0.05
"""A CT slice nearer than this share of the reach is taken as it is: the little of its neighbour
that interpolation would mix in is not worth a second decoding."""


@dataclass(frozen=True)
class CtSlice:
    """One decoded CT slice in HU `[H, W]`, and where it lies."""

    hu: Float
    plane: Plane
    thickness_mm: float


@dataclass
class _Place:
    """Room for one slice; its lock lets one thread decode while others wait for the result."""

    lock: Lock = field(default_factory=Lock)
    content: CtSlice | None = None


class PetCtDraw:
    """Draws PET frames on their CT; keeps the CT slices it decoded last."""

    def __init__(self, slices_kept: int = SLICES_KEPT) -> None:
        self.slices_kept = slices_kept
        self._places: OrderedDict[tuple[Path, int], _Place] = OrderedDict()
        self._lock = Lock()

    def __call__(self, frame: Frame, bundle: Bundle) -> Drawing:
        """Draw one PET frame from it and its companions. Raises NotScored, RejectedInput."""
        spec = bundle.card.render
        assert isinstance(spec, PetCtFused)
        plane = Plane.of(frame.header)
        if plane is None:
            raise NotScored("its position, orientation or pixel spacing is not stated")
        try:
            factor = np.float32(suv_factor(frame.header))
        except SuvUnknown as error:
            raise NotScored(str(error)) from error
        hu, ct_plane = self._ct_at(frame, plane)
        suv = to_activity(frame.decode(), frame.header) * factor
        if not np.ptp(hu) or not np.ptp(suv):
            raise NotScored("the image is constant")
        on_ct = resample(suv, plane, ct_plane, *hu.shape)
        return Drawing(
            spec.draw(hu, on_ct),
            snr=liver_snr(hu, ct_plane, suv, plane),
            described=domain.describe_pet_ct(hu, on_ct, ct_plane.column_mm),
        )

    def _ct_at(self, frame: Frame, plane: Plane) -> tuple[Float, Plane]:
        """The CT `[H, W]` in HU in the PET slice's plane, and its grid: the slices on either side
        mixed by distance, or the nearest alone where only that is near enough."""
        companions = frame.source.companions
        if not companions:
            raise NotScored("no CT of its study and Frame of Reference was found to fuse it with")
        nearest = self._slice(frame, companions[0])
        if not plane.aligned(nearest.plane):
            raise NotScored("PET and CT are not oriented alike")
        near_mm = plane.offset_mm(nearest.plane)
        thickness_mm = header.number(frame.header, "SliceThickness") or 0.0
        reach_mm = max(thickness_mm, nearest.thickness_mm, LEAST_REACH_MM)
        if abs(near_mm) > reach_mm:
            raise NotScored(f"no CT slice lies within {reach_mm:.3g} mm of it")
        if len(companions) < 2 or abs(near_mm) < SNAP_SHARE * reach_mm:
            return nearest.hu, nearest.plane
        other = self._slice(frame, companions[1])
        far_mm = plane.offset_mm(other.plane)
        between = near_mm * far_mm < 0 and abs(far_mm) <= 2 * reach_mm
        if (
            not between
            or not nearest.plane.same_grid(other.plane)
            or (nearest.hu.shape != other.hu.shape)
        ):
            return nearest.hu, nearest.plane
        share = np.float32(abs(near_mm) / (abs(near_mm) + abs(far_mm)))
        return (1 - share) * nearest.hu + share * other.hu, nearest.plane

    def _slice(self, frame: Frame, source: FrameSource) -> CtSlice:
        """A companion, decoded once while it is among the last `slices_kept`."""
        key = (source.path, source.frame_number)
        with self._lock:
            place = self._places.setdefault(key, _Place())
            self._places.move_to_end(key)
            while len(self._places) > self.slices_kept:
                self._places.popitem(last=False)
        with place.lock:
            if place.content is None:
                place.content = _decoded(frame.open(source))
            return place.content


def _decoded(ct: Frame) -> CtSlice:
    plane = Plane.of(ct.header)
    if plane is None:
        raise NotScored("position, orientation or pixel spacing of its CT is not stated")
    hu = to_hu(ct.decode(), ct.header)
    reason = not_hounsfield(hu)
    if reason is not None:
        raise NotScored(f"its CT's values cannot be Hounsfield units: {reason}")
    return CtSlice(hu, plane, header.number(ct.header, "SliceThickness") or 0.0)
