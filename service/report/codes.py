"""The codes of our own, scheme 99IQGATE, and the few of the standard's that pydicom does not name.

Everything else is `pydicom.sr.codedict`. docs/report.md holds the table of the private scheme for
readers; a test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from service.judge.evidence import BundleIdentity, Verdict

PRIVATE_SCHEME: Final = "99IQGATE"


def _own(value: str, meaning: str) -> Code:
    return Code(value, PRIVATE_SCHEME, meaning)


ENGLISH: Final = Code("en", "RFC5646", "English")
YES: Final = Code("373066001", "SCT", "Yes")
QUALITATIVE_EVALUATIONS: Final = Code("C0034375", "UMLS", "Qualitative Evaluations")

VERDICT: Final[dict[Verdict, Code]] = {
    Verdict.MEETS: standard.cid6044.UsableMeetsTheQualityControlStandard,
    Verdict.DOES_NOT_MEET: standard.cid6044.UsableDoesNotMeetTheQualityControlStandard,
    Verdict.UNUSABLE: standard.cid6044.UnusableQualityRendersImageUnusable,
}
"""CID 6044. "Not assessed" has no code on purpose: it is not an outcome of the assessment."""

_PROCEDURES: Final[dict[str, Code]] = {
    "CT": standard.LN.CTUnspecifiedBodyRegion,
    "PT": standard.LN.PETUnspecifiedBodyRegion,
    "MR": standard.LN.MRIUnspecifiedBodyRegion,
}
_IMAGING: Final[Code] = standard.SCT.ImagingProcedure


def procedure(modality: str) -> Code:
    """Procedure Reported (CID 100) as far as the modality tells it."""
    return _PROCEDURES.get(modality, _IMAGING)


# Units (UCUM)
SCORE: Final = Code("{score}", "UCUM", "score")
MILLIGRAY: Final = Code("mGy", "UCUM", "mGy")
SLICES: Final = Code("{slices}", "UCUM", "slices")

# The private scheme. A value once given keeps its meaning for ever.
NOISE: Final = _own("NOISE", "Noise in soft tissue, median over the scored slices")
COMPANION: Final = _own("COMPANION", "Series that the scored one was fused with")
COMPANION_UID: Final = _own("COMPANION-UID", "Series Instance UID of the series fused with")
INTERVAL_LOW: Final = _own("SCORE-CI-LOW", "Lower end of the 95 % interval of the score")
INTERVAL_HIGH: Final = _own("SCORE-CI-HIGH", "Upper end of the 95 % interval of the score")
LIMIT_MEETS: Final = _own("LIMIT-MEETS", "Limit: meets the standard from this score")
LIMIT_UNUSABLE: Final = _own("LIMIT-UNUSABLE", "Limit: unusable below this score")
SHARE: Final = _own("SHARE", "Share of slices below the score that the statistic names")
SHARE_LOW: Final = _own("SHARE-CI-LOW", "Lower end of the 95 % interval of the share of slices")
SHARE_HIGH: Final = _own("SHARE-CI-HIGH", "Upper end of the 95 % interval of the share of slices")
SHARE_MEETS: Final = _own("SHARE-MEETS", "Limit: meets the standard up to this share of slices")
SHARE_UNUSABLE: Final = _own("SHARE-UNUSABLE", "Limit: unusable above this share of slices")
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
    NOISE, COMPANION, COMPANION_UID, INTERVAL_LOW, INTERVAL_HIGH, LIMIT_MEETS, LIMIT_UNUSABLE,
    SHARE, SHARE_LOW, SHARE_HIGH,
    SHARE_MEETS, SHARE_UNUSABLE, SLICES_TOTAL, SLICES_SCORED, STATISTIC, OUTCOME, REASON, WARNING,
    BORDERLINE, STACK, SCANNER, PROTOCOL, RULE, LOSSY, IMAGE_NUMBER, SUMMARY, DISCLAIMER,
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


@dataclass(frozen=True)
class StatisticCodes:
    """What a stack's statistic, its interval and its limits are called, and their unit."""

    value: Code
    low: Code
    high: Code
    meets: Code
    unusable: Code
    unit: Code


def statistic(bundle: BundleIdentity, *, is_share: bool) -> StatisticCodes:
    """The codes of a statistic that is a score, or of one that is a share of slices (0 to 1)."""
    if is_share:
        return StatisticCodes(
            SHARE, SHARE_LOW, SHARE_HIGH, SHARE_MEETS, SHARE_UNUSABLE, standard.UCUM.NoUnits
        )
    score = series_score(bundle)
    return StatisticCodes(score, INTERVAL_LOW, INTERVAL_HIGH, LIMIT_MEETS, LIMIT_UNUSABLE, SCORE)
