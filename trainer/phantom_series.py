"""The digital chest as DICOM: one study, one series at a good dose, one badly under-dosed.

CT Image Storage objects with every Type 1 and 2 attribute of the CT Image IOD (PS3.3 A.3). They
are meant to be taken for a patient's series by a gate, so nothing in them says otherwise but
the patient's name and ID, the manufacturer and Patient Comments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, uuid4, uuid5

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from models.physical import AIR_HU
from models.render import Float
from trainer.degradations import Degradation, Scan
from trainer.phantom import HEIGHT_MM, SPACING_MM, Chest

GOOD_PHOTONS = 2.5e5
"""Exposure of the good series: soft tissue shows 10 to 15 HU of noise in the chest."""

UNDERDOSED = Degradation(dose_fraction=0.018)
THICKNESS_MM = 5.0
GOOD_MAS, KVP = 120, 120
SEED = 314


def write_demo(folder: Path, slices: int, seed_uids: str | None) -> Iterator[tuple[Path, int]]:
    """Write `good` and `underdosed` below the folder; yields each with its number of files.

    The pixels are the same every time. UIDs are fresh, so that a gate takes every run for a new
    study, unless seed_uids makes them from a text. Raises ValueError below one slice.
    """
    if slices < 1:
        raise ValueError(f"--slices {slices}: at least one slice is needed")
    uid = _uids(seed_uids)
    started = datetime.now(UTC).replace(microsecond=0)
    heights = (np.arange(slices) + 0.5) * HEIGHT_MM / slices
    with ThreadPoolExecutor(2) as pool:
        pairs = list(pool.map(_slice_pair, heights.tolist()))
    for number, name in enumerate(("good", "underdosed"), start=1):
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        for index, (z_mm, pair) in enumerate(zip(heights, pairs, strict=True), start=1):
            ds = _dataset(pair[number - 1], float(z_mm), number, index, uid, started)
            ds.SpacingBetweenSlices = HEIGHT_MM / slices
            ds.save_as(target / f"CT_{index:04d}.dcm", enforce_file_format=True)
        yield target, slices


def _slice_pair(z_mm: float) -> tuple[Float, Float]:
    """The slice as scanned at a good dose, and what too little of that dose leaves of it."""
    rng = np.random.default_rng((SEED, round(z_mm * 10)))
    good = Scan.of(Chest.ordinary().slice(z_mm), SPACING_MM, GOOD_PHOTONS)
    scanned = good.acquired(rng)
    same_rays = Scan(scanned, SPACING_MM, GOOD_PHOTONS, good.line_integrals)
    return scanned, same_rays.degraded(UNDERDOSED, rng)


def _dataset(
    hu: Float,
    z_mm: float,
    series: int,
    instance: int,
    uid: Callable[[str], UID],
    started: datetime,
) -> FileDataset:
    """One CT Image Storage object (PS3.3 A.3) of a slice in HU."""
    acquired = started + timedelta(minutes=2 * (series - 1), seconds=instance * 0.3)
    dose = 1.0 if series == 1 else UNDERDOSED.dose_fraction
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid(f"instance {series} {instance}")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    # Patient, General Study
    ds.PatientName = "Demo^Chest"
    ds.PatientID = "IQGATE-DEMO"
    ds.PatientBirthDate = ""
    ds.PatientSex = "O"
    ds.PatientComments = "Simulated images, no person"
    ds.StudyInstanceUID = uid("study")
    ds.StudyDate, ds.StudyTime = _date_time(started)
    ds.ReferringPhysicianName = ""
    ds.StudyID = "1"
    ds.AccessionNumber = ""
    ds.StudyDescription = "CT chest"
    # General Series, Frame of Reference, General Equipment
    ds.Modality = "CT"
    ds.SeriesInstanceUID = uid(f"series {series}")
    ds.SeriesNumber = series + 1
    ds.SeriesDate, ds.SeriesTime = _date_time(started + timedelta(minutes=2 * (series - 1)))
    ds.SeriesDescription = "Chest 5 mm" if series == 1 else "Chest 5 mm low mAs"
    ds.ProtocolName = "Chest routine"
    ds.BodyPartExamined = "CHEST"
    ds.PatientPosition = "HFS"
    ds.FrameOfReferenceUID = uid("frame of reference")
    ds.PositionReferenceIndicator = ""
    ds.Manufacturer = "iqgate simulator"
    ds.ManufacturerModelName = "Parallel beam"
    ds.DeviceSerialNumber = "1"
    ds.StationName = "IQGATESIM"
    ds.SoftwareVersions = "1"
    # General Acquisition, CT Image
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.AcquisitionNumber = series
    ds.AcquisitionDate, ds.AcquisitionTime = _date_time(acquired)
    ds.ContentDate, ds.ContentTime = _date_time(acquired)
    ds.IrradiationEventUID = uid(f"irradiation event {series}")
    ds.KVP = KVP
    ds.Exposure = max(1, round(GOOD_MAS * dose))
    ds.CTDIvol = round(8.1 * dose, 3)
    ds.ConvolutionKernel = "STANDARD"
    ds.SliceThickness = THICKNESS_MM
    ds.InstanceNumber = instance
    # Image Plane, Image Pixel
    ds.PixelSpacing = [SPACING_MM, SPACING_MM]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    corner = -SPACING_MM * (hu.shape[0] - 1) / 2
    ds.ImagePositionPatient = [corner, corner, z_mm]
    ds.SliceLocation = z_mm
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = hu.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelRepresentation = 0
    ds.RescaleIntercept = AIR_HU
    ds.RescaleSlope = 1
    ds.RescaleType = "HU"
    ds.WindowCenter, ds.WindowWidth = 40, 400
    ds.PixelData = np.clip(np.round(hu - AIR_HU), 0, 4095).astype("<u2").tobytes()
    # SOP Common
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.SpecificCharacterSet = "ISO_IR 192"
    return ds


def _uids(seed: str | None) -> Callable[[str], UID]:
    """A UID for each thing of one run, the same every time it is asked for."""
    known: dict[str, UID] = {}

    def uid(what: str) -> UID:
        if what not in known:
            made = uuid4() if seed is None else uuid5(NAMESPACE_URL, f"iqgate demo {seed} {what}")
            known[what] = UID(f"2.25.{made.int}")
        return known[what]

    return uid


def _date_time(moment: datetime) -> tuple[str, str]:
    return moment.strftime("%Y%m%d"), moment.strftime("%H%M%S.%f")
