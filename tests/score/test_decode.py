"""Decoding: every syntax agrees, every lie about size or length is refused by name."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from service import header
from service.errors import UndecodablePixels
from service.score.decode import decode_frame
from tests.factories import chest, ct_slice, write
from tests.peers import find_tool

LIMIT = 2**24


def decode(path, frame_number=1, limit=LIMIT):
    ds = header.read_file(path, stop_before_pixels=False)
    return decode_frame(ds, frame_number, limit)


def refusal(tmp_path, **overrides):
    (path,) = write(tmp_path, ct_slice(1, **overrides))
    with pytest.raises(UndecodablePixels) as caught:
        decode(path)
    return str(caught.value)


def compressed(syntax):
    ds = ct_slice(1)
    ds.compress(syntax)
    return ds


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_lossless_codecs_give_the_stored_values_back(tmp_path, syntax):
    (path,) = write(tmp_path, compressed(syntax))
    np.testing.assert_array_equal(decode(path), chest())


def test_signed_values_stay_signed(tmp_path):
    pixels = (chest() - 2000).astype(np.int16)
    (path,) = write(tmp_path, ct_slice(1, pixels=pixels))
    assert decode(path).min() == pixels.min() < 0


def test_each_frame_of_a_multi_frame_object(tmp_path):
    frames = np.stack([chest(seed=1), chest(seed=2)])
    ds = ct_slice(1, PixelData=frames.tobytes(), NumberOfFrames=2)
    (path,) = write(tmp_path, ds)
    np.testing.assert_array_equal(decode(path, 2), frames[1])
    with pytest.raises(UndecodablePixels, match="no frame 3"):
        decode(path, 3)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"PixelData": b""}, "no pixel data"),
        ({"PixelData": chest().tobytes()[:-2]}, "cut short"),
        ({"Rows": 46341, "Columns": 46341}, "over the limit"),
        ({"Rows": 4000, "Columns": 4000}, "cut short"),
        ({"Rows": None}, "Rows or Columns is missing"),
        ({"BitsAllocated": 12}, "Bits Allocated"),
        ({"SamplesPerPixel": 3}, "not a grey-scale"),
    ],
)
def test_lies_about_size_are_refused(tmp_path, overrides, words):
    assert words in refusal(tmp_path, **overrides)


def test_an_object_without_pixels(tmp_path):
    ds = ct_slice(1)
    del ds.PixelData
    (path,) = write(tmp_path, ds)
    with pytest.raises(UndecodablePixels, match="no pixel data"):
        decode(path)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_a_code_stream_that_claims_another_size_is_refused(tmp_path, syntax):
    ds = compressed(syntax)
    ds.Rows = ds.Columns = 2000
    (path,) = write(tmp_path, ds)
    with pytest.raises(UndecodablePixels, match="claims 128×128 pixels, the header 2000×2000"):
        decode(path)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_a_code_stream_cut_short_is_refused(tmp_path, syntax):
    from pydicom.encaps import get_frame

    ds = compressed(syntax)
    stream = get_frame(ds.PixelData, 0, number_of_frames=1)
    ds.PixelData = encapsulate([stream[: len(stream) // 2]])
    (path,) = write(tmp_path, ds)
    with pytest.raises(UndecodablePixels, match="cut short"):
        decode(path)


@pytest.mark.parametrize("padding", [b"", b"\0", b"\x35", b"\0\0\0"])
def test_padding_after_the_end_of_a_code_stream_is_no_fault(tmp_path, padding):
    """Encoders pad to even length, not all of them with zero."""
    from pydicom.encaps import get_frame

    ds = compressed(JPEG2000Lossless)
    stream = get_frame(ds.PixelData, 0, number_of_frames=1)
    end = stream.rindex(b"\xff\xd9") + 2
    ds.PixelData = encapsulate([stream[:end] + padding])
    (path,) = write(tmp_path, ds)
    assert decode(path).shape == (128, 128)


def test_rle_cut_short_is_refused(tmp_path):
    from pydicom.encaps import get_frame

    ds = compressed(RLELossless)
    stream = get_frame(ds.PixelData, 0, number_of_frames=1)
    ds.PixelData = encapsulate([stream[: len(stream) // 2]])
    (path,) = write(tmp_path, ds)
    with pytest.raises(UndecodablePixels):
        decode(path)


def test_real_syntaxes_agree_with_each_other(shared_data):
    """One CT slice in 14 syntaxes: the lossless ones equal, the lossy ones near in HU."""
    folder = shared_data / "hostile" / "cornerstone_transfer_syntaxes"
    pictures = {}
    for path in sorted(folder.glob("CTImage*")):
        ds = dcmread(path, stop_before_pixels=True)
        hu = decode(path).astype(float) * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
        pictures[path.name] = hu
    assert len(pictures) == 14
    reference = next(hu for name, hu in pictures.items() if "LittleEndianImplicit" in name)
    lossy_words = ("Lossy", "JPEG2000Tr", "Process1T", "Process2", "Process6", "Process10")
    for name, hu in pictures.items():
        lossy = any(word in name for word in lossy_words)
        difference = np.abs(hu - reference).mean()
        assert difference == 0 or (lossy and difference < 25), name


def test_a_fragmented_12_bit_jpeg_without_offset_table(shared_data):
    folder = shared_data / "hostile" / "cornerstone_transfer_syntaxes"
    (path,) = folder.glob("CT0012*")
    assert decode(path, 1).shape == (512, 512)
    assert decode(path, 2).astype(int).sum() + decode(path, 1).astype(int).sum() == 735597944


@pytest.mark.peer
def test_a_12_bit_jpeg_decodes_as_dcmtk_does(tmp_path):
    stored = np.clip(chest(128), 0, 4095).astype(np.uint16)
    ds = ct_slice(1, BitsStored=12, HighBit=11, PixelRepresentation=0)
    ds.Rows, ds.Columns = stored.shape
    ds.PixelData = stored.tobytes()
    (plain,) = write(tmp_path, ds)
    compressed_, theirs = tmp_path / "compressed.dcm", tmp_path / "theirs.dcm"
    for tool, *arguments in (
        ("dcmcjpeg", "+ee", plain, compressed_),
        ("dcmdjpeg", compressed_, theirs),
    ):
        subprocess.run([find_tool(tool, "dcmtk"), *arguments], check=True, timeout=60)
    np.testing.assert_array_equal(decode(compressed_), decode(theirs))
