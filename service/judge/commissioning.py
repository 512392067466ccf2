"""Commissioning: whether the limits that apply were signed off here, by a person, as they stand.

A record speaks of one scanner, one rule of the policy and one bundle. It holds while the terms that
were signed (conditions, statistic, limits) and the bundle's digest are unchanged; whoever edits the
rule or replaces the bundle is back in shadow until somebody signs again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from service.judge.policy import Mode, Rule

FREE = {"name", "mode", "primary_rank"}
"""What of a rule is no part of what is signed: how loud it is, and which series speaks."""

DECIDES = {"statistic", "meets", "unusable", "minimum_slices", "minimum_share_scored"}
"""What is written out in full, the default included."""


@dataclass(frozen=True)
class Record:
    """One sign-off. `terms` are the rule's as they were signed; `signed_at` in seconds since the
    epoch; `acquisitions` how many independent ones it was made from; `evidence` the rest, as JSON.
    """

    scanner: str
    rule: str
    bundle_digest: str
    terms: str
    signed_by: str
    signed_at: float
    acquisitions: int
    provisional: bool
    evidence: str


@dataclass(frozen=True)
class Commissioning:
    """What has been signed off, and whether it has to be before a protocol leaves shadow."""

    required: bool = True
    records: tuple[Record, ...] = ()
    """Of each scanner and rule the one signed last."""

    def record(self, rule: Rule, scanner: str, bundle_digest: str) -> Record | None:
        """The record that holds for a rule as it stands; None where there is none."""
        for one in self.records:
            if (one.scanner, one.rule, one.bundle_digest) == (scanner, rule.name, bundle_digest):
                return one if one.terms == terms(rule) else None
        return None


NOTHING_SIGNED = Commissioning()

WAIVED = Commissioning(required=False)
"""For demonstrations and tests: nothing is signed off, every report says so, and none is held."""


def terms(rule: Rule) -> str:
    """What is signed of a rule: its conditions, statistic and limits, as one line of JSON."""
    conditions = rule.model_dump(mode="json", by_alias=True, exclude=FREE, exclude_defaults=True)
    decides = rule.model_dump(mode="json", by_alias=True, include=DECIDES, exclude_none=True)
    return json.dumps(conditions | decides, sort_keys=True, ensure_ascii=False)


def hold(configured: Mode, effective: Mode, *, commissioned: bool) -> str:
    """Why a series' reports are kept back, in words; empty where they are sent."""
    if effective == "report":
        return ""
    if configured != "report":
        return f"the configuration's mode is {configured}"
    if not commissioned:
        return "its limits are not commissioned"
    return f"the policy's rule says {effective}"
