"""The face of a verdict: tone, symbol and word, always the three together.

Colour is never the only sign: each tone has its own symbol (of its own outline) and its own word.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from service.judge.evidence import Assessment, Verdict
from service.ledger.series_reading import SeriesReading
from service.report import wording


class Tone(StrEnum):
    """CSS class and symbol name."""

    MEETS = "meets"
    BORDERLINE = "borderline"
    DOES_NOT_MEET = "does-not-meet"
    UNUSABLE = "unusable"
    NOT_ASSESSED = "not-assessed"
    WAITING = "waiting"


class Phase(StrEnum):
    """How final what is known of a series is."""

    WAITING = "waiting"
    """Nothing could be said yet."""
    PROVISIONAL = "provisional"
    """Judged on the slices so far; more may come."""
    FINAL = "final"


@dataclass(frozen=True)
class Face:
    """`word` is short enough for a wall, `headline` a sentence's worth."""

    tone: Tone
    word: str
    headline: str


_WORDS = {
    Verdict.MEETS: "Meets",
    Verdict.DOES_NOT_MEET: "Does not meet",
    Verdict.UNUSABLE: "Unusable",
    Verdict.NOT_ASSESSED: "Not assessed",
}

WAITING = Face(Tone.WAITING, "Waiting", "Waiting for a verdict")


def face_of(assessment: Assessment) -> Face:
    """The face of an assessment; one that meets by a hair's breadth says so."""
    verdict = assessment.verdict
    headline = wording.headline(verdict, borderline=assessment.borderline)
    if verdict is Verdict.MEETS and assessment.borderline:
        return Face(Tone.BORDERLINE, "Borderline", headline)
    return Face(Tone(verdict.value), _WORDS[verdict], headline)


def phase_of(one: SeriesReading) -> Phase:
    """An open series that nothing better than "not assessed" can be said of is waited for."""
    assessment = one.assessment
    if not one.is_open and assessment is not None:
        return Phase.FINAL
    if assessment is None or assessment.verdict is Verdict.NOT_ASSESSED:
        return Phase.WAITING
    return Phase.PROVISIONAL


def face_of_series(one: SeriesReading) -> Face:
    assessment = one.assessment
    if assessment is None or phase_of(one) is Phase.WAITING:
        return WAITING
    return face_of(assessment)
