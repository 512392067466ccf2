"""Proposed limits: what the clean acquisitions of one's own scanners say a limit should be.

Pure, shared by `iqgate commission` (from what shadow mode has gathered) and `python -m trainer
commission` (from folders). One value an acquisition counts, however many series were made of it.
Acquisitions of one study are of one patient, so intervals count studies.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from models.limits import (
    INDEPENDENT_NEEDED,
    AlarmRate,
    alarm_rate,
    quantile,
    quantile_bounds,
)

SHOWN_SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95)
SHOWN_WORST = 5
STEP = 0.01
"""Limits are proposed in steps of this, rounded to the side that alarms less."""


@dataclass(frozen=True)
class JudgedSeries:
    """One series' value under one rule of the policy: `value` is its stack's statistic.

    day: of the acquisition, `YYYYMMDD`, empty where the header does not say; meets: the limit as
    the policy has it; bundle: name, version and digest (hex SHA-256).
    """

    series: str
    study: str
    acquisition: str
    scanner: str
    modality: str
    protocol: str
    day: str
    rule: str
    statistic: str
    more_is_worse: bool
    meets: float
    value: float
    bundle: str
    bundle_version: str
    bundle_digest: str

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> JudgedSeries:
        """Raises KeyError naming what is missing."""
        return cls(**{name: table[name] for name in cls.__dataclass_fields__})

    def as_table(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Budget:
    """How many alarms are bearable: a share of acquisitions, or so many per scanner and day."""

    share: float | None = None
    per_day: float | None = None

    def of(self, acquisitions_per_day: float | None) -> float | None:
        """The share of acquisitions that may alarm; None where the days are not known."""
        if self.share is not None:
            return self.share
        if self.per_day is None or not acquisitions_per_day:
            return None
        return min(self.per_day / acquisitions_per_day, 0.5)

    def __str__(self) -> str:
        if self.share is not None:
            return f"{100 * self.share:g} % of acquisitions"
        return f"{self.per_day:g} alarms per scanner and day"


@dataclass(frozen=True)
class Proposal:
    """What the acquisitions of one scanner under one rule say.

    acquisitions, studies, days: how many; per_day: acquisitions of this rule on a day with any;
    quantiles: by share, of the acquisitions' values, the worst first; protocols: name,
    acquisitions, median; worst: values and Series Instance UIDs of the worst acquisitions;
    limit: as proposed, None where the budget cannot be worked out; interval: 95 % of where the
    budget's quantile lies, an end None where so few acquisitions do not bound it; expected: alarms
    at the proposed limit; current: at the policy's.
    """

    scanner: str
    rule: str
    modality: str
    statistic: str
    more_is_worse: bool
    bundle: str
    bundle_version: str
    bundle_digest: str
    acquisitions: int
    studies: int
    days: int
    per_day: float | None
    quantiles: Mapping[float, float]
    protocols: Sequence[tuple[str, int, float]]
    worst: Sequence[tuple[float, str]]
    share: float | None
    limit: float | None
    interval: tuple[float | None, float | None]
    expected: AlarmRate | None
    meets: float
    current: AlarmRate

    @property
    def provisional(self) -> bool:
        return self.studies < INDEPENDENT_NEEDED


def proposals(
    found: Iterable[JudgedSeries], budget: Budget, without: Iterable[str] = ()
) -> list[Proposal]:
    """A proposal for each scanner and rule, in order of both.

    Every acquisition counts as one that should not alarm; without: Series Instance UIDs of those
    that somebody looked at and found bad.
    """
    bad = set(without)
    found = [one for one in found if one.series not in bad]
    per_scanner: dict[str, dict[tuple[str, str], list[JudgedSeries]]] = {}
    for one in one_an_acquisition(found):
        per_scanner.setdefault(one.scanner, {}).setdefault(
            (one.rule, one.bundle_digest), []
        ).append(one)
    return [
        _proposal(members, budget, _per_day([one for rows in rules.values() for one in rows]))
        for _, rules in sorted(per_scanner.items())
        for _, members in sorted(rules.items())
    ]


def one_an_acquisition(found: Iterable[JudgedSeries]) -> list[JudgedSeries]:
    """One series for each acquisition, rule and bundle: of several reconstructions the one that
    alarms among equals, of the lowest Series Instance UID."""
    chosen: dict[tuple[str, str, str, str], JudgedSeries] = {}
    for one in sorted(found, key=lambda one: one.series):
        chosen.setdefault((one.scanner, one.rule, one.bundle_digest, one.acquisition), one)
    return list(chosen.values())


def _proposal(
    members: Sequence[JudgedSeries], budget: Budget, scanner_per_day: float | None
) -> Proposal:
    first = members[0]
    # worse is lower from here on
    sign = -1.0 if first.more_is_worse else 1.0
    values = sorted(sign * one.value for one in members)
    studies = len({one.study for one in members})
    share = budget.of(scanner_per_day)
    limit, low, high, expected = None, None, None, None
    if share is not None:
        allowed = math.floor(share * len(values) + 1e-9)
        limit = _rounded(values[min(allowed, len(values) - 1)])
        low, high = quantile_bounds(values, share, studies)
        expected = _alarms(values, limit, studies)
    if first.more_is_worse:
        low, high = (None if end is None else -end for end in (high, low))
    protocols: dict[str, list[float]] = {}
    for one in members:
        protocols.setdefault(one.protocol or "not stated", []).append(one.value)
    return Proposal(
        scanner=first.scanner,
        rule=first.rule,
        modality=first.modality,
        statistic=first.statistic,
        more_is_worse=first.more_is_worse,
        bundle=first.bundle,
        bundle_version=first.bundle_version,
        bundle_digest=first.bundle_digest,
        acquisitions=len(members),
        studies=studies,
        days=len({one.day for one in members if one.day}),
        per_day=_per_day(members),
        quantiles={share: sign * quantile(values, share) for share in SHOWN_SHARES},
        protocols=[
            (name, len(own), quantile(own, 0.5))
            for name, own in sorted(protocols.items(), key=lambda pair: (-len(pair[1]), pair[0]))
        ],
        worst=[
            (one.value, one.series)
            for one in sorted(members, key=lambda one: (sign * one.value, one.series))[:SHOWN_WORST]
        ],
        share=share,
        limit=None if limit is None else sign * limit,
        interval=(low, high),
        expected=expected,
        meets=first.meets,
        current=_alarms(values, sign * first.meets, studies),
    )


def _alarms(values: Sequence[float], limit: float, studies: int) -> AlarmRate:
    return alarm_rate(sum(value < limit for value in values), len(values), studies)


def _rounded(value: float) -> float:
    """Down to a whole STEP, so that the value itself still meets the limit."""
    return round(math.floor(value / STEP + 1e-9) * STEP, 2)


def _per_day(members: Sequence[JudgedSeries]) -> float | None:
    """Acquisitions on a day with any; None where a header does not say its day."""
    days = {one.day for one in members}
    return None if not days or "" in days else len(members) / len(days)
