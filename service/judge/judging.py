"""The judgement: slice scores and policy in, an `Assessment` with its reason in words out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from models.limits import quantile
from service.judge.commissioning import NOTHING_SIGNED, Commissioning, Record, hold
from service.judge.evidence import (
    Assessment,
    BundleIdentity,
    Limits,
    SeriesFacts,
    SliceScore,
    StackResult,
    Verdict,
)
from service.judge.policy import MODES, Mode, Policy, Rule, effective_mode
from service.judge.statistic import evaluate

NOT_COMMISSIONED = "Limits not commissioned at this site."
_SEVERITY = (Verdict.UNUSABLE, Verdict.DOES_NOT_MEET, Verdict.MEETS)


@dataclass(frozen=True)
class _Stack:
    """Scored slices in order along the stack, and the rule for them."""

    name: str
    slices: tuple[SliceScore, ...]
    rule: Rule


def judge(
    facts: SeriesFacts,
    slices: Sequence[SliceScore],
    bundle: BundleIdentity | None,
    policy: Policy,
    *,
    configured_mode: Mode = "shadow",
    commissioning: Commissioning = NOTHING_SIGNED,
    worst_count: int = 6,
) -> Assessment:
    """Judge one series from every slice it has so far.

    `bundle` is the one that scored, None where none did. `commissioning`: what has been signed off
    here; without a record a series is in shadow, whatever the mode. A series that nothing could be
    said of is `not-assessed` with the reason, never anything better.
    """
    scored = [one for one in slices if one.score is not None]
    stacks = _stacks(facts, scored, policy)
    rules = [one.rule for one in stacks] or [
        rule for rule in [policy.rule_for(facts)] if rule is not None
    ]
    unjudged = replace(
        _standing(facts, rules, bundle, commissioning, configured_mode),
        slices_total=len(slices),
        slices_scored=len(scored),
        bundle=bundle,
        policy_digest=policy.digest,
    )
    refusal = _why_not(facts, slices, scored, stacks)
    if refusal is not None or bundle is None:
        return replace(unjudged, reason=refusal or unjudged.reason, warnings=())
    results = [_result(one, bundle) for one in stacks]
    place = min(range(len(stacks)), key=lambda i: _badness(results[i], stacks[i].rule))
    deciding, rule = results[place], stacks[place].rule
    noises = [one.noise_hu for one in scored if one.noise_hu is not None]
    ratios = [one.snr for one in scored if one.snr is not None]
    crossed = _crossed(deciding, rule)
    return replace(
        unjudged,
        verdict=deciding.verdict,
        reason=_reason(deciding, rule, len(stacks), crossed),
        borderline=crossed is not None,
        score=deciding.value,
        interval=deciding.interval,
        statistic=deciding.statistic,
        limits=deciding.limits,
        stacks=tuple(results),
        worst=tuple(sorted(scored, key=_score)[:worst_count]),
        noise_hu=quantile(noises, 0.5) if noises else None,
        snr=quantile(ratios, 0.5) if ratios else None,
        rule=rule.name,
        primary_rank=rule.primary_rank,
        warnings=(*unjudged.warnings, *_warnings(slices, scored, stacks)),
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


def _standing(
    facts: SeriesFacts,
    rules: Sequence[Rule],
    bundle: BundleIdentity | None,
    commissioning: Commissioning,
    configured: Mode,
) -> Assessment:
    """Rule, mode and commissioning of a series nothing has been said of yet. It is as outspoken as
    the most careful of its stacks' rules."""
    records = [
        None if bundle is None else commissioning.record(rule, facts.scanner, bundle.digest)
        for rule in rules
    ]
    commissioned = bool(records) and None not in records
    # what no bundle scored needs no limits: it is not assessed
    may_speak = commissioned or not commissioning.required or bundle is None
    modes = [effective_mode(configured, rule, commissioned=may_speak) for rule in rules]
    mode = min(modes, key=MODES.index, default=configured)
    return Assessment(
        Verdict.NOT_ASSESSED,
        "No bundle scored it.",
        rule=rules[0].name if rules else "",
        mode=mode,
        hold=hold(configured, mode, commissioned=may_speak),
        commissioned=commissioned,
        primary_rank=rules[0].primary_rank if rules else 0,
        warnings=_signed_words([one for one in records if one is not None])
        if commissioned
        else (NOT_COMMISSIONED,),
    )


def _signed_words(records: Sequence[Record]) -> tuple[str, ...]:
    """What has to be said of limits that were signed off on too few acquisitions."""
    few = [one.acquisitions for one in records if one.provisional]
    if not few:
        return ()
    return (f"Limits commissioned provisionally here: independent acquisitions seen: {min(few)}.",)


