"""Reading of image headers as they come: what is absent, empty or invalid reads as nothing.

Works on the bytes where pydicom still holds them, since converting an invalid value raises
or warns. No function here raises for what a header contains.
"""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.valuerep import PersonName

from service.report.charset import decode

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_CODE_STRING: Final = re.compile(r"[A-Z0-9 _]{1,16}")
_AGE: Final = re.compile(r"\d{3}[DWMY]")
_TIME: Final = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")
_OFFSET: Final = re.compile(r"[+-](0\d|1[0-4])[0-5]\d")
_DECIMAL: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_UNREADABLE: Final = (
    ValueError, TypeError, KeyError, AttributeError, NotImplementedError, OverflowError, EOFError,
    OSError, RecursionError, BytesLengthException, struct.error,
)  # fmt: skip
"""What pydicom raises, as seen, when it converts a damaged value or sequence."""


def terms(header: Dataset, inherited: Sequence[str] = ()) -> tuple[str, ...]:
    """Values of Specific Character Set; items of sequences inherit them (PS3.5 7.5.3)."""
    declared = tuple(value.strip() for value in _raw_values(header, "SpecificCharacterSet", ()))
    return declared or tuple(inherited)


def _raw_values(header: Dataset, keyword: str, charset: Sequence[str]) -> list[str]:
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in header:
        return []
    element = header.get_item(tag)
    value = element.value if element is not None else None
    if isinstance(element, RawDataElement):
        return decode(value, charset).split("\\") if isinstance(value, bytes) else []
    values = value if isinstance(value, MultiValue | list | tuple) else [value]
    return [_as_text(one, charset) for one in values if one is not None]


def _as_text(value: object, charset: Sequence[str]) -> str:
    if isinstance(value, PersonName):
        held = value.original_string  # bytes as read; None in a name made from text
        value = held if isinstance(held, bytes) else str(value)
    if isinstance(value, bytes):
        return decode(value, charset)
    text = str(value)
    if not any(charset) and not text.isascii():
        # pydicom has read undeclared bytes as Latin-1; that is reversible, so ours is tried too
        try:
            return decode(text.encode("latin-1"), charset)
        except UnicodeEncodeError:
            return text
    return text


def texts(
    header: Dataset, keyword: str, *, limit: int = 64, charset: Sequence[str] = ()
) -> list[str]:
    """Non-empty values, without control characters, at most `limit` characters each."""
    found = _raw_values(header, keyword, terms(header, charset))
    cleaned = (_CONTROL.sub(" ", value).strip()[:limit].strip() for value in found)
    return [value for value in cleaned if value]


def text(header: Dataset, keyword: str, *, limit: int = 64, charset: Sequence[str] = ()) -> str:
    """The first value that is not empty, else ""."""
    found = texts(header, keyword, limit=limit, charset=charset)
    return found[0] if found else ""


def person_name(header: Dataset, keyword: str) -> str:
    """A PN of at most three groups of five components, 64 characters a group (PS3.5 6.2.1)."""
    name = text(header, keyword, limit=400)
    groups = name.split("=")[:3]
    return "=".join("^".join(group.split("^")[:5])[:64] for group in groups).rstrip("=")


def code_string(header: Dataset, keyword: str, allowed: Sequence[str] = ()) -> str:
    """The first CS value, upper case, if it is one (and one of `allowed`), else ""."""
    value = text(header, keyword).upper()
    valid = _CODE_STRING.fullmatch(value) is not None and (not allowed or value in allowed)
    return value if valid else ""


def date(header: Dataset, keyword: str) -> str:
    """A DA that exists in the calendar, YYYYMMDD (the retired YYYY.MM.DD is read), else ""."""
    value = text(header, keyword).replace(".", "")
    if len(value) != 8 or not value.isascii() or not value.isdigit():
        return ""
    try:
        datetime.strptime(value, "%Y%m%d")  # noqa: DTZ007 - a calendar check, no moment in time
    except ValueError:
        return ""
    return value


def time(header: Dataset, keyword: str) -> str:
    """A valid TM, HHMMSS.FFFFFF or shorter (the retired HH:MM:SS is read), else ""."""
    value = text(header, keyword).replace(":", "")
    return value if _TIME.fullmatch(value) else ""


def age(header: Dataset) -> str:
    """Patient's Age as AS, else ""."""
    value = text(header, "PatientAge")
    return value if _AGE.fullmatch(value) else ""


def utc_offset(header: Dataset) -> str:
    """Timezone Offset From UTC ("+0900"), else ""."""
    value = text(header, "TimezoneOffsetFromUTC")
    return value if _OFFSET.fullmatch(value) and int(value[1:]) <= 1400 else ""


def decimals(header: Dataset, keyword: str) -> list[float]:
    """Numbers of a DS or IS written as text; those that are none are left out."""
    found = texts(header, keyword)
    return [float(value) for value in found if value.isascii() and _DECIMAL.fullmatch(value)]


def binary_number(header: Dataset, keyword: str) -> float | None:
    """The value of an FD or FL element, None where it is not a single finite number ≥ 0."""
    value = _converted(header, keyword)
    if isinstance(value, MultiValue | list | tuple):
        value = value[0] if len(value) else None
    try:
        number = float(value)  # type: ignore[arg-type] # whatever it is, it is about to be tried
    except _UNREADABLE:
        return None
    return number if 0 <= number < float("inf") else None


def uid(header: Dataset, keyword: str) -> str:
    """A UID verbatim: references must match what the archive holds, valid or not."""
    return text(header, keyword, limit=64).replace(" ", "")


def items(header: Dataset, keyword: str) -> list[Dataset]:
    """Items of a sequence, none where it cannot be read."""
    value = _converted(header, keyword)
    if not isinstance(value, Sequence | MultiValue) or isinstance(value, str | bytes):
        return []
    return [item for item in value if isinstance(item, Dataset)]


def _converted(header: Dataset, keyword: str) -> object:
    """The value as pydicom converts it; None where it cannot."""
    if keyword not in header:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the header's faults are no news of ours
            return header[keyword].value
    except _UNREADABLE:
        return None
