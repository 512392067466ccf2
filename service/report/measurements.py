"""Measurement groups: what is said of one series, and of each stack in it (PS3.16 TID 1501)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from service.judge.evidence import Assessment, BundleIdentity, StackResult, Verdict
from service.report import codes, header
from service.report.content import (
    HAS_CONCEPT_MOD,
    HAS_OBS_CONTEXT,
    HAS_PROPERTIES,
    code,
    container,
    image,
    number,
    text,
    uid_reference,
)
from service.report.identity import tracking_uid
from service.report.references import to_slice
from service.report.subject import ReportedSeries
from service.report.wording import headline, series_title

_UNKNOWN_SCALE: Final = BundleIdentity("unknown", "unknown", "", 0.0, 0.0)


def groups(series: ReportedSeries) -> list[Dataset]:
    """The group of the series, then one for each stack where there is more than one."""
    stacks = series.assessment.stacks if len(series.assessment.stacks) > 1 else ()
    return [_series_group(series), *(_stack_group(series, stack) for stack in stacks)]


def summary(series: ReportedSeries) -> list[Dataset]:
    """The series in one sentence, for viewers that show text only, and its warnings."""
    assessment = series.assessment
    words = headline(assessment.verdict, borderline=assessment.borderline)
    line = f"{series_title(series.facts)} - {words}. {assessment.reason}".strip()
    return [text(codes.SUMMARY, line)]


def _series_group(series: ReportedSeries) -> Dataset:
    assessment = series.assessment
    return container(
        codes.MEASUREMENT_GROUP,
        [
            *_tracking(series, None),
            code(codes.FINDING, codes.IMAGE_QUALITY),
            *_algorithm(assessment),
            *_score(assessment, assessment.score, assessment.interval),
            *_limits(assessment),
            *number(codes.NOISE, assessment.noise_hu, codes.HOUNSFIELD),
            *number(codes.MEAN_CTDI_VOL, _ctdi_vol_mgy(series), codes.MILLIGRAY),
            *number(codes.SLICES_TOTAL, assessment.slices_total, codes.SLICES),
            *number(codes.SLICES_SCORED, assessment.slices_scored, codes.SLICES),
            *_worst(series),
            *_verdict(assessment.verdict),
            *([code(codes.BORDERLINE, codes.YES)] if assessment.borderline else []),
            *_words(series),
            uid_reference(codes.SERIES_INSTANCE_UID, series.facts.series_instance_uid),
        ],
        template="1501",
    )


def _stack_group(series: ReportedSeries, stack: StackResult) -> Dataset:
    return container(
        codes.MEASUREMENT_GROUP,
        [
            *_tracking(series, stack.stack),
            code(codes.FINDING, codes.IMAGE_QUALITY),
            *_algorithm(series.assessment),
            *_score(series.assessment, stack.value, stack.interval),
            *number(codes.SLICES_SCORED, stack.slices_scored, codes.SLICES),
            *_verdict(stack.verdict),
            *_named((codes.STACK, stack.stack), (codes.STATISTIC, series.assessment.statistic)),
            uid_reference(codes.SERIES_INSTANCE_UID, series.facts.series_instance_uid),
        ],
        template="1501",
    )


def _tracking(series: ReportedSeries, stack: str | None) -> list[Dataset]:
    """TID 4108; the same in every report on this series or stack."""
    facts = series.facts
    name = series_title(facts) if stack is None else f"{series_title(facts)}, stack {stack}"
    uid = tracking_uid(facts.series_instance_uid, stack)
    return [
        text(codes.TRACKING_IDENTIFIER, name, HAS_OBS_CONTEXT),
        uid_reference(codes.TRACKING_UNIQUE_IDENTIFIER, uid, HAS_OBS_CONTEXT),
    ]


def _algorithm(assessment: Assessment) -> list[Dataset]:
    """TID 4019: the bundle, and what fixes its outcome."""
    bundle = assessment.bundle
    if bundle is None:
        return []
    scale = f"score from {bundle.score_worst:g} (worst) to {bundle.score_best:g} (best)"
    parameters = [f"bundle sha256 {bundle.digest}", scale]
    if assessment.policy_digest:
        parameters.append(f"policy sha256 {assessment.policy_digest}")
    named = (
        (codes.ALGORITHM_NAME, bundle.name),
        (codes.ALGORITHM_VERSION, bundle.version),
        *((codes.ALGORITHM_PARAMETERS, value) for value in parameters),
    )
    return _named(*named, relationship=HAS_CONCEPT_MOD)


def _score(
    assessment: Assessment, value: float | None, interval: tuple[float, float] | None
) -> list[Dataset]:
    low, high = interval if interval is not None else (None, None)
    concept = codes.series_score(assessment.bundle or _UNKNOWN_SCALE)
    return [
        *number(concept, value, codes.SCORE),
        *number(codes.INTERVAL_LOW, low, codes.SCORE),
        *number(codes.INTERVAL_HIGH, high, codes.SCORE),
    ]


def _limits(assessment: Assessment) -> list[Dataset]:
    limits = assessment.limits
    if limits is None:
        return []
    return [
        *number(codes.LIMIT_MEETS, limits.meets, codes.SCORE),
        *number(codes.LIMIT_UNUSABLE, limits.unusable, codes.SCORE),
    ]


def _worst(series: ReportedSeries) -> Iterable[Dataset]:
    """A measurement for each worst slice, inferred from its image (TID 300, TID 320)."""
    concept = codes.slice_score(series.assessment.bundle or _UNKNOWN_SCALE)
    for one in series.assessment.worst:
        to = to_slice(series, one)
        source = image(
            codes.SOURCE_OF_MEASUREMENT, to.sop_class_uid, to.sop_instance_uid, to.frame_number
        )
        named = "" if one.instance_number is None else str(one.instance_number)
        properties = _named((codes.IMAGE_NUMBER, named), relationship=HAS_PROPERTIES)
        yield from number(concept, one.score, codes.SCORE, [*properties, source])


def _verdict(verdict: Verdict) -> list[Dataset]:
    """CID 6044 and the standard it is held against; nothing for "not assessed"."""
    outcome = codes.VERDICT.get(verdict)
    if outcome is None:
        return []
    return [
        code(codes.QUALITY_ASSESSMENT, outcome),
        code(codes.QUALITY_CONTROL_STANDARD, codes.INSTITUTIONAL_STANDARD),
    ]


def _words(series: ReportedSeries) -> list[Dataset]:
    assessment, facts = series.assessment, series.facts
    outcome = headline(assessment.verdict, borderline=assessment.borderline)
    scanner = facts.scanner if facts.manufacturer or facts.model else ""
    return _named(
        (codes.OUTCOME, outcome),
        (codes.REASON, assessment.reason),
        (codes.STATISTIC, assessment.statistic),
        *((codes.WARNING, warning) for warning in assessment.warnings),
        (codes.SCANNER, scanner),
        (codes.PROTOCOL, facts.protocol_name),
        (codes.RULE, assessment.rule),
        (codes.LOSSY, lossy_history(series.header)),
    )


def _named(*pairs: tuple[Code, str], relationship: str = "CONTAINS") -> list[Dataset]:
    """A TEXT for each value that is not blank."""
    return [text(name, value, relationship) for name, value in pairs if value.strip()]


def _ctdi_vol_mgy(series: ReportedSeries) -> float | None:
    return header.binary_number(series.header, "CTDIvol")


def lossy_history(image_header: Dataset) -> str:
    """What the header says of lossy compression (PS3.3 C.7.6.1.1.5), "" where it says none."""
    if header.code_string(image_header, "LossyImageCompression") != "01":
        return ""
    methods = header.texts(image_header, "LossyImageCompressionMethod", limit=16)
    ratios = header.decimals(image_header, "LossyImageCompressionRatio")
    details = ", ".join([*methods, *(f"{ratio:g}:1" for ratio in ratios)])
    return f"lossy compressed ({details})" if details else "lossy compressed"
