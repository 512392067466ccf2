"""From a stored object to one frame's stored values, refusing what lies about its size."""

from __future__ import annotations

import os
import struct
import warnings
from io import BytesIO
from typing import Any

import gdcm
import numpy as np
import numpy.typing as npt
from pydicom import Dataset, FileDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from service import header
from service.errors import UndecodablePixels

Stored = npt.NDArray[Any]

PLUGINS: dict[UID, str] = {
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
    HTJ2K: "pylibjpeg",
    JPEGLossless: "gdcm",
    JPEGLosslessSV1: "gdcm",
    JPEGBaseline8Bit: "pillow",
    RLELossless: "pydicom",
}
"""The fastest of the installed decoders for each syntax, as measured (docs/benchmarks.md)."""

_GDCM_ALONE = frozenset(
    {JPEGExtended12Bit, UID("1.2.840.10008.1.2.4.53"), UID("1.2.840.10008.1.2.4.55")}
)
"""12-bit lossy JPEG: pydicom's plugins decline it, GDCM itself agrees with DCMTK to the bit."""

_PIXEL_MODULE = (
    "SOPClassUID", "SOPInstanceUID", "SamplesPerPixel", "PhotometricInterpretation", "Rows",
    "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
)  # fmt: skip
_JPEG_2000 = frozenset({JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K})
_START_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_SAMPLE_BITS = (8, 16, 32)


