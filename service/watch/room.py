"""What the screen beside one scanner shows: the acquisition at hand, told in one state.

Of the newest acquisition's reconstructions the one the policy calls primary stands for it, so
that one bad acquisition is one alarm. Earlier alarms of the same study stay in sight until the
next patient's study begins. Nothing here names a patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from service.config import Mode
from service.judge.evidence import Verdict
from service.judge.judging import alarming
from service.ledger import reading, series_reading
from service.ledger.series_reading import SeriesReading, ThumbnailReading
from service.watch.entry import SeriesEntry, entry_of
from service.watch.health import readiness_of

CARDS = 6
MOST_STRIPS = 2
FRESH_WITHIN_S = 30 * 60.0
"""After that a verdict belongs to the past: the next patient may lie on the table already."""
SHOWN_THUMBNAILS = 6
NEEDED_ROLES = ("receive", "score")


@dataclass(frozen=True)
class Card:
    """One earlier series, small. `shadow`: its verdict is for evaluation only."""

    entry: SeriesEntry
    alarm: bool
    shadow: bool


@dataclass(frozen=True)
class Room:
    """`main` is None where the scanner sent nothing, or nothing lately.

    `alarm`: people are told to look. `shadow`: the verdict is shown, and alarms nobody.
    `faults` say what keeps the gate from assessing at all.
    """

    scanner: str
    main: SeriesEntry | None
    alarm: bool
    shadow: bool
    thumbnails: tuple[ThumbnailReading, ...]
    still_alarming: tuple[SeriesEntry, ...]
    more_alarming: int
    cards: tuple[Card, ...]
    known: bool
    faults: tuple[str, ...]


def room_of(connection: Connection, scanner: str, mode: Mode, now: float) -> Room:
    """The room as it stands. An unknown scanner is a room without series."""
    recent = series_reading.image_series(connection, scanner, CARDS + MOST_STRIPS + 1)
    faults = readiness_of(reading.roles(connection, now), NEEDED_ROLES).reasons
    newest = recent[0] if recent and now - recent[0].last_object_at <= FRESH_WITHIN_S else None
    chosen, alarm = None, False
    earlier: list[SeriesReading] = []
    if newest is not None:
        siblings = series_reading.acquisition_series(connection, newest)
        chosen = _primary(siblings) or newest
        alarm = _alarms(chosen, siblings)
        earlier = [
            one
            for one in series_reading.alarmed_series(connection, newest.study_id, scanner)
            if one.series_id != chosen.series_id and not _shadowed(one, mode)
        ]
    more, earlier = max(0, len(earlier) - MOST_STRIPS), earlier[:MOST_STRIPS]
    told = {one.series_id for one in earlier} | ({chosen.series_id} if chosen else set())
    others = [one for one in recent if one.series_id not in told]
    shown = [*([] if chosen is None else [chosen]), *earlier, *others[:CARDS]]
    slices = series_reading.slices(connection, [one.series_id for one in shown])

    def entry(one: SeriesReading) -> SeriesEntry:
        return entry_of(one, slices[one.series_id], now)

    shadow = mode == "shadow" if chosen is None else _shadowed(chosen, mode)
    thumbnails: Sequence[ThumbnailReading] = (
        [] if chosen is None else series_reading.thumbnails(connection, chosen.series_id)
    )
    return Room(
        scanner=scanner,
        main=None if chosen is None else entry(chosen),
        alarm=alarm and not shadow,
        shadow=shadow,
        thumbnails=tuple(thumbnails[:SHOWN_THUMBNAILS]),
        still_alarming=tuple(entry(one) for one in earlier),
        more_alarming=more,
        cards=tuple(
            Card(entry(one), one.alarm and not one.is_open, _shadowed(one, mode))
            for one in others[:CARDS]
        ),
        known=bool(recent),
        faults=faults,
    )


def _primary(siblings: Sequence[SeriesReading]) -> SeriesReading | None:
    """The reconstruction that stands for its acquisition; None while none is judged."""
    judged = [
        (one.assessment.primary_rank, one.facts.series_instance_uid, one)
        for one in siblings
        if one.assessment is not None and one.assessment.verdict is not Verdict.NOT_ASSESSED
    ]
    return min(judged, key=_rank)[2] if judged else None


def _rank(one: tuple[int, str, SeriesReading]) -> tuple[int, str]:
    return one[0], one[1]


def _alarms(chosen: SeriesReading, siblings: Sequence[SeriesReading]) -> bool:
    """Whether people are alarmed for it: as the ledger says once it is closed, and until then by
    the same rule over what is known so far."""
    if not chosen.is_open:
        return chosen.alarm
    judged = [
        (one.facts.series_instance_uid, one.assessment)
        for one in siblings
        if one.assessment is not None
    ]
    return alarming(judged) == chosen.facts.series_instance_uid


def _shadowed(one: SeriesReading, mode: Mode) -> bool:
    """Shadow by the configuration, or by the policy's rule for this series."""
    assessment = one.assessment
    return mode == "shadow" or (assessment is not None and assessment.mode == "shadow")
