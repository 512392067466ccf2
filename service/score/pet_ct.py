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
from service.spool.face import SpooledObject

SLICES_KEPT = 32
"""CT slices held decoded, 1 MB each at 512²: several PET slices may be nearest to one."""

LEAST_REACH_MM = 1.0


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
        self._places: OrderedDict[tuple[Path | SpooledObject, int], _Place] = OrderedDict()
        self._lock = Lock()

    def __call__(self, frame: Frame, bundle: Bundle) -> Drawing:
        """Draw one PET frame from it and its companion. Raises NotScored, RejectedInput."""
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
        """The CT slice `[H, W]` in HU nearest to the PET slice, and its grid.

        It is taken as it is, not mixed with the next one by distance: mixing averages the noise of
        both, and then the score would hang on how the slices of CT and PET happen to fall (half
        way, the noise in soft tissue of the one study at hand falls to 79 %, median of 15 slices).
        Training sees CT slices as they are, too.
        """
        if frame.source.companion is None:
            raise NotScored("no CT of its study and Frame of Reference was found to fuse it with")
        nearest = self._slice(frame, frame.source.companion)
        if not plane.aligned(nearest.plane):
            raise NotScored("PET and CT are not oriented alike")
        thickness_mm = header.number(frame.header, "SliceThickness") or 0.0
        reach_mm = max(thickness_mm, nearest.thickness_mm, LEAST_REACH_MM)
        if abs(plane.offset_mm(nearest.plane)) > reach_mm:
            raise NotScored(f"no CT slice lies within {reach_mm:.3g} mm of it")
        return nearest.hu, nearest.plane

    def _slice(self, frame: Frame, source: FrameSource) -> CtSlice:
        """A companion, decoded once while it is among the last `slices_kept`."""
        key = (source.where, source.frame_number)
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
