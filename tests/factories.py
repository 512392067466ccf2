"""DICOM objects and ledger rows, made to order."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
)

from service.config import Complete
from service.judge.evidence import BundleIdentity, SeriesFacts, SliceScore
from service.ledger import reception
from service.ledger.closing import SeriesSnapshot
from service.ledger.database import Database
from service.ledger.issuing import NewReport
from service.ledger.reception import Arrival, Outcome, ReceivedObject

STUDY = "1.2.826.0.1.3680043.10.1.1"
SERIES = "1.2.826.0.1.3680043.10.1.1.1"
PET_SERIES = "1.2.826.0.1.3680043.10.1.1.5"

BUNDLE = BundleIdentity("ct-test", "1.0", "b" * 64, 0.0, 4.0)


def chest(rows: int = 128, noise_hu: float = 10.0, seed: int = 1) -> npt.NDArray[np.int16]:
    """A small torso in air: fat, soft tissue (40 HU), two lungs and a vertebra, with noise, as
    stored values (HU + 1024). It lies within a chest network's domain from 128 rows on."""
    hu = ellipses(
        rows,
        -1000.0,
        (0, 0, 0.42, 0.45, -90.0),
        (0, 0, 0.37, 0.40, 40.0),
        (-0.08, -0.2, 0.14, 0.1, -850.0),
        (-0.08, 0.2, 0.14, 0.1, -850.0),
        (0.22, 0, 0.06, 0.06, 250.0),
    )
    noise = np.random.default_rng(seed).normal(0, noise_hu, hu.shape)
    return np.asarray(np.clip(hu + noise + 1024, 0, 4095), np.int16)


def ellipses(
    rows: int, background: float, *parts: tuple[float, float, float, float, float]
) -> npt.NDArray[np.float64]:
    """Ellipses painted in order: y, x, half height and half width as shares of the side, value."""
    y, x = (np.mgrid[:rows, :rows] - rows / 2) / rows
    picture = np.full((rows, rows), background)
    for top, left, height, width, value in parts:
        picture[((y - top) / height) ** 2 + ((x - left) / width) ** 2 <= 1] = value
    return picture


def head(
    rows: int = 128, noise: float = 10.0, seed: int = 1, scale: float = 1.0
) -> npt.NDArray[np.int16]:
    """A head in T1 contrast: fat, bone, white and grey matter, ventricles, in Rician noise."""
    signal = scale * ellipses(
        rows,
        0.0,
        (0, 0, 0.44, 0.36, 1000.0),
        (0, 0, 0.40, 0.32, 60.0),
        (0, 0, 0.38, 0.30, 400.0),
        (-0.05, -0.1, 0.2, 0.12, 620.0),
        (-0.05, 0.1, 0.2, 0.12, 620.0),
        (0.2, 0, 0.1, 0.15, 520.0),
        (0, -0.04, 0.08, 0.03, 120.0),
        (0, 0.04, 0.08, 0.03, 120.0),
    )
    rng = np.random.default_rng(seed)
    real = signal + rng.normal(0, noise, signal.shape)
    magnitude = np.hypot(real, rng.normal(0, noise, signal.shape))
    return np.asarray(np.clip(magnitude, 0, 32767), np.int16)


