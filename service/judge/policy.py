"""The policy: which statistic against which limits, for which series.

Read from `policy.toml`; the first rule whose every condition holds is the one that applies.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from service.errors import ConfigError
from service.judge.evidence import SeriesFacts

Mode = Literal["shadow", "notify", "report"]
MODES: tuple[Mode, ...] = ("shadow", "notify", "report")
"""From the most careful to the most outspoken."""


def _as_patterns(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Patterns = Annotated[tuple[str, ...], BeforeValidator(_as_patterns), Field(min_length=1)]
"""Shell patterns, any case: one, or a list of which one has to fit."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Span(_Table):
    """A half-open range, `from` ≤ value < `to`; a value that is not stated lies in no span."""

    low: Annotated[float, Field(alias="from")] = float("-inf")
    high: Annotated[float, Field(alias="to")] = float("inf")

    def holds(self, value: float | None) -> bool:
        return value is not None and self.low <= value < self.high


class Statistic(_Table):
    """What a stack's slice scores are reduced to before they meet a limit.

    median          the median score
    percentile      the score below which `percent` per cent of slices lie
    share-below     the share (0…1) of slices that score below `score`; here more is worse
    """

    name: Literal["median", "percentile", "share-below"] = "median"
    percent: Annotated[float, Field(gt=0, lt=100)] | None = None
    score: float | None = None

    @model_validator(mode="after")
    def _complete(self) -> Statistic:
        if (self.percent is not None) != (self.name == "percentile"):
            raise ValueError("percent goes with name = 'percentile', and only with it")
        if (self.score is not None) != (self.name == "share-below"):
            raise ValueError("score goes with name = 'share-below', and only with it")
        return self

    @property
    def more_is_worse(self) -> bool:
        return self.name == "share-below"

    @property
    def share(self) -> float:
        """The share of slices below the quantile that it is; of a share of slices, one half."""
        return 0.5 if self.percent is None else self.percent / 100

    @property
    def words(self) -> str:
        match self.name:
            case "median":
                return "median of slice scores"
            case "percentile":
                return f"{self.percent:g}th percentile of slice scores"
            case "share-below":
                return f"share of slices scoring below {self.score:g}"


class Rule(_Table):
    """One row of the policy. Conditions that are not given hold for every series."""

    name: Annotated[str, Field(min_length=1)]
    modality: Literal["CT", "MR", "PT"]
    scanner: Patterns = ("*",)
    """On manufacturer, model and serial number, as the pages name the scanner."""
    protocol: Patterns = ("*",)
    """On Protocol Name or Series Description."""
    kernel: Patterns = ("*",)
    """On Convolution Kernel."""
    body_part: Patterns = ("*",)
    """On Body Part Examined."""
    stack: Patterns = ("*",)
    """On the stack's name, as "axial, b 1000": stacks of one series may have rules of their own."""
    slice_thickness_mm: Span | None = None
    age_years: Span | None = None
    mode: Mode | None = None
    """No bolder than the configuration's mode, whatever stands here."""
    statistic: Statistic = Statistic()
    meets: float
    unusable: float | None = None
    """Absent: no series is ever called unusable."""
    minimum_slices: Annotated[int, Field(ge=1)] = 3
    minimum_share_scored: Annotated[float, Field(gt=0, le=1)] = 0.5
    primary_rank: int = 10
    """Among reconstructions of one acquisition, the lowest rank alarms."""

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, table: Any) -> Any:
        if isinstance(table, dict) and "commissioned_by" in table:
            raise ValueError(
                "commissioned_by is no longer a key of the policy: take it out, and record who "
                "commissioned the limits with `iqgate commission sign` (docs/commissioning.md)"
            )
        return table

    @model_validator(mode="after")
    def _ordered(self) -> Rule:
        if self.unusable is not None:
            ordered = (
                self.unusable > self.meets
                if self.statistic.more_is_worse
                else self.unusable < self.meets
            )
            if not ordered:
                raise ValueError("unusable must lie beyond meets, on the worse side")
        return self

    def applies(self, facts: SeriesFacts, stack: str) -> bool:
        return (
            facts.modality == self.modality
            and _matches(self.scanner, facts.scanner)
            and _matches(self.protocol, facts.protocol_name, facts.series_description)
            and _matches(self.kernel, facts.kernel)
            and _matches(self.body_part, facts.body_part)
            and _matches(self.stack, stack)
            and (
                self.slice_thickness_mm is None
                or self.slice_thickness_mm.holds(facts.slice_thickness_mm)
            )
            and (self.age_years is None or self.age_years.holds(facts.age_years))
        )


class _Rules(_Table):
    rule: tuple[Rule, ...]


@dataclass(frozen=True)
class Policy:
    """Rules in order, and the SHA-256 of the text they were read from."""

    rules: tuple[Rule, ...]
    digest: str

    def rule_for(self, facts: SeriesFacts, stack: str = "") -> Rule | None:
        """The first rule that applies to a stack of a series; None leaves it not assessed."""
        return next((rule for rule in self.rules if rule.applies(facts, stack)), None)

    def rule(self, name: str) -> Rule | None:
        return next((rule for rule in self.rules if rule.name == name), None)


def parse_policy(text: str, source: str = "policy.toml") -> Policy:
    """Read a policy; `source` names it in errors. Raises ConfigError naming rule and key."""
    try:
        rules = _Rules(**tomllib.loads(text)).rule
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not TOML: {error}") from error
    except ValidationError as error:
        faults = (
            f"{source}: {'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors()
        )
        raise ConfigError("\n".join(faults)) from error
    names = [rule.name for rule in rules]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{source}: two rules are named {name!r}")
    return Policy(rules, hashlib.sha256(text.encode()).hexdigest())


def effective_mode(configured: Mode, rule: Rule | None, *, commissioned: bool) -> Mode:
    """The more careful of the configuration's mode and the rule's; shadow, whatever they say,
    while the rule's limits are not commissioned."""
    wanted = rule.mode if rule is not None and rule.mode is not None else configured
    if not commissioned:
        wanted = "shadow"
    return MODES[min(MODES.index(configured), MODES.index(wanted))]


def _matches(patterns: tuple[str, ...], *names: str) -> bool:
    """Whether any name fits any pattern (shell style, any case)."""
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns for name in names)
