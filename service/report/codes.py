"""Every code a report uses: the standard's, and the private scheme 99IQGATE.

docs/report.md holds the same table of the private scheme for readers; a test compares them.
"""

from __future__ import annotations

from typing import Final

from pydicom.sr.coding import Code

from service.judge.evidence import BundleIdentity, Verdict

PRIVATE_SCHEME: Final = "99IQGATE"


def _dcm(value: str, meaning: str) -> Code:
    return Code(value, "DCM", meaning)


def _own(value: str, meaning: str) -> Code:
    return Code(value, PRIVATE_SCHEME, meaning)


# The document (PS3.16 TID 1500, 1204, 1002, 1004)
IMAGING_MEASUREMENT_REPORT: Final = _dcm("126000", "Imaging Measurement Report")
LANGUAGE: Final = _dcm("121049", "Language of Content Item and Descendants")
ENGLISH: Final = Code("en", "RFC5646", "English")
OBSERVER_TYPE: Final = _dcm("121005", "Observer Type")
DEVICE: Final = _dcm("121007", "Device")
DEVICE_OBSERVER_UID: Final = _dcm("121012", "Device Observer UID")
DEVICE_OBSERVER_NAME: Final = _dcm("121013", "Device Observer Name")
DEVICE_OBSERVER_MANUFACTURER: Final = _dcm("121014", "Device Observer Manufacturer")
DEVICE_OBSERVER_MODEL_NAME: Final = _dcm("121015", "Device Observer Model Name")
PROCEDURE_REPORTED: Final = _dcm("121058", "Procedure reported")
IMAGING_MEASUREMENTS: Final = _dcm("126010", "Imaging Measurements")
QUALITATIVE_EVALUATIONS: Final = Code("C0034375", "UMLS", "Qualitative Evaluations")

# A measurement group (TID 1501, 4108, 4019, 320)
MEASUREMENT_GROUP: Final = _dcm("125007", "Measurement Group")
TRACKING_IDENTIFIER: Final = _dcm("112039", "Tracking Identifier")
TRACKING_UNIQUE_IDENTIFIER: Final = _dcm("112040", "Tracking Unique Identifier")
FINDING: Final = _dcm("121071", "Finding")
IMAGE_QUALITY: Final = _dcm("111101", "Image Quality")
ALGORITHM_NAME: Final = _dcm("111001", "Algorithm Name")
ALGORITHM_VERSION: Final = _dcm("111003", "Algorithm Version")
ALGORITHM_PARAMETERS: Final = _dcm("111002", "Algorithm Parameters")
SOURCE_OF_MEASUREMENT: Final = _dcm("121112", "Source of Measurement")
SERIES_INSTANCE_UID: Final = _dcm("112002", "Series Instance UID")
MEAN_CTDI_VOL: Final = _dcm("113830", "Mean CTDIvol")
QUALITY_ASSESSMENT: Final = _dcm("111050", "Quality Assessment")
QUALITY_CONTROL_STANDARD: Final = _dcm("111051", "Quality Control Standard")
INSTITUTIONAL_STANDARD: Final = _dcm("111240", "Institutionally defined quality control standard")
YES: Final = Code("373066001", "SCT", "Yes")

# Equipment and sources (CID 7005, 7202)
ACQUISITION_EQUIPMENT: Final = _dcm("109101", "Acquisition Equipment")
PROCESSING_EQUIPMENT: Final = _dcm("109102", "Processing Equipment")
SOURCE_IMAGE: Final = _dcm("121322", "Source image for image processing operation")

VERDICT: Final[dict[Verdict, Code]] = {
    Verdict.MEETS: _dcm("111237", "Usable - Meets the quality control standard"),
    Verdict.DOES_NOT_MEET: _dcm("111236", "Usable - Does not meet the quality control standard"),
    Verdict.UNUSABLE: _dcm("111235", "Unusable - Quality renders image unusable"),
}
"""CID 6044. "Not assessed" has no code on purpose: it is not an outcome of the assessment."""

