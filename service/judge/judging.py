"""The judgement: slice scores and policy in, an `Assessment` with its reason in words out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from service.judge.evidence import (
    Assessment,
    BundleIdentity,
    Limits,
    SeriesFacts,
    SliceScore,
    StackResult,
    Verdict,
)
from service.judge.policy import Mode, Policy, Rule, effective_mode
from service.judge.statistic import evaluate, quantile

NOT_COMMISSIONED = "Limits not commissioned at this site."
_SEVERITY = (Verdict.UNUSABLE, Verdict.DOES_NOT_MEET, Verdict.MEETS)


def judge(
    facts: SeriesFacts,
    slices: Sequence[SliceScore],
    bundle: BundleIdentity | None,
    policy: Policy,
    *,
    configured_mode: Mode = "shadow",
    worst_count: int = 6,
) -> Assessment:
    """Judge one series from every slice it has so far.

    `bundle` is the one that scored, None where none did. A series that nothing could be said of
    is `not-assessed` with the reason, never anything better.
    """
    rule = policy.rule_for(facts)
    scored = [one for one in slices if one.score is not None]
    unjudged = Assessment(
        Verdict.NOT_ASSESSED,
        "No bundle scored it.",
        slices_total=len(slices),
        slices_scored=len(scored),
        rule=rule.name if rule is not None else "",
        mode=effective_mode(configured_mode, rule),
        commissioned=rule is not None and bool(rule.commissioned_by),
        primary_rank=rule.primary_rank if rule is not None else 0,
        bundle=bundle,
        policy_digest=policy.digest,
    )
    refusal = _why_not(facts, slices, scored, rule)
    if refusal is not None or rule is None or bundle is None:
        return replace(unjudged, reason=refusal or unjudged.reason)
    stacks = _stacks(scored, rule)
    deciding = min(stacks, key=lambda stack: _badness(stack, rule))
    noises = [one.noise_hu for one in scored if one.noise_hu is not None]
    ratios = [one.snr for one in scored if one.snr is not None]
    borderline = deciding.interval is not None and any(
        deciding.interval[0] < limit < deciding.interval[1]
        for limit in (rule.meets, rule.unusable)
        if limit is not None
    )
    return replace(
        unjudged,
        verdict=deciding.verdict,
        reason=_reason(deciding, rule, len(stacks)),
        borderline=borderline,
        score=deciding.value,
        interval=deciding.interval,
        statistic=rule.statistic.words,
        limits=Limits(rule.meets, rule.unusable, rule.statistic.more_is_worse),
        stacks=tuple(stacks),
        worst=tuple(sorted(scored, key=_score)[:worst_count]),
        noise_hu=quantile(noises, 0.5) if noises else None,
        snr=quantile(ratios, 0.5) if ratios else None,
        warnings=tuple(_warnings(slices, rule)),
    )


def not_assessed(reason: str, policy: Policy) -> Assessment:
    """The assessment of a series that holds nothing to score."""
    return Assessment(Verdict.NOT_ASSESSED, reason, policy_digest=policy.digest)


def alarming(assessments: Sequence[tuple[str, Assessment]]) -> str | None:
    """Which series of one acquisition people are alarmed for, if any.

    `assessments` are (Series Instance UID, assessment) of all its reconstructions. Only the
    reconstruction the policy calls primary counts: one bad acquisition is one alarm.
    """
    judged = [one for one in assessments if one[1].verdict is not Verdict.NOT_ASSESSED]
    if not judged:
        return None
    uid, primary = min(judged, key=lambda one: (one[1].primary_rank, one[0]))
    return uid if primary.verdict in (Verdict.DOES_NOT_MEET, Verdict.UNUSABLE) else None


def _why_not(
    facts: SeriesFacts,
    slices: Sequence[SliceScore],
    scored: Sequence[SliceScore],
    rule: Rule | None,
) -> str | None:
    """The reason a series cannot be judged, in words; None where it can."""
    reasons = Counter(one.excluded for one in slices if one.excluded)
    if not scored:
        if not reasons:
            return "The series holds no images."
        reason, count = reasons.most_common(1)[0]
        more = "" if count == len(slices) else f" ({count} of {len(slices)} slices)"
        return f"No slice was scored: {reason}{more}."
    if rule is None:
        protocol, kernel = facts.protocol_name or "not stated", facts.kernel or "not stated"
        return (
            f"No rule of the policy applies to this {facts.modality} series "
            f"(protocol {protocol}, kernel {kernel})."
        )
    if len(scored) < rule.minimum_share_scored * len(slices):
        reason = reasons.most_common(1)[0][0]
        return f"Only {len(scored)} of {len(slices)} slices were scored; most often: {reason}."
    if len(scored) < rule.minimum_slices:
        return (
            f"Only {len(scored)} scored, fewer than the {rule.minimum_slices} the policy asks for."
        )
    return None


def _stacks(scored: Sequence[SliceScore], rule: Rule) -> list[StackResult]:
    """Statistics per stack; stacks too small to judge stand for themselves only if all are."""
    groups = {
        stack: [_score(one) for one in members]
        for stack, members in groupby(sorted(scored, key=_stack), key=_stack)
    }
    large = {name: one for name, one in groups.items() if len(one) >= rule.minimum_slices}
    results = []
    for name, scores in (large or {"": [_score(one) for one in scored]}).items():
        value, interval = evaluate(rule.statistic, scores)
        results.append(StackResult(name, len(scores), value, interval, _verdict(value, rule)))
    return results


def _verdict(value: float, rule: Rule) -> Verdict:
    sign = -1.0 if rule.statistic.more_is_worse else 1.0
    if rule.unusable is not None and sign * value < sign * rule.unusable:
        return Verdict.UNUSABLE
    return Verdict.MEETS if sign * value >= sign * rule.meets else Verdict.DOES_NOT_MEET


def _badness(stack: StackResult, rule: Rule) -> tuple[int, float]:
    """Orders stacks, the deciding one first."""
    value = -stack.value if rule.statistic.more_is_worse else stack.value
    return _SEVERITY.index(stack.verdict), value


def _reason(stack: StackResult, rule: Rule, stacks: int) -> str:
    of_stack = f" of stack {stack.stack}" if stacks > 1 and stack.stack else ""
    value = f"The {rule.statistic.words}{of_stack} is {stack.value:.2f}"
    more_is_worse = rule.statistic.more_is_worse
    match stack.verdict:
        case Verdict.MEETS:
            return (
                f"{value}, {'at most' if more_is_worse else 'at least'} the limit {rule.meets:g}."
            )
        case Verdict.UNUSABLE:
            side = "above" if more_is_worse else "below"
            return f"{value}, {side} the limit {rule.unusable:g} for unusable."
        case _:
            return f"{value}, {'above' if more_is_worse else 'below'} the limit {rule.meets:g}."


def _warnings(slices: Sequence[SliceScore], rule: Rule) -> list[str]:
    warnings = [] if rule.commissioned_by else [NOT_COMMISSIONED]
    excluded = Counter(one.excluded for one in slices if one.excluded)
    warnings += [
        f"{count} of {len(slices)} slices not scored: {reason}."
        for reason, count in excluded.items()
    ]
    return warnings


def _score(one: SliceScore) -> float:
    return float("nan") if one.score is None else one.score


def _stack(one: SliceScore) -> str:
    return one.stack
