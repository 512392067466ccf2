"""Measurement groups: what is said of one series, and of each stack in it (PS3.16 TID 1501).

highdicom's templates hold figures, codes, tracking and algorithm. They have no argument for text,
which TID 1501, being extensible, permits: it follows them as further items of the group.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from highdicom.sr import (
    AlgorithmIdentification,
    FindingSite,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    SourceImageForMeasurement,
    TextContentItem,
    TrackingIdentifier,
    UIDRefContentItem,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from service.judge.evidence import Assessment, BundleIdentity, SliceScore, StackResult, Verdict
from service.report import codes, header
from service.report.identity import tracking_uid
from service.report.references import (
    companion_frames_of,
    companion_image_of,
    frames_of,
    image_of,
)
from service.report.subject import ReportedSeries
from service.report.wording import headline, is_share, series_title

_UNKNOWN_BUNDLE: Final = BundleIdentity("unknown", "unknown", "", 0.0, 0.0)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def groups(series: ReportedSeries) -> list[MeasurementsAndQualitativeEvaluations]:
    """The group of the series, then one for each stack where there is more than one."""
    stacks = series.assessment.stacks if len(series.assessment.stacks) > 1 else ()
    return [_series_group(series), *(_stack_group(series, stack) for stack in stacks)]


def summary(series: ReportedSeries) -> list[TextContentItem]:
    """The series in one sentence, for viewers that show text only."""
    assessment = series.assessment
    words = headline(assessment.verdict, borderline=assessment.borderline)
    return texts(
        (codes.SUMMARY, f"{series_title(series.facts)} - {words}. {assessment.reason}"),
    )


def texts(*named: tuple[Code, str], relationship: str = "CONTAINS") -> list[TextContentItem]:
    """A TEXT for each value that is not blank, without control characters or lone surrogates."""
    cleaned = ((name, _clean(value)) for name, value in named)
    return [TextContentItem(name, value, relationship) for name, value in cleaned if value]


def _clean(value: str) -> str:
    return _CONTROL.sub(" ", value.encode("utf-8", errors="replace").decode("utf-8")).strip()


def _series_group(series: ReportedSeries) -> MeasurementsAndQualitativeEvaluations:
    assessment = series.assessment
    limits = assessment.limits
    name = _statistic_codes(assessment)
    ctdi_vol_mgy = header.binary_number(series.header, "CTDIvol")
    return _group(
        series,
        None,
        [
            *_statistic(assessment, assessment.score, assessment.interval),
            *_number(name.meets, None if limits is None else limits.meets, name.unit),
            *_number(name.unusable, None if limits is None else limits.unusable, name.unit),
            *_number(codes.NOISE, assessment.noise_hu, standard.UCUM.HounsfieldUnit),
            *_signal_to_noise(series),
            *_number(standard.DCM.MeanCtdivol, ctdi_vol_mgy, codes.MILLIGRAY),
            *_number(codes.SLICES_TOTAL, assessment.slices_total, codes.SLICES),
            *_number(codes.SLICES_SCORED, assessment.slices_scored, codes.SLICES),
            *(item for one in assessment.worst for item in _slice(series, one)),
        ],
        assessment.verdict,
        _words(series),
    )


def _stack_group(
    series: ReportedSeries, stack: StackResult
) -> MeasurementsAndQualitativeEvaluations:
    whole = series.assessment
    # a stack that another rule was for has a statistic and limits of its own
    own = whole if stack.rule in ("", whole.rule) else replace(whole, limits=stack.limits)
    name, limits = _statistic_codes(own), None if own is whole else stack.limits
    return _group(
        series,
        stack.stack,
        [
            *_statistic(own, stack.value, stack.interval),
            *_number(name.meets, None if limits is None else limits.meets, name.unit),
            *_number(name.unusable, None if limits is None else limits.unusable, name.unit),
            *_number(codes.SLICES_SCORED, stack.slices_scored, codes.SLICES),
        ],
        stack.verdict,
        texts(
            (codes.STACK, stack.stack),
            (codes.STATISTIC, stack.statistic or whole.statistic),
            (codes.RULE, "" if own is whole else stack.rule),
        ),
    )


def _group(
    series: ReportedSeries,
    stack: str | None,
    measurements: list[Measurement],
    verdict: Verdict,
    words: Iterable[TextContentItem],
) -> MeasurementsAndQualitativeEvaluations:
    """A group of highdicom's, and below its items ours."""
    series_uid = series.facts.series_instance_uid
    title = series_title(series.facts)
    evaluations = _verdict(verdict)
    if stack is None and series.assessment.borderline:
        evaluations.append(QualitativeEvaluation(codes.BORDERLINE, codes.YES))
    group = MeasurementsAndQualitativeEvaluations(
        TrackingIdentifier(
            tracking_uid(series_uid, stack),
            _clean(title if stack is None else f"{title}, stack {stack}"),
        ),
        finding_type=standard.DCM.ImageQuality,
        algorithm_id=_algorithm(series.assessment),
        measurements=measurements,
        qualitative_evaluations=evaluations,
    )
    group[0].ContinuityOfContent = "SEPARATE"
    group[0].ContentSequence.extend(words)
    group[0].ContentSequence.append(
        UIDRefContentItem(standard.DCM.SeriesInstanceUID, series_uid, "CONTAINS")
    )
    if stack is None and series.companion is not None:
        companion_uid = series.companion.series_instance_uid
        group[0].ContentSequence.append(
            UIDRefContentItem(codes.COMPANION_UID, companion_uid, "CONTAINS")
        )
    return group


