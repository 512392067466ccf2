"""SUV from headers: each rule by hand-computed values, and every missing attribute by its name."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataelem import DataElement

from models.suv import (
    GE_SCAN_DATE_TIME,
    PHILIPS_ACTIVITY_FACTOR,
    PHILIPS_SUV_FACTOR,
    SuvUnknown,
    attenuation_corrected,
    suv_factor,
    to_activity,
)

HALF_LIFE_S = 6586.2


def header(**changes):
    """FDG: 80 kg, 400 MBq at 10:00:00, scanned from 11:49:46.2, one half-life later."""
    injected = Dataset()
    values = {
        "Units": "BQML",
        "DecayCorrection": "START",
        "CorrectedImage": ["DECY", "ATTN", "SCAT"],
        "AttenuationCorrectionMethod": "CT",
        "PatientWeight": "80",
        "SeriesDate": "20260105",
        "SeriesTime": "114946.2",
        "AcquisitionDate": "20260105",
        "AcquisitionTime": "115246",
        "RadionuclideTotalDose": "400000000",
        "RadionuclideHalfLife": str(HALF_LIFE_S),
        "RadiopharmaceuticalStartTime": "100000",
        **changes,
    }
    ds = Dataset()
    ds.RadiopharmaceuticalInformationSequence = [injected]
    for keyword, value in values.items():
        if value is None:
            continue
        of_dose = keyword.startswith(("Radionuclide", "Radiopharmaceutical"))
        setattr(injected if of_dose else ds, keyword, value)
    return ds


def private(ds, tag, vr, value):
    ds.add(DataElement(tag, vr, value))
    return ds


def test_decay_corrected_to_the_start_of_the_scan():
    """80 000 g over the 200 MBq that one half-life leaves of 400 MBq."""
    assert suv_factor(header()) == pytest.approx(80_000 / 200e6, rel=1e-6)


def test_decay_corrected_to_the_injection_asks_no_time():
    ds = header(
        DecayCorrection="ADMIN",
        RadiopharmaceuticalStartTime=None,
        RadionuclideHalfLife=None,
        AcquisitionTime=None,
    )
    assert suv_factor(ds) == pytest.approx(80_000 / 400e6)


def test_a_start_that_has_a_date_is_taken_at_its_word():
    ds = header(
        RadiopharmaceuticalStartTime="080000",
        RadiopharmaceuticalStartDateTime="20260105100000.000+0100",
    )
    assert suv_factor(ds) == pytest.approx(80_000 / 200e6, rel=1e-6)


def test_an_injection_before_midnight():
    """23:10:13.8 to 01:00:00 is one half-life."""
    ds = header(
        SeriesDate="20260106",
        SeriesTime="010000",
        AcquisitionDate="20260106",
        AcquisitionTime="010000",
        RadiopharmaceuticalStartTime="231013.8",
    )
    assert suv_factor(ds) == pytest.approx(80_000 / 200e6, rel=1e-6)


@pytest.mark.parametrize("start", ["20260105120000", "20251213100000"])
def test_a_start_date_that_cannot_be(start):
    ds = header(RadiopharmaceuticalStartDateTime=start)
    with pytest.raises(SuvUnknown, match=r"Start DateTime \(0018,1078\) does not fit"):
        suv_factor(ds)


def test_a_series_made_later_goes_by_the_frame_reference_time():
    """A bed of 200 s acquired from 12:09:46.2; its average count rate is at 99.82 s of it, and
    Frame Reference Time says that that is 1299.82 s after the start: 11:49:46.2 again."""
    rate = math.log(2) / HALF_LIFE_S
    average_s = math.log(rate * 200 / (1 - math.exp(-rate * 200))) / rate
    assert average_s == pytest.approx(99.82, abs=0.01)
    ds = header(
        SeriesTime="150000",
        AcquisitionTime="120946.2",
        FrameReferenceTime=f"{(1200 + average_s) * 1000:.3f}",
        ActualFrameDuration="200000",
    )
    assert suv_factor(ds) == pytest.approx(80_000 / 200e6, rel=1e-5)


def test_a_series_made_later_goes_by_ge_s_own_scan_time():
    ds = header(SeriesTime="150000")
    private(ds, GE_SCAN_DATE_TIME, "DT", "20260105114946.20")
    assert suv_factor(ds) == pytest.approx(80_000 / 200e6, rel=1e-6)


def test_ge_s_scan_time_of_another_day_does_not_count():
    """De-identification may have shifted the other dates, and not this private one."""
    ds = header(SeriesTime="150000")
    private(ds, GE_SCAN_DATE_TIME, "DT", "20251214114946.20")
    with pytest.raises(SuvUnknown, match=r"Frame Reference Time \(0054,1300\) is not stated"):
        suv_factor(ds)


def test_grams_per_millilitre_are_suv_already():
    assert suv_factor(header(Units="GML", PatientWeight=None)) == 1.0
    assert suv_factor(header(Units="GML", SUVType="BW")) == 1.0
    with pytest.raises(SuvUnknown, match=r"SUV Type \(0054,1006\) is LBM"):
        suv_factor(header(Units="GML", SUVType="LBM"))


def test_philips_counts():
    ds = private(header(Units="CNTS"), PHILIPS_SUV_FACTOR, "DS", "0.000551")
    assert suv_factor(ds) == pytest.approx(0.000551)
    by_activity = header(Units="CNTS")
    private(by_activity, PHILIPS_SUV_FACTOR, "UN", b"0 ")
    private(by_activity, PHILIPS_ACTIVITY_FACTOR, "UN", b"1.5 ")
    assert suv_factor(by_activity) == pytest.approx(1.5 * 80_000 / 200e6, rel=1e-6)
    with pytest.raises(SuvUnknown, match=r"SUV factor \(7053,1000\) is not stated"):
        suv_factor(header(Units="CNTS"))


@pytest.mark.parametrize(
    ("keyword", "named"),
    [
        ("Units", "Units (0054,1001) is not stated"),
        ("DecayCorrection", "Decay Correction (0054,1102) is not stated"),
        ("PatientWeight", "Patient's Weight (0010,1030) is not stated"),
        ("RadionuclideTotalDose", "Radionuclide Total Dose (0018,1074) is not stated"),
        ("RadionuclideHalfLife", "Radionuclide Half Life (0018,1075) is not stated"),
        ("RadiopharmaceuticalStartTime", "Start Time (0018,1072) is not stated"),
        ("AcquisitionTime", "Acquisition Date or Time (0008,0022), (0008,0032) is not stated"),
    ],
)
def test_what_is_missing_is_named(keyword, named):
    with pytest.raises(SuvUnknown) as told:
        suv_factor(header(**{keyword: None}))
    assert named in str(told.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"PatientWeight": "0"}, "Patient's Weight (0010,1030) is 0"),
        ({"RadionuclideTotalDose": "-1"}, "Radionuclide Total Dose (0018,1074) is -1"),
        ({"DecayCorrection": "NONE"}, "Decay Correction (0054,1102) is NONE"),
        ({"Units": "PROPCNTS"}, "Units (0054,1001) are PROPCNTS"),
    ],
)
def test_what_does_not_fit_is_named(changes, named):
    with pytest.raises(SuvUnknown) as told:
        suv_factor(header(**changes))
    assert named in str(told.value)


def test_no_injection_and_two():
    ds = header()
    (injection,) = ds.RadiopharmaceuticalInformationSequence
    ds.RadiopharmaceuticalInformationSequence = [injection, injection]
    with pytest.raises(SuvUnknown, match="holds 2 injections"):
        suv_factor(ds)
    del ds.RadiopharmaceuticalInformationSequence
    with pytest.raises(SuvUnknown, match=r"Information Sequence \(0054,0016\) is not stated"):
        suv_factor(ds)


def test_every_slice_has_its_own_slope():
    stored = np.array([[0, 100], [200, -32768]], np.int16)
    ds = Dataset()
    ds.RescaleSlope, ds.RescaleIntercept = "0.5", "0"
    np.testing.assert_array_equal(to_activity(stored, ds), [[0, 50], [100, -16384]])
    ds.RescaleSlope, ds.PixelPaddingValue = "2", -32768
    np.testing.assert_array_equal(to_activity(stored, ds), [[0, 200], [400, 0]])


@pytest.mark.parametrize(
    ("changes", "corrected"),
    [
        ({}, True),
        ({"Units": "GML"}, True),
        ({"Units": "CNTS"}, True),
        ({"CorrectedImage": ["DECY", "SCAT"]}, False),
        ({"CorrectedImage": None}, False),
        ({"AttenuationCorrectionMethod": None}, False),
        ({"Units": "PROPCNTS"}, False),
        ({"Units": None}, False),
    ],
)
def test_attenuation_is_corrected_where_all_three_say_so(changes, corrected):
    assert attenuation_corrected(header(**changes)) is corrected


def test_one_correction_alone():
    """A single value of Corrected Image reads as a string."""
    assert attenuation_corrected(header(CorrectedImage="ATTN"))


def test_a_real_series_has_a_plausible_suv(shared_data):
    """GE Discovery ST, 91 kg, 589 MBq, 2 h 38 min 47 s before the scan: whole-body means of SUV
    lie near 1 by definition, less what was excreted and what lies outside the view."""
    study = shared_data / "petct" / "ge_discoveryST_acrin042"
    paths = sorted((study / "pt_ac").glob("*.dcm"))
    ds = dcmread(paths[60])
    decayed = 588802304.0 * 2 ** (-9527 / 6588)
    assert suv_factor(ds) == pytest.approx(91_000 / decayed, rel=1e-6)
    suv = to_activity(ds.pixel_array, ds) * suv_factor(ds)
    assert 2 < suv.max() < 60
    assert 0.3 < suv[suv > 0.2].mean() < 3
    assert attenuation_corrected(ds)
    nac = dcmread(next((study / "pt_nac").glob("*.dcm")), stop_before_pixels=True)
    assert not attenuation_corrected(nac)
