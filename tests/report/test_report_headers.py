"""Headers as they come: every character set, every kind of dirt, still a report."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from random import Random

import pytest
from pydicom import dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from report_subjects import clean_header, raw_header, reported, structured_report, summary_image

from service.judge.evidence import Assessment, Verdict


def read(data: bytes) -> Dataset:
    return dcmread(BytesIO(data))


CHARACTER_SETS = [
    pytest.param(
        b"\\ISO 2022 IR 87",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        id="japanese",
    ),
    pytest.param(
        b"ISO_IR 13\\ISO 2022 IR 87",
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
        id="japanese katakana",
    ),
    pytest.param(
        b"ISO_IR 100\\ISO 2022 IR 87",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B",
        "Yamada^Tarou=山田^太郎",
        id="latin and japanese",
    ),
    pytest.param(
        b"\\ISO 2022 IR 149",
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
        id="korean",
    ),
    pytest.param(
        b"\\ISO 2022 IR 58",
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab",
        "Zhang^XiaoDong=张^小东",
        id="chinese by escape",
    ),
    pytest.param(
        b"GB18030", "Wang^XiaoDong=王^小东".encode("gb18030"), "Wang^XiaoDong=王^小东", id="chinese"
    ),
    pytest.param(
        b"GB18030",
        b"\x95\x5c^A",  # its second byte is a backslash
        bytes([0x95, 0x5C]).decode("gb18030") + "^A",
        id="backslash inside a character",
    ),
    pytest.param(b"ISO_IR 192", "Müller^Ω王".encode(), "Müller^Ω王", id="utf-8"),
    pytest.param(b"ISO_IR 144", "Люкceмбypг".encode("iso8859_5"), "Люкceмбypг", id="cyrillic"),
    pytest.param(b"", "Müller^Jürgen".encode(), "Müller^Jürgen", id="undeclared utf-8"),
    pytest.param(b"", "Müller^J".encode("latin-1"), "Müller^J", id="undeclared latin-1"),
    pytest.param(b"ISO_IR 999", "Müller^J".encode("latin-1"), "Müller^J", id="unknown term"),
    pytest.param(b"ISO_IR 192", b"M\xfcller^J", "M\ufffdller^J", id="damaged utf-8"),
    pytest.param(b"\\ISO 2022 IR 87", b"A\x1b$XB^C", "A$XB^C", id="damaged escape"),
]


@pytest.mark.parametrize("touched", [False, True], ids=["raw", "already decoded by pydicom"])
@pytest.mark.parametrize(("terms", "name", "expected"), CHARACTER_SETS)
@pytest.mark.filterwarnings("ignore")  # pydicom's, on the test's own reading of damaged headers
def test_names_survive_as_utf8(terms: bytes, name: bytes, expected: str, touched: bool) -> None:
    header = raw_header(("SpecificCharacterSet", "CS", terms), ("PatientName", "PN", name))
    if touched:
        str(header.PatientName)
    sr = read(structured_report(reported(10, header)))
    assert sr.SpecificCharacterSet == "ISO_IR 192"
    assert str(sr.PatientName) == expected


def test_text_in_sequences_is_decoded_with_the_outer_character_set() -> None:
    header = clean_header(SpecificCharacterSet="ISO_IR 144", PatientName="Doe^Jane")
    header.RequestAttributesSequence[0].RequestedProcedureDescription = "КТ грудной клетки"
    buffer = BytesIO()
    header.save_as(buffer, implicit_vr=False, little_endian=True)
    again = dcmread(BytesIO(buffer.getvalue()), force=True)
    sr = read(structured_report(reported(10, again)))
    assert sr.ReferencedRequestSequence[0].RequestedProcedureDescription == "КТ грудной клетки"


DIRT = [
    pytest.param([("PatientBirthDate", "DA", b"19501332")], {"PatientBirthDate": ""}, id="bad DA"),
    pytest.param([("StudyDate", "DA", b"2025.03.04")], {"StudyDate": "20250304"}, id="old DA"),
    pytest.param([("StudyDate", "DA", b"")], {"StudyDate": ""}, id="empty DA"),
    pytest.param([("StudyTime", "TM", b"25:61:00")], {"StudyTime": ""}, id="bad TM"),
    pytest.param([("StudyTime", "TM", b"12:30:00")], {"StudyTime": "123000"}, id="old TM"),
    pytest.param([("PatientSex", "CS", b"male")], {"PatientSex": ""}, id="bad sex"),
    pytest.param([("PatientSex", "CS", b"m")], {"PatientSex": "M"}, id="lower case sex"),
    pytest.param([("PatientID", "LO", b"X" * 200)], {"PatientID": "X" * 64}, id="long ID"),
    pytest.param([("PatientID", "LO", b"A\\B")], {"PatientID": "A"}, id="list for one"),
    pytest.param([("PatientID", "LO", b"A\0\1B\0")], {"PatientID": "A B"}, id="control bytes"),
    pytest.param([("AccessionNumber", "SH", b"9" * 40)], {"AccessionNumber": "9" * 16},
                 id="long SH"),
    pytest.param([("StudyID", "SH", b"1\\2")], {"StudyID": "1"}, id="two study IDs"),
    pytest.param([("NumberOfFrames", "IS", b"1.5e")], {}, id="bad IS"),
    pytest.param([("CTDIvol", "FD", b"abc ")], {}, id="short FD"),
    pytest.param([("CTDIvol", "FD", b"\0\0\0\0\0\0\xf8\x7f")], {}, id="NaN"),
    pytest.param([("CTDIvol", "DS", b"a lot")], {}, id="wrong VR"),
    pytest.param([("PatientAge", "AS", b"75")], {"PatientAge": None}, id="bad AS"),
    pytest.param([("SeriesNumber", "IS", b"three")], {"SeriesNumber": 9901}, id="bad number"),
    pytest.param([("RequestAttributesSequence", "LO", b"no sequence")], {}, id="SQ as LO"),
    pytest.param([("RequestAttributesSequence", "UN", b"\x01\x02\x03")], {}, id="SQ as UN"),
    pytest.param([("TimezoneOffsetFromUTC", "SH", b"CET")], {}, id="bad offset"),
    pytest.param([("TimezoneOffsetFromUTC", "SH", b"+9999")], {}, id="absurd offset"),
    pytest.param([("SOPClassUID", "UI", b"1.2.03.4")], {}, id="invalid UID"),
    pytest.param([("PatientIdentityRemoved", "CS", b"YES")], {"PatientIdentityRemoved": "YES"},
                 id="de-identified, method unknown"),
    pytest.param([("PatientName", "PN", b"A^B^C^D^E^F^G=H=I=J")], {"PatientName": "A^B^C^D^E=H=I"},
                 id="too many components"),
    pytest.param([("PatientName", "PN", b"Doe")], {"PatientName": "Doe"}, id="one component"),
    pytest.param([("LossyImageCompression", "CS", b"01"),
                  ("LossyImageCompressionRatio", "DS", b"x")], {}, id="lossy, bad ratio"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "expected"), DIRT)
def test_dirt_is_sanitised_or_left_out(
    changes: list[tuple[str, str, bytes]], expected: dict[str, object]
) -> None:
    series = reported(10, raw_header(*changes))
    sr = read(structured_report(series))
    for keyword, value in expected.items():
        assert sr.get(keyword) == value
    assert read(summary_image(series)).PatientID == sr.PatientID


def test_an_empty_header_still_gives_a_report() -> None:
    series = reported(10, Dataset())
    sr = read(structured_report(series))
    for keyword in (
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
        *("StudyID", "AccessionNumber", "ReferringPhysicianName"),
    ):
        assert keyword in sr
        assert not sr[keyword].value
    assert read(summary_image(series)).Rows == 960


@pytest.mark.parametrize("uid", ["1.3.12.2.1107.5.9.1", "1.2.03.4"], ids=["private", "invalid"])
@pytest.mark.filterwarnings("ignore")  # pydicom's, on the test's own reading of the report
def test_a_sop_class_that_highdicom_does_not_know_is_referenced_as_it_is(uid: str) -> None:
    sr = read(structured_report(reported(10, raw_header(("SOPClassUID", "UI", uid.encode())))))
    (study,) = sr.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert {one.ReferencedSOPClassUID for one in series.ReferencedSOPSequence} == {uid}


def test_a_series_without_any_image_still_gives_a_report() -> None:
    assessment = Assessment(Verdict.NOT_ASSESSED, "The series holds no images.")
    series = replace(reported(1, Dataset()), assessment=assessment, slices=())
    assert "CurrentRequestedProcedureEvidenceSequence" not in read(structured_report(series))
    assert "SourceImageSequence" not in read(summary_image(series))


READ_KEYWORDS = [
    *(
        "PatientName",
        "PatientBirthDate",
        "StudyTime",
        "PatientIdentityRemoved",
    ),
    *("CTDIvol", "RequestAttributesSequence", "ReferencedRequestSequence", "NumberOfFrames"),
    *("TimezoneOffsetFromUTC", "LossyImageCompressionRatio", "SoftwareVersions", "SOPInstanceUID"),
]


@pytest.mark.parametrize("keyword", READ_KEYWORDS)
def test_random_bytes_never_stop_a_report(keyword: str) -> None:
    random = Random(keyword)
    for _ in range(15):
        vr = random.choice([dictionary_VR(keyword), "LO", "UN", "SQ", "FD", "US"])
        start = random.choice([b"", b"\xfe\xff\x00\xe0\x08\x00\x00\x00", b"\x1b$B", b"\x1b"])
        header = raw_header((keyword, vr, start + random.randbytes(random.randrange(0, 24))))
        assert read(structured_report(reported(3, header))).Modality == "SR"


@pytest.mark.peer
@pytest.mark.parametrize(("changes", "expected"), DIRT)
def test_dirt_leaves_no_error_in_the_iod(check_iod, changes, expected) -> None:  # type: ignore[no-untyped-def]
    del expected
    if changes[0][0] == "SOPClassUID":
        pytest.skip("a reference repeats the archive's UID, valid or not")
    series = reported(10, raw_header(*changes))
    assert check_iod(structured_report(series)).errors == []
    assert check_iod(summary_image(series)).errors == []
