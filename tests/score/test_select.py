"""The selection table: one test a row, and the traps it must not fall into."""

import pytest
from pydicom.uid import (
    EnhancedCTImageStorage,
    EnhancedPETImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
)

from service.config import Score
from service.score.select import EXCLUSIONS, Candidate, reason_to_exclude
from tests.factories import ct_slice

PATTERNS = Score().excluded_name_patterns


def reason(**overrides):
    return reason_to_exclude(Candidate.from_header(ct_slice(**overrides)), PATTERNS)


def image_type(*values):
    return {"ImageType": list(values)}


MR = {"SOPClassUID": MRImageStorage, "Modality": "MR"}

PET = {
    "SOPClassUID": PositronEmissionTomographyImageStorage,
    "Modality": "PT",
    "CorrectedImage": ["DECY", "ATTN"],
    "AttenuationCorrectionMethod": "CT",
    "Units": "BQML",
}

EXCLUDED = [
    ("class", {"SOPClassUID": SecondaryCaptureImageStorage}, "Secondary Capture Image objects"),
    ("modality", {"Modality": "OT"}, "Modality does not fit"),
    ("quality-control", {"QualityControlSubject": "YES"}, "quality control"),
    ("quality-control", {"QualityControlImage": "YES"}, "quality control"),
    ("gate", image_type("DERIVED", "SECONDARY", "IQGATE"), "image quality gate"),
    ("localizer", image_type("ORIGINAL", "PRIMARY", "LOCALIZER"), "localizer"),
    ("localizer", image_type("ORIGINAL", "PRIMARY", "LOCALIZER", "CT_SOM5 TOP"), "localizer"),
    ("mip", image_type("DERIVED", "SECONDARY", "MIP"), "intensity projection"),
    ("mip", image_type("DERIVED", "PRIMARY", "VOLUME", "MAXIMUM"), "intensity projection"),
    ("mpr", image_type("DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"), "reformat"),
    ("mpr", image_type("DERIVED", "SECONDARY", "MPR"), "reformat"),
    ("rendering", image_type("DERIVED", "SECONDARY", "VRT"), "rendering"),
    ("screen", image_type("DERIVED", "SECONDARY", "SCREEN SAVE"), "screen capture"),
    ("subtraction", image_type("DERIVED", "PRIMARY", "SUBTRACTION"), "subtraction"),
    ("energy", image_type("DERIVED", "PRIMARY", "AXIAL", "MONOENERGETIC"), "monoenergetic"),
    ("material", image_type("DERIVED", "PRIMARY", "AXIAL", "IODINE"), "material map"),
    ("material", image_type("DERIVED", "PRIMARY", "AXIAL", "VNC"), "material map"),
    ("map", {**MR, **image_type("DERIVED", "PRIMARY", "DIFFUSION", "ADC")}, "parametric map"),
    ("phase", {**MR, **image_type("ORIGINAL", "PRIMARY", "P", "ND")}, "phase image"),
    ("phase", {**MR, **image_type("ORIGINAL", "PRIMARY", "VELOCITY MAP", "P")}, "phase image"),
    ("phase", {**MR, "ComplexImageComponent": "PHASE"}, "phase image"),
    ("part", {**MR, **image_type("ORIGINAL", "PRIMARY", "R", "PSIR")}, "real or imaginary part"),
    ("part", {**MR, **image_type("ORIGINAL", "PRIMARY", "I_IR", "I")}, "real or imaginary part"),
    ("part", {**MR, "ComplexImageComponent": "REAL"}, "real or imaginary part"),
    ("described-localizer", {**MR, "SeriesDescription": "AAHead_Scout_32ch"}, "a localizer"),
    ("described-localizer", {**MR, "SeriesDescription": "3-plane LOC"}, "a localizer"),
    ("described-localizer", {**MR, "SeriesDescription": "Survey"}, "a localizer"),
    ("perfusion-map", image_type("DERIVED", "PRIMARY", "PERFUSION"), "parametric map"),
    ("mosaic", {**MR, **image_type("ORIGINAL", "PRIMARY", "M", "MOSAIC")}, "mosaic"),
    ("colour", {"PhotometricInterpretation": "RGB"}, "not a grey-scale"),
    ("scale", {"RescaleIntercept": None}, "not Hounsfield units"),
    ("scale", {"RescaleType": "Z_EFF"}, "not Hounsfield units"),
    ("enhanced-pet", {**PET, "SOPClassUID": EnhancedPETImageStorage}, "enhanced multi-frame"),
    ("attenuation", {**PET, "CorrectedImage": ["DECY"]}, "without attenuation correction"),
    ("attenuation", {**PET, "AttenuationCorrectionMethod": ""}, "without attenuation correction"),
    ("attenuation", {**PET, "Units": "PROPCNTS"}, "without attenuation correction"),
    ("small", {"Rows": 63}, "smaller than 64"),
    ("described-mip", {"SeriesDescription": "Thorax MIP 10/3"}, "intensity projection"),
    ("described-mpr", {"SeriesDescription": "MPR cor"}, "reformat"),
    ("described-energy", {"SeriesDescription": "DE Mono+ 70keV"}, "monoenergetic"),
    ("described-material", {"SeriesDescription": "Iodine_map"}, "material map"),
    ("described-subtraction", {"SeriesDescription": "t1 subtracted"}, "subtraction"),
]


