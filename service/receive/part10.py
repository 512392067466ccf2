"""The head of a Part 10 file: preamble and File Meta Information (PS3.10 7.1).

Written by hand: through pydicom's dataset it costs as much as hashing a CT slice.
"""

from __future__ import annotations

import struct

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

_SHORT = struct.Struct("<HH2sH")
_VERSION = struct.pack("<HH2sHL", 2, 0x0001, b"OB", 0, 2) + b"\x00\x01"


def file_head(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """All that precedes the dataset in a file."""
    meta = b"".join(
        (
            _VERSION,
            _uid(0x0002, sop_class_uid),
            _uid(0x0003, sop_instance_uid),
            _uid(0x0010, transfer_syntax_uid),
            _uid(0x0012, PYNETDICOM_IMPLEMENTATION_UID),
            _element(0x0013, b"SH", PYNETDICOM_IMPLEMENTATION_VERSION.encode(), b" "),
        )
    )
    length = _element(0x0000, b"UL", struct.pack("<L", len(meta)), b"")
    return bytes(128) + b"DICM" + length + meta


def _uid(element: int, uid: str) -> bytes:
    return _element(element, b"UI", uid.encode("ascii", "replace"), b"\0")


def _element(element: int, vr: bytes, value: bytes, padding: bytes) -> bytes:
    """One element of group 0002 in Explicit VR Little Endian, its value of even length."""
    if len(value) % 2:
        value += padding
    return _SHORT.pack(0x0002, element, vr, len(value)) + value
