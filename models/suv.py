"""From a PET header to the factor that turns its values into standardised uptake values (SUV).

SUV by body weight, in g/mL, after the vendor-neutral rules of the QIBA FDG-PET/CT profile. Every
frame has its own rescale slope, so physical values (`to_activity`) are made frame by frame, and
the factor from the same header. Whatever the header does not say makes the SUV unknown: nothing
is assumed of a patient's weight, a dose, a half-life or a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from models.render import Float

PHILIPS_SUV_FACTOR = (0x7053, 0x1000)
"""Philips PET Private Group: from counts to SUV by body weight."""
PHILIPS_ACTIVITY_FACTOR = (0x7053, 0x1009)
"""Philips PET Private Group: from counts to Bq/mL."""
GE_SCAN_DATE_TIME = (0x0009, 0x100D)
"""GEMS_PETD_01: the start of the scan, which reconstructions made later keep."""

LONGEST_DELAY_HALF_LIVES = 10.0
"""Longer between injection and scan, a thousandth of the dose is left: a date must be wrong."""

UNCORRECTED_UNITS = frozenset({"", "NONE", "PROPCNTS", "PROPCPS"})

_DAY = timedelta(days=1)


class SuvUnknown(ValueError):
    """The header does not allow an SUV; the message names the attribute and its tag."""


@dataclass(frozen=True)
class _Attribute:
    keyword: str
    tag: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} {self.tag}"


_WEIGHT = _Attribute("PatientWeight", "(0010,1030)", "Patient's Weight")
_UNITS = _Attribute("Units", "(0054,1001)", "Units")
_DECAY = _Attribute("DecayCorrection", "(0054,1102)", "Decay Correction")
_INFORMATION = _Attribute(
    "RadiopharmaceuticalInformationSequence",
    "(0054,0016)",
    "Radiopharmaceutical Information Sequence",
)
_DOSE = _Attribute("RadionuclideTotalDose", "(0018,1074)", "Radionuclide Total Dose")
_HALF_LIFE = _Attribute("RadionuclideHalfLife", "(0018,1075)", "Radionuclide Half Life")
_START_TIME = _Attribute(
    "RadiopharmaceuticalStartTime", "(0018,1072)", "Radiopharmaceutical Start Time"
)
_START = _Attribute(
    "RadiopharmaceuticalStartDateTime", "(0018,1078)", "Radiopharmaceutical Start DateTime"
)
_ACQUIRED = _Attribute("AcquisitionTime", "(0008,0022), (0008,0032)", "Acquisition Date or Time")
_REFERENCE = _Attribute("FrameReferenceTime", "(0054,1300)", "Frame Reference Time")
_DURATION = _Attribute("ActualFrameDuration", "(0018,1242)", "Actual Frame Duration")
_SUV_TYPE = _Attribute("SUVType", "(0054,1006)", "SUV Type")


def attenuation_corrected(ds: Any) -> bool:
    """Whether a PET header says in all three places that attenuation is corrected.

    A series without correction can carry ATTN in Corrected Image (0028,0051) all the same, so
    Attenuation Correction Method (0054,1101) must be there, and Units (0054,1001) must not be
    proportional to counts.
    """
    corrected = getattr(ds, "CorrectedImage", None) or ()
    terms = corrected.split("\\") if isinstance(corrected, str) else corrected
    return (
        "ATTN" in {str(term).strip().upper() for term in terms}
        and bool(_text(ds, "AttenuationCorrectionMethod"))
        and _text(ds, "Units").upper() not in UNCORRECTED_UNITS
    )


def to_activity(stored: npt.NDArray[Any], ds: Any) -> Float:
    """Stored values `[H, W]` to the frame's Units (PS3.3 C.8.9.1.1.3: slope, intercept).

    Pixel Padding Value becomes 0.
    """
    slope = float(getattr(ds, "RescaleSlope", None) or 1.0)
    intercept = float(getattr(ds, "RescaleIntercept", None) or 0.0)
    activity = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    padding = getattr(ds, "PixelPaddingValue", None)
    if padding is not None:
        activity[stored == int(padding)] = 0.0
    return np.asarray(activity, np.float32)


def suv_factor(ds: Any) -> float:
    """What the values of a frame, in its Units, are multiplied by to give SUV by body weight.

    `ds` answers to DICOM keywords and to `ds[group, element]` for private ones. Raises SuvUnknown
    naming what is missing or does not fit.
    """
    units = _text(ds, "Units").upper()
    match units:
        case "GML":
            return _gml_factor(ds)
        case "BQML":
            return _activity_factor(ds)
        case "CNTS":
            factor = _private_number(ds, PHILIPS_SUV_FACTOR)
            if factor > 0:
                return factor
            activity = _private_number(ds, PHILIPS_ACTIVITY_FACTOR)
            if activity > 0:
                return activity * _activity_factor(ds)
            raise SuvUnknown(
                "no SUV: Units are counts, and Philips' SUV factor (7053,1000) is not stated"
            )
        case "":
            raise _missing(_UNITS)
        case _:
            raise SuvUnknown(f"no SUV: {_UNITS} are {units[:16]}")


def _gml_factor(ds: Any) -> float:
    """g/mL is SUV already, by body weight unless SUV Type says otherwise (PS3.3 C.8.9.1)."""
    kind = _text(ds, "SUVType").upper() or "BW"
    if kind != "BW":
        raise SuvUnknown(f"no SUV by body weight: {_SUV_TYPE} is {kind[:16]}")
    return 1.0


def _activity_factor(ds: Any) -> float:
    """Bq/mL to SUV: body weight in grams over the dose left when decay was corrected to."""
    weight_kg = _positive(ds, _WEIGHT)
    information = _information(ds)
    dose_bq = _positive(information, _DOSE)
    correction = _text(ds, "DecayCorrection").upper()
    match correction:
        case "ADMIN":
            return weight_kg * 1000 / dose_bq
        case "START":
            half_life_s = _positive(information, _HALF_LIFE)
            delay_s = _delay_s(information, _scan_start(ds, half_life_s), half_life_s)
            return weight_kg * 1000 / (dose_bq * 2 ** (-delay_s / half_life_s))
        case "":
            raise _missing(_DECAY)
        case _:
            raise SuvUnknown(f"no SUV: {_DECAY} is {correction[:16]}")


def _information(ds: Any) -> Any:
    items = getattr(ds, "RadiopharmaceuticalInformationSequence", None)
    if not items:
        raise _missing(_INFORMATION)
    if len(items) > 1:
        raise SuvUnknown(f"no SUV: {_INFORMATION} holds {len(items)} injections")
    return items[0]


def _scan_start(ds: Any, half_life_s: float) -> datetime:
    """When decay was corrected to under START: the beginning of the series' first bed position.

    Series Date and Time, unless they come after the acquisition, as in reconstructions made
    later; then GE's own scan time; then the frame's acquisition time less its Frame Reference
    Time, which counts from that beginning to the moment of the frame's average count rate.
    """
    acquired = _moment(ds, "AcquisitionDate", "AcquisitionTime") or _date_time(
        ds, "AcquisitionDateTime"
    )
    if acquired is None:
        raise _missing(_ACQUIRED)
    series = _moment(ds, "SeriesDate", "SeriesTime")
    if series is not None and series <= acquired and acquired - series < _DAY:
        return series
    scan = _parsed(_private_text(ds, GE_SCAN_DATE_TIME))
    if scan is not None and scan <= acquired and acquired - scan < _DAY:
        return scan
    reference_ms = _number(ds, _REFERENCE.keyword)
    if reference_ms is None:
        raise _missing(_REFERENCE)
    duration_s = _positive(ds, _DURATION) / 1000
    decay = math.log(2) / half_life_s * duration_s
    average_s = duration_s / decay * math.log(decay / -math.expm1(-decay))
    return acquired + timedelta(seconds=average_s - reference_ms / 1000)


def _delay_s(information: Any, scan: datetime, half_life_s: float) -> float:
    """Seconds from injection to `scan`. A start that has a time only is the last such time before
    the scan: the day before, where the clock passed midnight in between."""
    start = _date_time(information, _START.keyword)
    if start is not None:
        delay_s = (scan - start).total_seconds()
        if not 0 <= delay_s <= LONGEST_DELAY_HALF_LIVES * half_life_s:
            raise SuvUnknown(f"no SUV: {_START} does not fit the time of the scan")
        return delay_s
    clock = _clock(_text(information, _START_TIME.keyword))
    if clock is None:
        raise _missing(_START_TIME)
    midnight = scan.replace(hour=0, minute=0, second=0, microsecond=0)
    delay_s = (scan - (midnight + clock)).total_seconds()
    return delay_s if delay_s >= 0 else delay_s + _DAY.total_seconds()


def _moment(ds: Any, date_keyword: str, time_keyword: str) -> datetime | None:
    day, clock = _text(ds, date_keyword), _clock(_text(ds, time_keyword))
    date = _parsed(day[:8])
    return None if date is None or clock is None else date + clock


def _date_time(ds: Any, keyword: str) -> datetime | None:
    return _parsed(_text(ds, keyword))


def _parsed(value: str) -> datetime | None:
    """A DT or DA value (PS3.5 6.2) to the second's fraction; its time zone is left aside, since
    all times compared here are by one scanner's clock."""
    value = value.split("+")[0].split("-")[0]
    try:
        day = datetime.strptime(value[:8], "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return None
    if len(value) <= 8:
        return day
    clock = _clock(value[8:])
    return None if clock is None else day + clock


def _clock(value: str) -> timedelta | None:
    """A TM value as the time since midnight; hours at least."""
    whole, _, fraction = value.replace(":", "").partition(".")
    whole = whole.strip()
    if not whole.isdigit() or len(whole) not in (2, 4, 6):
        return None
    hours, minutes, seconds = int(whole[:2]), int(whole[2:4] or 0), int(whole[4:6] or 0)
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    part = float(f"0.{fraction}") if fraction.isdigit() else 0.0
    return timedelta(hours=hours, minutes=minutes, seconds=seconds + part)


def _missing(attribute: _Attribute) -> SuvUnknown:
    return SuvUnknown(f"no SUV: {attribute} is not stated")


def _positive(ds: Any, attribute: _Attribute) -> float:
    value = _number(ds, attribute.keyword)
    if value is None:
        raise _missing(attribute)
    if value <= 0:
        raise SuvUnknown(f"no SUV: {attribute} is {value:g}")
    return value


def _number(ds: Any, keyword: str) -> float | None:
    try:
        value = float(getattr(ds, keyword, ""))
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _text(ds: Any, keyword: str) -> str:
    value = getattr(ds, keyword, None)
    return "" if value is None else str(value).strip().strip("\0")


def _private_number(ds: Any, tag: tuple[int, int]) -> float:
    try:
        value = float(_private_text(ds, tag))
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0


def _private_text(ds: Any, tag: tuple[int, int]) -> str:
    """A private value as text; read under an unknown VR it is bytes."""
    try:
        value = ds[tag].value
    except (KeyError, AttributeError, TypeError):
        return ""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return text.strip().strip("\0").strip()
