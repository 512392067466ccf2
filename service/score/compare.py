"""Whether two objects under one SOP Instance UID are the same image.

The same image may come again in another transfer syntax: then every decoded frame agrees, and so
do the attributes that say whose image it is and how its values are meant.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from service import header
from service.errors import RejectedInput
from service.score.decode import decode_frame
from service.spool.face import SpooledObject, read_object

IDENTIFYING = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID",
    "PatientName", "PatientBirthDate", "Modality", "InstanceNumber", "AcquisitionNumber",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope",
    "RescaleIntercept", "Rows", "Columns", "NumberOfFrames",
)  # fmt: skip


def difference(
    one: Path | SpooledObject, other: Path | SpooledObject, max_pixels: int
) -> str | None:
    """In words, what tells two objects apart; None where they are the same image."""
    try:
        first = read_object(one, stop_before_pixels=False)
        second = read_object(other, stop_before_pixels=False)
        for keyword in IDENTIFYING:
            if header.text(first, keyword, 1024) != header.text(second, keyword, 1024):
                return f"{keyword} differs"
        for number in range(1, (header.integer(first, "NumberOfFrames") or 1) + 1):
            if not np.array_equal(
                decode_frame(first, number, max_pixels),
                decode_frame(second, number, max_pixels),
            ):
                return f"the pixels of frame {number} differ"
    except (RejectedInput, OSError) as error:
        return f"they cannot be compared ({error})"
    return None
