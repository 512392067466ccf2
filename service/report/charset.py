"""Decoding of header text as it is found, not as it should be (PS3.3 C.12.1.1.2, PS3.5 6.1).

Never raises and never warns: wrong or missing declarations are frequent, and a report with one
replaced character is better than none. Everything the gate writes is ISO_IR 192 (UTF-8).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from pydicom.charset import CODES_TO_ENCODINGS, python_encoding

_ESCAPE: Final = b"\x1b"
_FRAGMENTS: Final = re.compile(rb"^[^\x1b]+|\x1b[^\x1b]*")
_JAPANESE: Final = ("iso2022_jp", "iso2022_jp_2")
_DELIMITERS: Final = re.compile(rb"[\\^=\r\n\f\t]")
_DEFAULT: Final = ("", "ISO_IR 6", "ISO 2022 IR 6")


def decode(raw: bytes, terms: Sequence[str]) -> str:
    """Text of one element value, all its values and components together.

    `terms` are the values of Specific Character Set in force. Text that is undeclared is taken
    as UTF-8 where it is valid as such, else as Latin-1; text that does not fit its declaration
    as UTF-8 where valid, else with replacement characters.
    """
    if _ESCAPE not in raw:
        return _plain(raw, terms)
    return "".join(_fragment(part, terms) for part in _FRAGMENTS.findall(raw))


def _first_encoding(terms: Sequence[str]) -> str | None:
    """Python's name for the initial repertoire; None for ASCII, unknown or undeclared."""
    term = terms[0] if terms else ""
    return None if term in _DEFAULT else python_encoding.get(term)


def _strictly(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return None


def _plain(raw: bytes, terms: Sequence[str]) -> str:
    declared = _first_encoding(terms)
    tried = (declared, "utf-8") if declared else ("ascii", "utf-8", "latin-1")
    for encoding in tried:
        text = _strictly(raw, encoding)
        if text is not None:
            return text
    return raw.decode(declared or "latin-1", errors="replace")


def _fragment(part: bytes, terms: Sequence[str]) -> str:
    """One run of text in one code element; starts with an escape sequence or is the first run."""
    if not part.startswith(_ESCAPE):
        return _plain(part, terms)
    length = 4 if part.startswith((b"\x1b$(", b"\x1b$)")) else 3
    encoding = CODES_TO_ENCODINGS.get(part[:length])
    if encoding is None:  # no escape sequence of DICOM's: damage; drop the escape byte alone
        return _plain(part[1:], terms)
    if encoding in _JAPANESE:  # Python reads these sequences itself
        return part.decode(encoding, errors="replace")
    body = part[length:]
    # A delimiter returns to the initial repertoire (PS3.5 6.1.2.5.3); one inside a two-byte
    # character cannot occur here, for both bytes of G1 sets are above 0x7F.
    delimiter = _DELIMITERS.search(body)
    end = delimiter.start() if delimiter else len(body)
    encoding = "gb2312" if encoding == "iso_ir_58" else encoding
    return body[:end].decode(encoding, errors="replace") + _plain(body[end:], terms)