def _why_not(
    facts: SeriesFacts,
    slices: Sequence[SliceScore],
    scored: Sequence[SliceScore],
    stacks: Sequence[_Stack],
) -> str | None:
    """The reason a series cannot be judged, in words; None where it can."""
    reasons = Counter(one.excluded for one in slices if one.excluded)
    if not scored:
        if not reasons:
            return "The series holds no images."
        reason, count = reasons.most_common(1)[0]
        more = "" if count == len(slices) else f" ({count} of {len(slices)} slices)"
        return f"No slice was scored: {reason}{more}."
    if not stacks:
        protocol, kernel = facts.protocol_name or "not stated", facts.kernel or "not stated"
        return (
            f"No rule of the policy applies to this {facts.modality} series "
            f"(protocol {protocol}, kernel {kernel})."
        )
    if len(scored) < max(one.rule.minimum_share_scored for one in stacks) * len(slices):
        reason = reasons.most_common(1)[0][0] if reasons else "they wait"
        return f"Only {len(scored)} of {len(slices)} slices were scored; most often: {reason}."
    largest = max(stacks, key=lambda one: len(one.slices))
    if len(largest.slices) < largest.rule.minimum_slices:
        return (
            f"Only {len(scored)} scored, fewer than the {largest.rule.minimum_slices} the policy "
            "asks for."
        )
    return None


def _stacks(facts: SeriesFacts, scored: Sequence[SliceScore], policy: Policy) -> list[_Stack]:
    """The stacks that a rule applies to. Those too small to judge stand for themselves only if all
    are: then their slices are judged together."""
    groups = {
        name: tuple(sorted(members, key=_place))
        for name, members in groupby(sorted(scored, key=_stack), key=_stack)
    }
    found = [
        _Stack(name, members, rule)
        for name, members in groups.items()
        if (rule := policy.rule_for(facts, name)) is not None
    ]
    large = [one for one in found if len(one.slices) >= one.rule.minimum_slices]
    if large or not found:
        return large
    together = [one for stack in found for one in stack.slices]
    return [_Stack("", tuple(sorted(together, key=_place)), found[0].rule)]


def _result(stack: _Stack, bundle: BundleIdentity) -> StackResult:
    rule = stack.rule
    value, interval = evaluate(
        rule.statistic,
        [_score(one) for one in stack.slices],
        [one.spread for one in stack.slices if one.spread is not None],
        (bundle.score_worst, bundle.score_best),
    )
    return StackResult(
        stack=stack.name,
        slices_scored=len(stack.slices),
        value=value,
        interval=interval,
        verdict=_verdict(value, rule),
        rule=rule.name,
        statistic=rule.statistic.words,
        limits=Limits(rule.meets, rule.unusable, rule.statistic.more_is_worse),
    )


def _verdict(value: float, rule: Rule) -> Verdict:
    sign = _sign(rule)
    if rule.unusable is not None and sign * value < sign * rule.unusable:
        return Verdict.UNUSABLE
    return Verdict.MEETS if sign * value >= sign * rule.meets else Verdict.DOES_NOT_MEET


def _badness(stack: StackResult, rule: Rule) -> tuple[int, float]:
    """Orders stacks, the deciding one first: the worst verdict, then the least margin."""
    return _SEVERITY.index(stack.verdict), _sign(rule) * (stack.value - rule.meets)


def _crossed(stack: StackResult, rule: Rule) -> float | None:
    """The limit that the stack's interval crosses, the nearest to its value; None where none is."""
    if stack.interval is None:
        return None
    low, high = stack.interval
    within = [one for one in (rule.meets, rule.unusable) if one is not None and low < one < high]
    return min(within, key=lambda limit: abs(limit - stack.value), default=None)


def _reason(stack: StackResult, rule: Rule, stacks: int, crossed: float | None) -> str:
    of_stack = f" of stack {stack.stack}" if stacks > 1 and stack.stack else ""
    value = f"The {stack.statistic}{of_stack} is {stack.value:.2f}"
    more_is_worse = rule.statistic.more_is_worse
    named = rule.meets
    match stack.verdict:
        case Verdict.MEETS:
            verdict = f"{'at most' if more_is_worse else 'at least'} the limit {rule.meets:g}"
        case Verdict.UNUSABLE:
            side, named = "above" if more_is_worse else "below", rule.unusable or rule.meets
            verdict = f"{side} the limit {named:g} for unusable"
        case _:
            verdict = f"{'above' if more_is_worse else 'below'} the limit {rule.meets:g}"
    if crossed is None or stack.interval is None:
        return f"{value}, {verdict}."
    low, high = stack.interval
    limit = "it" if crossed == named else f"the limit {crossed:g}"
    return (
        f"{value}, {verdict}; borderline: its 95 % interval, {low:.2f} to {high:.2f}, "
        f"holds {limit}."
    )


def _warnings(
    slices: Sequence[SliceScore], scored: Sequence[SliceScore], stacks: Sequence[_Stack]
) -> Iterable[str]:
    excluded = Counter(one.excluded for one in slices if one.excluded)
    for reason, count in excluded.items():
        yield f"{count} of {len(slices)} slices not scored: {reason}."
    judged = sum(len(one.slices) for one in stacks)
    if judged < len(scored):
        yield (
            f"{len(scored) - judged} scored slices lie in stacks that are too small to judge, or "
            "that no rule of the policy applies to."
        )


def _sign(rule: Rule) -> float:
    return -1.0 if rule.statistic.more_is_worse else 1.0


def _score(one: SliceScore) -> float:
    return float("nan") if one.score is None else one.score


def _stack(one: SliceScore) -> str:
    return one.stack


def _place(one: SliceScore) -> tuple[float, int, str, int]:
    """Orders slices along their stack, so that neighbours are neighbours."""
    position = float("-inf") if one.position_mm is None else one.position_mm
    return position, one.instance_number or 0, one.sop_instance_uid, one.frame_number
