"""A report on PET names the CT it was scored with, points at its images, and gives liver SNR."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as standard
from report_subjects import (
    GATE,
    STUDY_UID,
    clean_header,
    facts,
    reported,
    structured_report,
    summary_image,
)
from test_report_content import groups, items, numbers, texts

from service.report import codes
from service.report.subject import FusedImage
from service.report.summary_page import _facts, draw_summary_page

PET_IMAGE = "1.2.840.10008.5.1.4.1.1.128"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
CT_SERIES = "1.2.826.0.1.3680043.8.498.7"


def fused_pet(**changes):
    """A PET series whose worst slices each have a CT image."""
    series = reported(
        header=clean_header(Modality="PT", SOPClassUID=PET_IMAGE), snr=6.25, **changes
    )
    ct = Dataset()
    ct.SOPClassUID = CT_IMAGE
    fused = {
        (one.sop_instance_uid, one.frame_number): FusedImage(f"{CT_SERIES}.{number}", 1, ct)
        for number, one in enumerate(series.assessment.worst, 1)
    }
    companion = facts(
        series_instance_uid=CT_SERIES, series_number=2, series_description="CT IMAGES"
    )
    pet = facts(modality="PT", series_description="PET AC")
    return replace(series, facts=pet, companion=companion, fused=fused)


def test_the_pair_is_named_by_title_and_uid():
    (group,) = groups(dcmread(BytesIO(structured_report(fused_pet()))))
    assert texts(group, codes.COMPANION) == ["CT series 2: CT IMAGES"]
    (named,) = items(group, codes.COMPANION_UID)
    assert named.UID == CT_SERIES


def test_the_ct_images_of_the_worst_slices_are_evidence_and_sources():
    sr = dcmread(BytesIO(structured_report(fused_pet())))
    (study,) = sr.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == STUDY_UID
    listed = {
        series.SeriesInstanceUID: [
            (one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID)
            for one in series.ReferencedSOPSequence
        ]
        for series in study.ReferencedSeriesSequence
    }
    assert sorted(listed[CT_SERIES]) == [(CT_IMAGE, f"{CT_SERIES}.{n}") for n in range(1, 7)]
    (group,) = groups(sr)
    slices = [one for one in group.ContentSequence if one.ValueType == "NUM" and images_of(one)]
    assert [len(images_of(one)) for one in slices] == [2] * 6
    assert images_of(slices[0])[1] == f"{CT_SERIES}.1"


def images_of(item):
    return [
        one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for one in item.get("ContentSequence", [])
        if one.ValueType == "IMAGE"
    ]


def test_signal_to_noise_is_the_liver_s():
    (group,) = groups(dcmread(BytesIO(structured_report(fused_pet()))))
    assert numbers(group, standard.DCM.SignalToNoise) == [(6.25, "1")]
    (measured,) = items(group, standard.DCM.SignalToNoise)
    sites = [
        one.ConceptCodeSequence[0].CodeMeaning
        for one in measured.ContentSequence
        if one.ConceptNameCodeSequence[0].CodeMeaning == "Finding Site"
    ]
    assert sites == ["Liver"]
    mr = replace(reported(snr=20.0), facts=facts(modality="MR"))
    (group,) = groups(dcmread(BytesIO(structured_report(mr))))
    (measured,) = items(group, standard.DCM.SignalToNoise)
    assert "ContentSequence" not in measured


def test_no_companion_nothing_said():
    (group,) = groups(dcmread(BytesIO(structured_report(reported()))))
    assert items(group, codes.COMPANION) == items(group, codes.COMPANION_UID) == []
    assert numbers(group, standard.DCM.SignalToNoise) == []


def test_the_picture_names_both():
    shown = dict(_facts(fused_pet()))
    assert shown["Scored fused with"] == "CT series 2: CT IMAGES"
    assert shown["Signal to noise in the liver"] == "6.2"
    assert draw_summary_page(fused_pet(), GATE).size == (1280, 960)
    sources = dcmread(BytesIO(summary_image(fused_pet()))).SourceImageSequence
    assert [one.ReferencedSOPClassUID for one in sources].count(CT_IMAGE) == 6


def test_a_frame_of_an_enhanced_ct_is_named_by_its_number():
    series = fused_pet()
    many = Dataset()
    many.SOPClassUID, many.NumberOfFrames = "1.2.840.10008.5.1.4.1.1.2.1", 40
    fused = {key: FusedImage(f"{CT_SERIES}.1", 7, many) for key in series.fused}
    (group,) = groups(dcmread(BytesIO(structured_report(replace(series, fused=fused)))))
    (first, *_) = [
        one for one in group.ContentSequence if one.ValueType == "NUM" and images_of(one)
    ]
    ct = first.ContentSequence[-1].ReferencedSOPSequence[0]
    assert ct.ReferencedFrameNumber == 7


@pytest.mark.peer
def test_the_validators_find_no_error(check_sr, check_iod):
    found = check_sr(structured_report(fused_pet()))
    assert found.errors == []
    assert found.root_template == "TID_1500"
    assert check_iod(summary_image(fused_pet())).errors == []


@pytest.mark.peer
def test_one_report_on_both_lists_each_image_once(check_sr):
    """The CT's own worst slices may be those the PET was fused with."""
    pet = fused_pet()
    ct_facts = replace(pet.companion)
    ct = reported()
    uids = [one.sop_instance_uid for one in ct.assessment.worst]
    shared = {key: FusedImage(uid, 1, ct.header) for key, uid in zip(pet.fused, uids, strict=True)}
    pet_uid = f"{CT_SERIES}.5"
    worst = tuple(
        replace(one, sop_instance_uid=f"{pet_uid}.{number}")
        for number, one in enumerate(pet.assessment.worst)
    )
    pet = replace(
        pet,
        facts=replace(pet.facts, series_instance_uid=pet_uid),
        assessment=replace(pet.assessment, worst=worst),
        fused={
            (one.sop_instance_uid, 1): image
            for one, image in zip(worst, shared.values(), strict=True)
        },
    )
    ct = replace(ct, facts=ct_facts)
    data = structured_report(ct, pet)
    (study,) = dcmread(BytesIO(data)).CurrentRequestedProcedureEvidenceSequence
    counts = {
        one.SeriesInstanceUID: len(one.ReferencedSOPSequence)
        for one in study.ReferencedSeriesSequence
    }
    assert counts == {CT_SERIES: 6, pet_uid: 6}
    assert check_sr(data).errors == []