def ct_slice(number: int = 1, **overrides: Any) -> FileDataset:
    """One CT slice that lacks nothing; keywords override or, with None, remove attributes."""
    pixels = overrides.pop("pixels", None)
    pixels = chest() if pixels is None else pixels
    series = overrides.get("SeriesInstanceUID", SERIES)
    ds = FileDataset("", Dataset(), preamble=bytes(128))
    values = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": f"{series}.{number}",
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": SERIES,
        "FrameOfReferenceUID": f"{STUDY}.9",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "Modality": "CT",
        "Manufacturer": "Maker",
        "ManufacturerModelName": "Model",
        "DeviceSerialNumber": "12345",
        "StudyDate": "20260101",
        "StudyTime": "080000",
        "AcquisitionDate": "20260101",
        "AcquisitionTime": "080100",
        "AccessionNumber": "A1",
        "ReferringPhysicianName": "",
        "StudyID": "1",
        "PatientName": "Doe^Jane",
        "PatientID": "PID-1",
        "PatientBirthDate": "19700101",
        "PatientSex": "F",
        "ProtocolName": "Chest routine",
        "SeriesDescription": "Chest 1.0",
        "SeriesNumber": 3,
        "InstanceNumber": number,
        "ConvolutionKernel": "B30f",
        "SliceThickness": 1.0,
        "KVP": 120,
        "ImagePositionPatient": [-100.0, -100.0, float(number)],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [0.8, 0.8],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleIntercept": -1024,
        "RescaleSlope": 1,
        "RescaleType": "HU",
        "PixelData": pixels.tobytes(),
        **overrides,
    }
    for keyword, value in values.items():
        if value is not None:
            setattr(ds, keyword, value)
    ds["PixelData"].VR = "OW"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = UID(ExplicitVRLittleEndian)
    ds.file_meta = meta
    return ds


def mr_slice(number: int = 1, **overrides: Any) -> FileDataset:
    """One MR slice of a head."""
    values = {
        "SOPClassUID": MRImageStorage,
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
        "Modality": "MR",
        "SeriesDescription": "t1_tra",
        "ProtocolName": "t1_tra",
        "ConvolutionKernel": None,
        "KVP": None,
        "RescaleIntercept": None,
        "RescaleSlope": None,
        "RescaleType": None,
        "PixelRepresentation": 0,
        "pixels": head(seed=number),
        **overrides,
    }
    return ct_slice(number, **values)


def pt_slice(number: int = 1, **overrides: Any) -> FileDataset:
    """One attenuation-corrected PET slice of 80 kg and 400 MBq of FDG, one half-life before the
    scan: SUV is Bq/mL over 2500. It lies over `ct_slice` of the same number, coarser and wider."""
    injection = Dataset()
    injection.RadionuclideTotalDose = "400000000"
    injection.RadionuclideHalfLife = "6600"
    injection.RadiopharmaceuticalStartTime = "061000"
    series = overrides.get("SeriesInstanceUID", PET_SERIES)
    values = {
        "SOPClassUID": PositronEmissionTomographyImageStorage,
        "SOPInstanceUID": f"{series}.{number}",
        "SeriesInstanceUID": PET_SERIES,
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "Modality": "PT",
        "SeriesDescription": "PET AC",
        "SeriesNumber": 5,
        "ConvolutionKernel": None,
        "KVP": None,
        "SeriesDate": "20260101",
        "SeriesTime": "080000",
        "AcquisitionTime": "080000",
        "ImagePositionPatient": [-120.0, -120.0, float(number)],
        "PixelSpacing": [4.0, 4.0],
        "RescaleIntercept": 0,
        "RescaleSlope": 1,
        "RescaleType": None,
        "Units": "BQML",
        "CountsSource": "EMISSION",
        "SeriesType": ["STATIC", "IMAGE"],
        "CorrectedImage": ["DECY", "ATTN", "SCAT"],
        "AttenuationCorrectionMethod": "CT",
        "DecayCorrection": "START",
        "PatientWeight": "80",
        "RadiopharmaceuticalInformationSequence": [injection],
        "pixels": uptake(seed=number),
        **overrides,
    }
    return ct_slice(number, **values)


def uptake(rows: int = 64, suv: float = 2.0, seed: int = 1) -> npt.NDArray[np.int16]:
    """A disc of even uptake, 90 mm across `pt_slice`, with noise, as stored values in Bq/mL."""
    y, x = np.mgrid[:rows, :rows] - rows / 2
    activity = np.where(np.hypot(x, y) < 90 / 4, 2500.0 * suv, 0.0)
    noise = np.random.default_rng(seed).normal(0, 250, activity.shape)
    return np.asarray(np.clip(activity + noise, 0, 32767), np.int16)


