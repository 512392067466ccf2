"""The sentences people read, defined once for report, summary image, status page and messages."""

from __future__ import annotations

from service.judge.evidence import Assessment, Limits, SeriesFacts, Verdict

DISCLAIMER: tuple[str, ...] = (
    "Automatic estimate of noise and artefact appearance.",
    "Does not check anatomy, coverage, positioning, contrast timing or identity.",
    "Not for diagnosis.",
    "Do not repeat or withhold imaging on this alone.",
    "No FDA clearance or CE marking is claimed.",
)
"""What every output carries, one sentence a line."""

SERIES_DESCRIPTION = "Automatic image quality report - not for diagnosis"
"""Series Description of everything the gate makes."""

VERDICT_HEADLINE: dict[Verdict, str] = {
    Verdict.MEETS: "Meets the quality limit",
    Verdict.DOES_NOT_MEET: "Does not meet the quality limit",
    Verdict.UNUSABLE: "Worse than the limit for usable images",
    Verdict.NOT_ASSESSED: "Not assessed",
}


def headline(verdict: Verdict, *, borderline: bool = False) -> str:
    """The verdict in words, and that it was close where it was."""
    words = VERDICT_HEADLINE[verdict]
    return f"{words} (borderline)" if borderline else words


def series_title(facts: SeriesFacts) -> str:
    """How people name a series: modality, number, description."""
    number = "" if facts.series_number is None else f" {facts.series_number}"
    title = f"{facts.modality or 'Image'} series{number}"
    return f"{title}: {facts.series_description}" if facts.series_description else title


def site_of_snr(modality: str) -> str:
    """Where the signal to noise of a modality is taken."""
    return "in the liver" if modality == "PT" else "of the foreground"


def is_share(assessment: Assessment) -> bool:
    """Whether the statistic is a share of slices, of which more is worse, and not a score."""
    return assessment.limits is not None and assessment.limits.more_is_worse


def limits_in_words(limits: Limits) -> str:
    """The limits on the statistic, a score on the bundle's scale or a share of slices."""
    start, beyond = ("up to", "above") if limits.more_is_worse else ("from", "below")
    words = f"meets {start} {limits.meets:.2f}"
    return words if limits.unusable is None else f"{words}, unusable {beyond} {limits.unusable:.2f}"
