"""What a report is about: the series, the gate that speaks, the report it replaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from service.judge.evidence import Assessment, SeriesFacts, SliceScore


@dataclass(frozen=True)
class FusedImage:
    """The CT image nearest to a PET slice that was scored fused with it. `header` is its own,
    without pixels."""

    sop_instance_uid: str
    frame_number: int
    header: Dataset


@dataclass(frozen=True)
class ReportedSeries:
    """One series and everything a report says about it.

    `slices` are all frames in order of position. `header` is the header, without pixels, of any
    one image of the series: patient, study, request, scanner, CTDIvol and lossy history are read
    from it. `evidence` maps SOP Instance UID → header without pixels for the worst slices; one
    that is missing is referenced with the SOP class of `header`. `thumbnails` maps
    (SOP Instance UID, frame number) → picture of a worst slice, grey `[H, W]` or RGB `[H, W, 3]`.
    PET: `companion` is the CT that it was scored fused with, and `fused` maps (SOP Instance UID,
    frame number) of a worst slice → the CT image nearest to it.
    """

    facts: SeriesFacts
    assessment: Assessment
    slices: tuple[SliceScore, ...]
    header: Dataset
    evidence: Mapping[str, Dataset] = field(default_factory=dict)
    thumbnails: Mapping[tuple[str, int], NDArray[np.uint8]] = field(default_factory=dict)
    companion: SeriesFacts | None = None
    fused: Mapping[tuple[str, int], FusedImage] = field(default_factory=dict)


@dataclass(frozen=True)
class Gate:
    """The installation that made the report: its device observer (PS3.16 TID 1004)."""

    device_uid: str
    station_name: str
    software_version: str
    institution_name: str = ""


@dataclass(frozen=True)
class Predecessor:
    """The report that this one replaces (Predecessor Documents Sequence, PS3.3 C.17.2)."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