def part10(ds: Dataset) -> bytes:
    """The object as the bytes of a Part 10 file."""
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def write(folder: Path, *datasets: Dataset) -> list[Path]:
    """Write objects as files, one each."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for ds in datasets:
        path = folder / f"{ds.SOPInstanceUID}.dcm"
        path.write_bytes(part10(ds))
        paths.append(path)
    return paths


def spooled(root: Path, ds: Dataset) -> str:
    """Write an object where the spool would have it; its path within the spool."""
    content = part10(ds)
    # the dataset follows the file meta information, whose length PS3.10 7.1 puts into its first
    # element
    dataset = content[144 + int.from_bytes(content[140:144], "little") :]
    digest = hashlib.sha256(dataset).hexdigest()
    path = root / digest[:2] / f"{digest}.dcm"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return f"{digest[:2]}/{digest}.dcm"


def facts(**overrides: Any) -> SeriesFacts:
    values: dict[str, Any] = {
        "series_instance_uid": SERIES,
        "study_instance_uid": STUDY,
        "modality": "CT",
        "protocol_name": "Chest routine",
        "manufacturer": "Maker",
        "model": "Model",
        "device_serial_number": "12345",
        "kernel": "B30f",
        "slice_thickness_mm": 1.0,
        "age_years": 56.0,
    }
    return SeriesFacts(**{**values, **overrides})


def slices(*scores: float | None, stack: str = "axial", reason: str = "a localizer"):
    """Slice scores in order of position; None stands for an excluded slice."""
    return tuple(
        SliceScore(
            sop_instance_uid=f"{SERIES}.{stack}.{number}",
            frame_number=1,
            instance_number=number,
            position_mm=float(number),
            stack=stack,
            score=score,
            noise_hu=None if score is None else 10.0,
            excluded=reason if score is None else None,
        )
        for number, score in enumerate(scores, 1)
    )


def record_object(
    database: Database,
    received: ReceivedObject,
    *,
    association_id: int,
    complete: Complete,
    now: float,
) -> Outcome:
    """Make one stored object known, as a receiver does with all that wait."""
    arrival = Arrival(received, association_id, now)
    return reception.record_objects(database, [arrival], complete=complete)[0]


def report_of(seen: SeriesSnapshot) -> NewReport:
    """A report on a series that says nothing."""
    facts = seen.facts
    return NewReport(
        kind="structured-report",
        scope_uid=facts.series_instance_uid,
        study_instance_uid=facts.study_instance_uid,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.33",
        sop_instance_uid=f"{facts.series_instance_uid}.9.{seen.generation}",
        series_instance_uid=f"{facts.series_instance_uid}.9",
        predecessor_id=None,
        body=b"report",
    )


def receive(
    database: Database,
    number: int = 1,
    *,
    now: float = 1000.0,
    association_id: int | None = None,
    complete: Complete | None = None,
    **overrides: Any,
) -> Outcome:
    """Record one received slice in the ledger."""
    association = association_id or reception.start_association(
        database, calling_ae_title="CT1", address="127.0.0.1", receiver="host:1", now=now
    )
    of_series = overrides.pop("facts", facts())
    uid = f"{of_series.series_instance_uid}.{number}"
    values: dict[str, Any] = {
        "facts": of_series,
        "patient_name": "Doe^Jane",
        "patient_id": "PID-1",
        "study_date": "20260101",
        "sop_instance_uid": uid,
        "sop_class_uid": str(CTImageStorage),
        "transfer_syntax_uid": str(ExplicitVRLittleEndian),
        "instance_number": number,
        "frames": 1,
        "path": f"aa/{uid}.dcm",
        "sha256": f"{number:064x}",
        "size_bytes": 1000,
        "set_aside": None,
    }
    received = ReceivedObject(**{**values, **overrides})
    return record_object(
        database, received, association_id=association, complete=complete or Complete(), now=now
    )