_PROCEDURES: Final[dict[str, Code]] = {
    "CT": Code("25045-6", "LN", "CT unspecified body region"),
    "PT": Code("44136-0", "LN", "PET unspecified body region"),
    "MR": Code("25056-3", "LN", "MRI unspecified body region"),
}


def procedure(modality: str) -> Code:
    """Procedure Reported (CID 100) as far as the modality tells it."""
    return _PROCEDURES.get(modality, Code("363679005", "SCT", "Imaging procedure"))


# Units (UCUM)
SCORE: Final = Code("{score}", "UCUM", "score")
HOUNSFIELD: Final = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
MILLIGRAY: Final = Code("mGy", "UCUM", "mGy")
SLICES: Final = Code("{slices}", "UCUM", "slices")

# The private scheme. A value once given keeps its meaning for ever.
NOISE: Final = _own("NOISE", "Noise in soft tissue, median over the scored slices")
INTERVAL_LOW: Final = _own("SCORE-CI-LOW", "Lower end of the 95 % interval of the score")
INTERVAL_HIGH: Final = _own("SCORE-CI-HIGH", "Upper end of the 95 % interval of the score")
LIMIT_MEETS: Final = _own("LIMIT-MEETS", "Limit: meets the standard from this score")
LIMIT_UNUSABLE: Final = _own("LIMIT-UNUSABLE", "Limit: unusable below this score")
SLICES_TOTAL: Final = _own("SLICES-TOTAL", "Slices in the series")
SLICES_SCORED: Final = _own("SLICES-SCORED", "Slices scored")
STATISTIC: Final = _own("STATISTIC", "Statistic over the slices that the score is")
OUTCOME: Final = _own("OUTCOME", "Outcome in words")
REASON: Final = _own("REASON", "Reason for the outcome")
WARNING: Final = _own("WARNING", "Warning on this outcome")
BORDERLINE: Final = _own("BORDERLINE", "Outcome is borderline")
STACK: Final = _own("STACK", "Stack of slices assessed together")
SCANNER: Final = _own("SCANNER", "Scanner")
PROTOCOL: Final = _own("PROTOCOL", "Protocol")
RULE: Final = _own("RULE", "Policy rule applied")
LOSSY: Final = _own("LOSSY", "Lossy compression of the source images")
IMAGE_NUMBER: Final = _own("IMAGE-NUMBER", "Image number")
SUMMARY: Final = _own("SUMMARY", "Summary of one series")
DISCLAIMER: Final = _own("DISCLAIMER", "What this automatic report is not")

PRIVATE: Final[tuple[Code, ...]] = (
    NOISE, INTERVAL_LOW, INTERVAL_HIGH, LIMIT_MEETS, LIMIT_UNUSABLE, SLICES_TOTAL, SLICES_SCORED,
    STATISTIC, OUTCOME, REASON, WARNING, BORDERLINE, STACK, SCANNER, PROTOCOL, RULE, LOSSY,
    IMAGE_NUMBER, SUMMARY, DISCLAIMER,
)  # fmt: skip
"""All fixed private codes; the two scores below are families, one code per scale."""


def _scale(bundle: BundleIdentity) -> tuple[str, str]:
    worst, best = f"{bundle.score_worst:.3g}", f"{bundle.score_best:.3g}"
    return f"{worst}:{best}", f"{worst} (worst) to {best} (best)"


def series_score(bundle: BundleIdentity) -> Code:
    """The score of a series or stack, a code for each scale: "IQS:0:4"."""
    value, meaning = _scale(bundle)
    return _own(f"IQS:{value}"[:16], f"Image quality score, {meaning}")


def slice_score(bundle: BundleIdentity) -> Code:
    """The score of one slice, a code for each scale: "IQL:0:4"."""
    value, meaning = _scale(bundle)
    return _own(f"IQL:{value}"[:16], f"Slice quality score, {meaning}")