def _algorithm(assessment: Assessment) -> AlgorithmIdentification | None:
    """TID 4019: the bundle, and what fixes its outcome."""
    bundle = assessment.bundle
    if bundle is None:
        return None
    parameters = [
        f"bundle sha256 {bundle.digest}",
        f"score from {bundle.score_worst:g} (worst) to {bundle.score_best:g} (best)",
    ]
    if assessment.policy_digest:
        parameters.append(f"policy sha256 {assessment.policy_digest}")
    return AlgorithmIdentification(
        _clean(bundle.name) or "unknown", _clean(bundle.version) or "unknown", parameters
    )


def _statistic_codes(assessment: Assessment) -> codes.StatisticCodes:
    return codes.statistic(assessment.bundle or _UNKNOWN_BUNDLE, is_share=is_share(assessment))


def _statistic(
    assessment: Assessment, value: float | None, interval: tuple[float, float] | None
) -> list[Measurement]:
    low, high = interval if interval is not None else (None, None)
    name = _statistic_codes(assessment)
    return [
        *_number(name.value, value, name.unit),
        *_number(name.low, low, name.unit),
        *_number(name.high, high, name.unit),
    ]


def _number(
    name: Code,
    value: float | None,
    unit: Code,
    images: list[SourceImageForMeasurement] | None = None,
    sites: list[FindingSite] | None = None,
) -> list[Measurement]:
    """A NUM in a list, or nothing where there is no finite value to report.

    Viewers show the decimal string as it stands, so that has six figures, where highdicom writes
    16 ("300.0", "1.6200000000000001"); the floating point value beside it is exact.
    """
    if value is None or not math.isfinite(value):
        return []
    number = value if isinstance(value, int) else float(value)
    measurement = Measurement(name, number, unit, referenced_images=images, finding_sites=sites)
    measurement[0].MeasuredValueSequence[0].NumericValue = f"{value:.6g}"
    return [measurement]


def _signal_to_noise(series: ReportedSeries) -> list[Measurement]:
    """PET's, in the liver; MR's, of the foreground, which is no site of the body."""
    liver = [FindingSite(standard.SCT.Liver)] if series.facts.modality == "PT" else None
    return _number(
        standard.DCM.SignalToNoise, series.assessment.snr, standard.UCUM.NoUnits, sites=liver
    )


def _slice(series: ReportedSeries, one: SliceScore) -> list[Measurement]:
    """The score of one slice, inferred from its image (TID 300, TID 320)."""
    image: Dataset = image_of(series, one)
    source = SourceImageForMeasurement(
        image.SOPClassUID, image.SOPInstanceUID, frames_of(series, one)
    )
    name = codes.slice_score(series.assessment.bundle or _UNKNOWN_BUNDLE)
    sources = [source]
    fused = companion_image_of(series, one)
    if fused is not None:
        sources.append(
            SourceImageForMeasurement(
                fused.SOPClassUID, fused.SOPInstanceUID, companion_frames_of(series, one)
            )
        )
    measured = _number(name, one.score, codes.SCORE, sources)
    if one.instance_number is not None:
        number = texts(
            (codes.IMAGE_NUMBER, str(one.instance_number)), relationship="HAS PROPERTIES"
        )
        for measurement in measured:
            measurement[0].ContentSequence.insert(0, number[0])
    return measured


def _verdict(verdict: Verdict) -> list[QualitativeEvaluation]:
    """CID 6044 and the standard it is held against; nothing for "not assessed"."""
    outcome = codes.VERDICT.get(verdict)
    if outcome is None:
        return []
    return [
        QualitativeEvaluation(standard.DCM.QualityAssessment, outcome),
        QualitativeEvaluation(
            standard.DCM.QualityControlStandard,
            standard.DCM.InstitutionallyDefinedQualityControlStandard,
        ),
    ]


def _words(series: ReportedSeries) -> list[TextContentItem]:
    assessment, facts = series.assessment, series.facts
    return texts(
        (codes.OUTCOME, headline(assessment.verdict, borderline=assessment.borderline)),
        (codes.REASON, assessment.reason),
        (codes.STATISTIC, assessment.statistic),
        *((codes.WARNING, warning) for warning in assessment.warnings),
        (codes.SCANNER, facts.scanner if facts.manufacturer or facts.model else ""),
        (codes.PROTOCOL, facts.protocol_name),
        (codes.COMPANION, "" if series.companion is None else series_title(series.companion)),
        (codes.RULE, assessment.rule),
        (codes.LOSSY, _lossy_history(series.header)),
    )


def _lossy_history(image_header: Dataset) -> str:
    """What the header says of lossy compression (PS3.3 C.7.6.1.1.5), "" where it says none."""
    if header.code_string(image_header, "LossyImageCompression") != "01":
        return ""
    methods = header.texts(image_header, "LossyImageCompressionMethod", limit=16)
    ratios = header.decimals(image_header, "LossyImageCompressionRatio")
    details = ", ".join([*methods, *(f"{ratio:g}:1" for ratio in ratios)])
    return f"lossy compressed ({details})" if details else "lossy compressed"