def decode_frame(ds: FileDataset, frame_number: int, max_pixels: int) -> Stored:
    """Stored values `[H, W]` of one frame (counted from 1), signed where the header says so.

    The header's size is checked against the bytes that are there before anything is allocated for
    it. Raises UndecodablePixels with the reason.
    """
    rows, columns, frames = (
        header.integer(ds, keyword) or 0 for keyword in ("Rows", "Columns", "NumberOfFrames")
    )
    if not ds.get("PixelData"):
        raise UndecodablePixels("the object holds no pixel data")
    if rows < 1 or columns < 1:
        raise UndecodablePixels("Rows or Columns is missing")
    if rows * columns > max_pixels:
        raise UndecodablePixels(f"a frame of {rows}×{columns} pixels is over the limit")
    if (header.integer(ds, "SamplesPerPixel") or 1) != 1:
        raise UndecodablePixels("not a grey-scale image")
    if header.integer(ds, "BitsAllocated") not in _SAMPLE_BITS:
        raise UndecodablePixels("Bits Allocated is neither 8, 16 nor 32")
    if frame_number > max(frames, 1):
        raise UndecodablePixels(f"there is no frame {frame_number}")
    syntax = UID(str(ds.file_meta.get("TransferSyntaxUID") or _guessed_syntax(ds)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored = _decode(ds, syntax, frame_number - 1, rows, columns, max(frames, 1))
    except UndecodablePixels:
        raise
    except header.BROKEN as error:
        raise UndecodablePixels(
            f"the pixel data does not decode ({type(error).__name__})"
        ) from error
    except RuntimeError as error:  # pydicom: every plugin gave up
        raise UndecodablePixels("the pixel data does not decode") from error
    if stored.shape != (rows, columns):
        raise UndecodablePixels(f"the pixel data decodes to {stored.shape}, not {rows}×{columns}")
    return stored


def _decode(
    ds: FileDataset, syntax: UID, index: int, rows: int, columns: int, frames: int
) -> Stored:
    if syntax in _GDCM_ALONE:
        _check_code_stream(ds, syntax, index, rows, columns, frames)
        return _gdcm_frame(ds, index, frames, rows, columns)
    if not syntax.is_encapsulated:
        if not syntax.is_transfer_syntax or syntax.is_private:
            raise UndecodablePixels(f"transfer syntax {syntax} is not known")
        bits = int(ds.BitsAllocated)
        if len(ds.PixelData) < rows * columns * frames * bits // 8:
            raise UndecodablePixels("the pixel data is cut short")
        return get_decoder(syntax).as_array(ds, index=index, raw=True)[0]
    if syntax not in PLUGINS:
        raise UndecodablePixels(f"transfer syntax {syntax.name} is not decoded here")
    if syntax != RLELossless:
        _check_code_stream(ds, syntax, index, rows, columns, frames)
    decoder = get_decoder(syntax)
    return decoder.as_array(ds, index=index, raw=True, decoding_plugin=PLUGINS[syntax])[0]


def _gdcm_frame(ds: FileDataset, index: int, frames: int, rows: int, columns: int) -> Stored:
    """A frame by GDCM, which reads nothing but files: the frame alone, as a file in memory."""
    alone = Dataset()
    for keyword in _PIXEL_MODULE:
        if keyword in ds:
            alone[keyword] = ds[keyword]
    alone.PixelData = encapsulate([get_frame(ds.PixelData, index, number_of_frames=frames)])
    alone.file_meta = ds.file_meta
    content = BytesIO()
    alone.save_as(content, enforce_file_format=True)
    with os.fdopen(os.memfd_create("frame"), "wb") as file:
        file.write(content.getbuffer())
        file.flush()
        reader = gdcm.ImageReader()
        reader.SetFileName(f"/proc/self/fd/{file.fileno()}")
        if not reader.Read():
            raise UndecodablePixels("the pixel data does not decode")
    image = reader.GetImage()
    kinds = {
        gdcm.PixelFormat.UINT8: np.uint8,
        gdcm.PixelFormat.INT8: np.int8,
        gdcm.PixelFormat.UINT16: np.uint16,
        gdcm.PixelFormat.INT16: np.int16,
    }
    kind = kinds.get(image.GetPixelFormat().GetScalarType())
    if kind is None:
        raise UndecodablePixels("the pixel data decodes to an unknown sample type")
    # GDCM's wrapper hands bytes over as surrogate-escaped text
    values = np.frombuffer(image.GetBuffer().encode("utf-8", "surrogateescape"), kind)
    return values.reshape(rows, columns)


def _check_code_stream(
    ds: Dataset, syntax: UID, index: int, rows: int, columns: int, frames: int
) -> None:
    """Hold a JPEG or JPEG 2000 code stream to the header's size, and to having an end.

    Decoders allocate what the code stream claims, and fill what is missing with grey.
    """
    stream = get_frame(ds.PixelData, index, number_of_frames=frames)
    claimed = _size_jpeg_2000(stream) if syntax in _JPEG_2000 else _size_jpeg(stream)
    if claimed is None:
        raise UndecodablePixels("the code stream has no frame header")
    if claimed != (rows, columns):
        raise UndecodablePixels(
            f"the code stream claims {claimed[0]}×{claimed[1]} pixels, the header {rows}×{columns}"
        )
    # an encoder pads to even length, not always with zero (PS3.5 A.4 asks for it)
    whole = stream.rstrip(b"\0")
    if not (whole.endswith(b"\xff\xd9") or whole[-3:-1] == b"\xff\xd9"):
        raise UndecodablePixels("the code stream is cut short")


def _size_jpeg(stream: bytes) -> tuple[int, int] | None:
    """Rows and columns from the start-of-frame segment (ITU-T T.81 B.2.2, T.87 C.2.2)."""
    place = 2
    while place + 9 <= len(stream) and stream[place] == 0xFF:
        marker = stream[place + 1]
        if marker == 0xFF:
            place += 1
            continue
        if marker in _START_OF_FRAME:
            rows, columns = struct.unpack_from(">HH", stream, place + 5)
            return rows, columns
        place += 2 + int(struct.unpack_from(">H", stream, place + 2)[0])
    return None


def _size_jpeg_2000(stream: bytes) -> tuple[int, int] | None:
    """Rows and columns from the SIZ segment (ITU-T T.800 A.5.1)."""
    place = stream.find(b"\xff\x4f\xff\x51")
    if place < 0 or place + 24 > len(stream):
        return None
    right, bottom, left, top = struct.unpack_from(">IIII", stream, place + 8)
    return bottom - top, right - left


def _guessed_syntax(ds: FileDataset) -> UID:
    """The syntax of a bare dataset: as pydicom read it."""
    return ImplicitVRLittleEndian if ds.original_encoding[0] else ExplicitVRLittleEndian
