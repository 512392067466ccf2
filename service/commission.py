"""`iqgate commission`: from what shadow mode has gathered to limits that somebody signed off."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from models import proposal_text
from models.limits import INDEPENDENT_NEEDED
from models.proposal import Budget, JudgedSeries, Proposal, proposals
from service.config import Settings
from service.errors import ConfigError
from service.judge.commissioning import Record, terms
from service.judge.evidence import Assessment, BundleIdentity, SeriesFacts
from service.judge.judging import judge
from service.judge.policy import Policy, Rule
from service.ledger import commissioning
from service.ledger.database import Database
from service.score.bundles import served_bundles
from service.score.scorer import identity

DEFAULT_BUDGET = Budget(share=0.02)


def judged(facts: SeriesFacts, assessment: Assessment) -> list[JudgedSeries]:
    """What a series says for commissioning: of each rule that its stacks were judged by, the
    value that lies worst against the limit. Empty where it was not assessed."""
    bundle = assessment.bundle
    if assessment.score is None or bundle is None:
        return []
    worst: dict[str, tuple[float, JudgedSeries]] = {}
    for stack in assessment.stacks:
        limits = stack.limits
        if limits is None:
            continue
        margin = (stack.value - limits.meets) * (-1 if limits.more_is_worse else 1)
        if stack.rule in worst and worst[stack.rule][0] <= margin:
            continue
        worst[stack.rule] = (
            margin,
            JudgedSeries(
                series=facts.series_instance_uid,
                study=facts.study_instance_uid,
                acquisition=facts.acquisition,
                scanner=facts.scanner,
                modality=facts.modality,
                protocol=facts.protocol_name or facts.series_description,
                day=facts.acquired_at[:8] if facts.acquired_at[:8].isdecimal() else "",
                rule=stack.rule,
                statistic=stack.statistic,
                more_is_worse=limits.more_is_worse,
                meets=limits.meets,
                value=stack.value,
                bundle=bundle.name,
                bundle_version=bundle.version,
                bundle_digest=bundle.digest,
            ),
        )
    return [one for _, one in worst.values()]


@dataclass(frozen=True)
class Gathered:
    """What limits can be proposed from. `rejected`: how many series were left out because people
    rejected all their images; the scores of those are labels, and no clean acquisitions."""

    series: tuple[JudgedSeries, ...]
    rejected: int


def gather(database: Database, policy: Policy, served: Mapping[str, BundleIdentity]) -> Gathered:
    """Every closed series, judged anew by the policy as it stands now, from the slice scores in
    the ledger: limits can be tried without waiting for new series.

    served: the bundles that are installed, by digest; what another one scored tells nothing.
    """
    counted: list[JudgedSeries] = []
    rejected = 0
    for seen in commissioning.gathered(database):
        known = sorted(seen.bundle_digests & served.keys())
        if known and seen.bundle_digests <= served.keys():
            of_it = judged(seen.facts, judge(seen.facts, seen.slices, served[known[0]], policy))
            rejected += bool(seen.rejected and of_it)
            counted += [] if seen.rejected else of_it
    return Gathered(tuple(counted), rejected)


def served(settings: Settings) -> dict[str, BundleIdentity]:
    """The bundles that score here, by digest. Raises ConfigError as the score role does."""
    bundles = served_bundles(settings.bundles, settings.score.serve)
    return {one.digest: identity(one) for one in bundles}


def page(found: Gathered, budget: Budget, policy: Path, without: Sequence[str] = ()) -> str:
    """Distributions, proposed limits, and the rules to copy. policy: the file that they were
    judged by; without: series that somebody looked at and found bad."""
    proposed = proposals(found.series, budget, without)
    tables = tomllib.loads(policy.read_text("utf-8"))
    rules = proposal_text.rules(proposed, tables, budget)
    shown = proposal_text.page(proposed, budget)
    if found.rejected:
        series = "1 series" if found.rejected == 1 else f"{found.rejected} series"
        shown += f"\n\nLeft out: {series} of which every image was rejected by people."
    if not rules:
        return shown
    return f"{shown}\n\nFor policy.toml, above the rules they come from:\n\n{rules}"


def sign(
    database: Database,
    policy: Policy,
    served: Mapping[str, BundleIdentity],
    *,
    rule_name: str,
    scanner: str,
    by: str,
    now: float,
) -> Record:
    """Write the record of one scanner, one rule and the bundle that scored its series.

    Raises ConfigError naming what is missing: the rule, who signs, acquisitions to sign on.
    """
    rule = policy.rule(rule_name)
    if rule is None:
        known = ", ".join(one.name for one in policy.rules)
        raise ConfigError(f"--rule {rule_name}: no such rule in the policy; it has {known}")
    name, _, role = by.partition(",")
    if not name.strip() or not role.strip():
        raise ConfigError(f'--by {by!r}: give name and role, as "A. Physicist, medical physicist"')
    found = proposals(gather(database, policy, served).series, DEFAULT_BUDGET)
    basis = [one for one in found if (one.scanner, one.rule) == (scanner, rule_name)]
    if not basis:
        seen = "\n".join(f"  --rule {one.rule} --scanner {one.scanner!r}" for one in found)
        raise ConfigError(
            f"no acquisition of scanner {scanner!r} has been judged by rule {rule_name!r} and a "
            f"bundle served here; there are\n{seen or '  none at all'}"
        )
    # two bundles of one modality: the one with more behind it is the one that scores now
    chosen = max(basis, key=lambda one: one.acquisitions)
    record = _record(chosen, rule, by.strip(), now)
    commissioning.sign(database, record)
    return record


def _record(basis: Proposal, rule: Rule, by: str, now: float) -> Record:
    evidence = {
        "bundle": f"{basis.bundle} {basis.bundle_version}",
        "statistic": basis.statistic,
        "series_acquisitions": basis.acquisitions,
        "studies": basis.studies,
        "days": basis.days,
        "quantiles": {str(share): value for share, value in basis.quantiles.items()},
        "meets": basis.meets,
        "alarms": basis.current.alarms,
        "alarm_rate_95": basis.current.interval,
        "acquisitions_per_day": basis.per_day,
    }
    return Record(
        scanner=basis.scanner,
        rule=basis.rule,
        bundle_digest=basis.bundle_digest,
        terms=terms(rule),
        signed_by=by,
        signed_at=now,
        acquisitions=min(basis.acquisitions, basis.studies),
        provisional=basis.provisional,
        evidence=json.dumps(evidence),
    )


def record_lines(record: Record, standing: str) -> list[str]:
    """A record as people read it."""
    evidence = json.loads(record.evidence)
    low, high = evidence["alarm_rate_95"]
    alarms = "1 alarm" if evidence["alarms"] == 1 else f"{evidence['alarms']} alarms"
    when = datetime.fromtimestamp(record.signed_at).astimezone().isoformat(timespec="minutes")
    lines = [
        f"{record.scanner}: rule {record.rule}, {standing}",
        f"  signed    {when} by {record.signed_by}",
        f"  bundle    {evidence['bundle']} ({record.bundle_digest[:12]})",
        f"  terms     {record.terms}",
        f"  evidence  {alarms} in {evidence['series_acquisitions']} "
        f"acquisitions of {evidence['studies']} studies at the limit {evidence['meets']:g}: "
        f"95 % {100 * low:.1f} to {100 * high:.1f} %",
    ]
    if record.provisional:
        lines.append(
            f"  PROVISIONAL: {record.acquisitions} independent acquisitions, fewer than "
            f"{INDEPENDENT_NEEDED}; every report says so"
        )
    return lines


def listing(database: Database, policy: Policy, served: Mapping[str, BundleIdentity]) -> list[str]:
    """Every record, and whether it holds."""
    records = commissioning.records(database)
    lines = [line for one in records for line in record_lines(one, standing(one, policy, served))]
    count = "1 record" if len(records) == 1 else f"{len(records)} records"
    return [*lines, f"{count}; a protocol without one that holds stays in shadow"]


def standing(record: Record, policy: Policy, served: Mapping[str, BundleIdentity]) -> str:
    """Whether a record holds, and if not, why."""
    rule = policy.rule(record.rule)
    if rule is None:
        return "VOID: the policy has no such rule any more"
    if record.terms != terms(rule):
        return "VOID: the rule was changed since"
    if record.bundle_digest not in served:
        return "VOID: its bundle is not served any more"
    return "holds"