@pytest.mark.parametrize(("row", "overrides", "words"), EXCLUDED)
def test_each_row_excludes_with_its_reason(row, overrides, words):
    assert row in {rule.name for rule in EXCLUSIONS}
    assert words in reason(**overrides)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, None),
        (1, "a phase image"),
        (2, "real or imaginary"),
        (3, "real or imaginary"),
        (9, None),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_ge_says_in_a_private_attribute_what_part_it_is(number, words, known):
    """Known from its creator, or raw bytes as Implicit VR leaves them."""
    ds = ct_slice(1, **MR)
    block = ds.private_block(0x0043, "GEMS_PARM_01", create=True)
    if known:
        block.add_new(0x2F, "SS", number)
    else:
        block.add_new(0x2F, "UN", number.to_bytes(2, "little"))
    found = reason_to_exclude(Candidate.from_header(ds), PATTERNS)
    assert found is None if words is None else words in found


def test_magnitude_and_a_ct_that_says_p_are_scored():
    assert reason(**MR, ComplexImageComponent="MAGNITUDE") is None
    assert reason(**MR, **image_type("ORIGINAL", "PRIMARY", "M", "ND")) is None
    assert reason(**image_type("ORIGINAL", "PRIMARY", "P")) is None
    assert reason(**MR, SeriesDescription="Sagittal,1 stack,ext loc ref") is None
    assert reason(SeriesDescription="Thorax survey") is None, "CT says localizer in Image Type"


def test_every_row_of_the_table_is_tested():
    assert {rule.name for rule in EXCLUSIONS} == {row for row, _, _ in EXCLUDED}


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        PET,
        image_type("DERIVED", "PRIMARY", "AXIAL", "DE_MIXED"),
        image_type("DERIVED", "PRIMARY", "AXIAL"),
        {**MR, **image_type("DERIVED", "PRIMARY", "DIFFUSION", "TRACEW")},
        {**MR, **image_type("DERIVED", "PRIMARY", "DIXON", "WATER")},
        {**MR, **image_type("DERIVED", "PRIMARY", "OTHER", "LOSSY")},
        {**MR, **image_type("ORIGINAL", "PRIMARY", "MPR")},
        {
            "SOPClassUID": EnhancedCTImageStorage,
            **image_type("ORIGINAL", "PRIMARY", "VOLUME", "NONE"),
        },
        {
            "SOPClassUID": EnhancedCTImageStorage,
            **image_type("ORIGINAL", "PRIMARY", "PERFUSION", "NONE"),
        },
        {"ImageType": None},
        {"SeriesDescription": "Compriming view of the mippe"},
        {"PatientName": "Aqua^Anna"},
    ],
)
def test_what_people_read_is_scored(overrides):
    assert reason(**overrides) is None


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientName", "PHANTOM^ACR"),
        ("PatientName", "Head phantom"),
        ("SeriesDescription", "QA daily"),
        ("StudyDescription", "CT QC"),
        ("PatientName", "ACR CT 464"),
    ],
)
def test_phantoms_are_known_by_name(keyword, value):
    assert "phantom" in reason(**{keyword: value})
