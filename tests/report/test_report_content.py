"""What the Structured Report says, re-read from its bytes."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from io import BytesIO

import pytest
from highdicom.sr import MeasurementReport, srread
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code
from report_subjects import (
    BUNDLE,
    GATE,
    PREDECESSOR,
    SERIES_UID,
    STUDY_UID,
    assessed,
    clean_header,
    facts,
    reported,
    slices,
    structured_report,
)

from service.judge.evidence import Assessment, Limits, StackResult, Verdict
from service.report import codes
from service.report.identity import named_uid, tracking_uid
from service.report.structured_report import SrClass, build_structured_report
from service.report.wording import DISCLAIMER


def read(data: bytes) -> Dataset:
    return dcmread(BytesIO(data))


def items(node: Dataset, concept: Code) -> list[Dataset]:
    """Direct children with this concept name."""
    return [
        child
        for child in node.ContentSequence
        if child.ConceptNameCodeSequence[0].CodeValue == concept.value
        and child.ConceptNameCodeSequence[0].CodingSchemeDesignator == concept.scheme_designator
    ]


def groups(sr: Dataset) -> list[Dataset]:
    return items(items(sr, standard.DCM.ImagingMeasurements)[0], standard.DCM.MeasurementGroup)


def numbers(node: Dataset, concept: Code) -> list[tuple[float, str]]:
    measured = [item.MeasuredValueSequence[0] for item in items(node, concept)]
    return [
        (float(one.NumericValue), one.MeasurementUnitsCodeSequence[0].CodeValue) for one in measured
    ]


def texts(node: Dataset, concept: Code) -> list[str]:
    return [item.TextValue for item in items(node, concept)]


def coded(node: Dataset, concept: Code) -> list[str]:
    return [item.ConceptCodeSequence[0].CodeValue for item in items(node, concept)]


def test_the_group_carries_every_figure_of_the_assessment() -> None:
    group = groups(read(structured_report(reported())))[0]
    assert numbers(group, codes.series_score(BUNDLE)) == [(1.62, "{score}")]
    assert numbers(group, codes.INTERVAL_LOW) == [(1.48, "{score}")]
    assert numbers(group, codes.INTERVAL_HIGH) == [(1.77, "{score}")]
    assert numbers(group, codes.LIMIT_MEETS) == [(1.8, "{score}")]
    assert numbers(group, codes.LIMIT_UNUSABLE) == [(1.0, "{score}")]
    assert numbers(group, codes.NOISE) == [(21.5, "[hnsf'U]")]
    assert numbers(group, standard.DCM.MeanCtdivol) == [(7.25, "mGy")]
    assert numbers(group, codes.SLICES_TOTAL) == [(40.0, "{slices}")]
    assert numbers(group, codes.SLICES_SCORED) == [(36.0, "{slices}")]


def test_a_share_of_slices_is_not_reported_as_a_score() -> None:
    stacks = tuple(
        StackResult(name, 18, value, (value - 0.1, value + 0.1), Verdict.DOES_NOT_MEET)
        for name, value in (("b 50", 0.3), ("b 800", 0.4))
    )
    series = reported(
        score=0.4, interval=(0.3, 0.5), limits=Limits(0.2, 0.6, more_is_worse=True), stacks=stacks
    )
    whole, first, _ = groups(read(structured_report(series)))
    for group, value, low in ((whole, 0.4, 0.3), (first, 0.3, 0.2)):
        assert numbers(group, codes.SHARE) == [(value, "1")]
        assert numbers(group, codes.SHARE_LOW) == [(pytest.approx(low), "1")]
        assert numbers(group, codes.series_score(BUNDLE)) == []
        assert numbers(group, codes.INTERVAL_LOW) == []
    assert numbers(whole, codes.SHARE_MEETS) == [(0.2, "1")]
    assert numbers(whole, codes.SHARE_UNUSABLE) == [(0.6, "1")]
    assert numbers(whole, codes.LIMIT_MEETS) == []
    assert len(numbers(whole, codes.slice_score(BUNDLE))) == 6


def test_decimal_strings_are_short_and_floating_point_values_exact() -> None:
    group = groups(read(structured_report(reported(score=1 / 3))))[0]
    score = items(group, codes.series_score(BUNDLE))[0].MeasuredValueSequence[0]
    assert (str(score.NumericValue), score.FloatingPointValue) == ("0.333333", 1 / 3)
    count = items(group, codes.SLICES_TOTAL)[0].MeasuredValueSequence[0]
    assert str(count.NumericValue) == "40"


def test_the_score_code_states_its_range() -> None:
    group = groups(read(structured_report(reported())))[0]
    concept = items(group, codes.series_score(BUNDLE))[0].ConceptNameCodeSequence[0]
    assert concept.CodeMeaning == "Image quality score, 0 (worst) to 4 (best)"
    assert concept.CodingSchemeDesignator == "99IQGATE"


def test_the_words_of_the_assessment_are_in_the_group() -> None:
    series = reported(header=clean_header(LossyImageCompression="01"))
    group = groups(read(structured_report(series)))[0]
    assert texts(group, codes.REASON) == [series.assessment.reason]
    assert texts(group, codes.STATISTIC) == ["10th percentile of the slice scores"]
    assert texts(group, codes.WARNING) == ["Limits not commissioned at this site."]
    assert texts(group, codes.OUTCOME) == ["Does not meet the quality limit (borderline)"]
    assert texts(group, codes.SCANNER) == ["ACME Scan 9000 S123"]
    assert texts(group, codes.LOSSY) == ["lossy compressed"]
    assert coded(group, codes.BORDERLINE) == [codes.YES.value]


def test_the_algorithm_is_named_with_version_and_digest() -> None:
    sr = read(structured_report(reported()))
    group = groups(sr)[0]
    assert texts(group, standard.DCM.AlgorithmName) == ["ct-md-iqa-compact"]
    assert texts(group, standard.DCM.AlgorithmVersion) == ["1.2.0"]
    assert f"bundle sha256 {BUNDLE.digest}" in texts(group, standard.DCM.AlgorithmParameters)
    scanner, network = sr.ContributingEquipmentSequence
    assert (scanner.ManufacturerModelName, scanner.DeviceSerialNumber) == ("Scan 9000", "S123")
    assert (network.ManufacturerModelName, network.SoftwareVersions) == (BUNDLE.name, "1.2.0")
    assert network.ContributionDateTime == "20250304140506.789000+0100"


@pytest.mark.parametrize(
    ("verdict", "code_value"),
    [
        (Verdict.MEETS, "111237"),
        (Verdict.DOES_NOT_MEET, "111236"),
        (Verdict.UNUSABLE, "111235"),
    ],
)
def test_each_verdict_has_its_code(verdict: Verdict, code_value: str) -> None:
    group = groups(read(structured_report(reported(verdict=verdict))))[0]
    assert coded(group, standard.DCM.QualityAssessment) == [code_value]
    assert coded(group, standard.DCM.QualityControlStandard) == ["111240"]


def test_not_assessed_has_no_verdict_code() -> None:
    reason = "No rule covers this kernel."
    series = replace(reported(), assessment=Assessment(Verdict.NOT_ASSESSED, reason))
    group = groups(read(structured_report(series)))[0]
    assert coded(group, standard.DCM.QualityAssessment) == []
    assert texts(group, codes.OUTCOME) == ["Not assessed"]
    assert texts(group, codes.REASON) == [reason]


def test_the_worst_slices_are_referenced_with_their_scores() -> None:
    series = reported()
    sr = read(structured_report(series))
    held = items(groups(sr)[0], codes.slice_score(BUNDLE))
    uids = [
        items(item, standard.DCM.SourceOfMeasurement)[0].ReferencedSOPSequence[0] for item in held
    ]
    assert [uid.ReferencedSOPInstanceUID for uid in uids] == [
        one.sop_instance_uid for one in series.assessment.worst
    ]
    assert not any("ReferencedFrameNumber" in uid for uid in uids)
    scores = [float(item.MeasuredValueSequence[0].NumericValue) for item in held]
    assert scores == pytest.approx([one.score for one in series.assessment.worst], abs=1e-5)
    evidence = sr.CurrentRequestedProcedureEvidenceSequence[0]
    assert evidence.StudyInstanceUID == STUDY_UID
    assert evidence.ReferencedSeriesSequence[0].SeriesInstanceUID == SERIES_UID
    listed = evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert {one.ReferencedSOPInstanceUID for one in listed} == {
        one.sop_instance_uid for one in series.assessment.worst
    }


def test_frames_of_a_multi_frame_image_are_referenced_by_number() -> None:
    scores = tuple(
        replace(one, sop_instance_uid=f"{SERIES_UID}.1", frame_number=index + 1)
        for index, one in enumerate(slices(20))
    )
    image = clean_header(NumberOfFrames=20)
    series = replace(reported(), slices=scores, assessment=assessed(scores), header=image)
    sr = read(structured_report(series))
    held = items(groups(sr)[0], codes.slice_score(BUNDLE))
    frames = [
        items(item, standard.DCM.SourceOfMeasurement)[0]
        .ReferencedSOPSequence[0]
        .ReferencedFrameNumber
        for item in held
    ]
    assert frames == [one.frame_number for one in series.assessment.worst]
    evidence = sr.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert len(evidence.ReferencedSOPSequence) == 1


def test_one_group_a_series_and_one_a_stack_where_there_are_several() -> None:
    stacks = tuple(
        StackResult(name, 18, value, None, verdict)
        for name, value, verdict in (
            ("b 50", 2.9, Verdict.MEETS),
            ("b 800", 1.62, Verdict.DOES_NOT_MEET),
        )
    )
    other = replace(reported(), facts=facts(series_instance_uid=f"{SERIES_UID}9", modality="MR"))
    sr = read(structured_report(reported(stacks=stacks), other))
    held = groups(sr)
    assert len(held) == 4
    assert texts(held[2], codes.STACK) == ["b 800"]
    assert numbers(held[1], codes.series_score(BUNDLE)) == [(2.9, "{score}")]
    assert coded(held[1], standard.DCM.QualityAssessment) == ["111237"]
    tracking = [items(group, standard.DCM.TrackingUniqueIdentifier)[0].UID for group in held]
    assert tracking[0] == tracking_uid(SERIES_UID)
    assert tracking[2] == tracking_uid(SERIES_UID, "b 800")
    assert len(set(tracking)) == 4
    assert coded(sr, standard.DCM.ProcedureReported) == ["363679005"], "imaging at large"


def test_a_stack_under_a_rule_of_its_own_has_its_own_limits() -> None:
    stacks = (
        StackResult("b 0", 18, 1.62, None, Verdict.DOES_NOT_MEET, "ct-body", "median"),
        StackResult(
            "b 800", 18, 1.5, None, Verdict.MEETS, "diffusion", "10th percentile", Limits(1.2, 0.4)
        ),
    )
    _, same, other = groups(read(structured_report(reported(stacks=stacks))))
    assert (numbers(same, codes.LIMIT_MEETS), texts(same, codes.RULE)) == ([], [])
    assert numbers(other, codes.LIMIT_MEETS) == [(1.2, "{score}")]
    assert numbers(other, codes.LIMIT_UNUSABLE) == [(0.4, "{score}")]
    assert texts(other, codes.RULE) == ["diffusion"]
    assert texts(other, codes.STATISTIC) == ["10th percentile"]


def test_the_disclaimer_is_there_in_full() -> None:
    sr = read(structured_report(reported()))
    remarks = items(sr, codes.QUALITATIVE_EVALUATIONS)[0]
    assert texts(remarks, codes.DISCLAIMER) == list(DISCLAIMER)
    assert "not for diagnosis" in sr.SeriesDescription


def test_patient_study_and_request_are_those_of_the_images() -> None:
    sr = read(structured_report(reported()))
    assert str(sr.PatientName) == "Müller^Jürgen"
    assert (sr.PatientID, sr.PatientBirthDate, sr.PatientSex) == ("P-0815", "19500102", "M")
    assert (sr.StudyInstanceUID, sr.AccessionNumber, sr.StudyID) == (STUDY_UID, "A-4711", "77")
    request = sr.ReferencedRequestSequence[0]
    assert (request.RequestedProcedureID, request.AccessionNumber) == ("RP-1", "A-4711")
    assert request.RequestedProcedureDescription == "Thorax nativ"


def test_the_document_is_complete_unverified_and_final() -> None:
    sr = read(structured_report(reported()))
    assert sr.Modality == "SR"
    assert sr.SeriesNumber == 9901
    assert (sr.CompletionFlag, sr.VerificationFlag, sr.PreliminaryFlag) == (
        "COMPLETE",
        "UNVERIFIED",
        "FINAL",
    )
    assert (sr.ContentDate, sr.ContentTime) == ("20250304", "140506.789000")
    assert sr.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert sr.SpecificCharacterSet == "ISO_IR 192"


def test_times_follow_the_time_zone_of_the_images() -> None:
    series = reported(header=clean_header(TimezoneOffsetFromUTC="+0900"))
    sr = read(structured_report(series))
    assert sr.TimezoneOffsetFromUTC == "+0900"
    assert sr.ContentTime == "220506.789000"


def test_the_predecessor_is_named() -> None:
    sr = read(structured_report(reported(), predecessor=PREDECESSOR))
    study = sr.PredecessorDocumentsSequence[0]
    series = study.ReferencedSeriesSequence[0]
    document = series.ReferencedSOPSequence[0]
    assert study.StudyInstanceUID == STUDY_UID
    assert series.SeriesInstanceUID == PREDECESSOR.series_instance_uid
    assert document.ReferencedSOPInstanceUID == PREDECESSOR.sop_instance_uid
    assert "PredecessorDocumentsSequence" not in read(structured_report(reported()))


@pytest.mark.parametrize(
    ("sop_class", "uid"),
    [
        ("enhanced", "1.2.840.10008.5.1.4.1.1.88.22"),
        ("comprehensive", "1.2.840.10008.5.1.4.1.1.88.33"),
        ("comprehensive-3d", "1.2.840.10008.5.1.4.1.1.88.34"),
    ],
)
def test_the_sop_class_is_a_choice(sop_class: SrClass, uid: str) -> None:
    sr = read(structured_report(reported(), sop_class=sop_class))
    assert sr.SOPClassUID == uid
    assert sr.file_meta.MediaStorageSOPClassUID == sr.SOPClassUID


def test_highdicom_reads_what_we_wrote() -> None:
    sr = srread(BytesIO(structured_report(reported())))
    assert isinstance(sr.content, MeasurementReport)
    group = sr.content.get_image_measurement_groups()[0]
    assert group.tracking_uid == tracking_uid(SERIES_UID)
    score = group.get_measurements(codes.series_score(BUNDLE))[0]
    assert score.value == 1.62
    worst = group.get_measurements(codes.slice_score(BUNDLE))
    assert len(worst) == 6
    assert worst[0].referenced_images[0].referenced_sop_instance_uid == f"{SERIES_UID}.34"


def test_equal_arguments_give_equal_bytes() -> None:
    first = structured_report(reported(), predecessor=PREDECESSOR)
    time.sleep(0.002)  # a hidden clock would show
    assert structured_report(reported(), predecessor=PREDECESSOR) == first


def test_figures_that_are_none_are_left_out() -> None:
    series = reported(score=float("nan"), interval=None, noise_hu=None, limits=None)
    group = groups(read(structured_report(series)))[0]
    for concept in (codes.series_score(BUNDLE), codes.INTERVAL_LOW, codes.NOISE, codes.LIMIT_MEETS):
        assert numbers(group, concept) == []


def test_series_of_two_studies_are_refused() -> None:
    other = replace(reported(), facts=facts(study_instance_uid="1.2.3"))
    with pytest.raises(ValueError, match="one study"):
        structured_report(reported(), other)
    with pytest.raises(ValueError, match="one study"):
        structured_report()


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        build_structured_report(
            [reported()],
            gate=GATE,
            sop_instance_uid=named_uid("a"),
            series_instance_uid=named_uid("b"),
            now=datetime(2025, 3, 4),  # noqa: DTZ001 - the fault under test
        )


def test_a_report_on_300_slices_is_small_and_quick() -> None:
    series = reported(300)
    structured_report(series)
    start = time.perf_counter()
    data = structured_report(series)
    assert time.perf_counter() - start < 0.5
    assert len(data) < 50_000
