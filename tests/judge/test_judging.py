"""The judgement: boundaries, stacks, exclusions, alarms."""

from dataclasses import replace

import pytest

from service.judge.evidence import Verdict
from service.judge.judging import NOT_COMMISSIONED, alarming, judge, not_assessed
from service.judge.policy import parse_policy
from tests.factories import BUNDLE, facts, slices

POLICY = parse_policy(
    """
[[rule]]
name = "ct"
modality = "CT"
meets = 2.5
unusable = 1.0
"""
)


def verdict_of(*scores, policy=POLICY, **more):
    return judge(facts(**more), slices(*scores), BUNDLE, policy)


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ((2.5, 2.5, 2.5), Verdict.MEETS),
        ((2.49, 2.49, 4.0), Verdict.DOES_NOT_MEET),
        ((1.0, 1.0, 1.0), Verdict.DOES_NOT_MEET),
        ((0.99, 0.99, 0.99), Verdict.UNUSABLE),
    ],
)
def test_limits_belong_to_the_better_side(scores, verdict):
    assert verdict_of(*scores).verdict is verdict


def test_without_an_unusable_limit_nothing_is_unusable():
    policy = parse_policy('[[rule]]\nname = "ct"\nmodality = "CT"\nmeets = 2.5\n')
    assert verdict_of(0.0, 0.0, 0.0, policy=policy).verdict is Verdict.DOES_NOT_MEET


def test_the_reason_names_statistic_value_and_limit():
    assessment = verdict_of(2.0, 2.0, 2.0)
    assert assessment.reason == "The median of slice scores is 2.00, below the limit 2.5."
    assert assessment.score == pytest.approx(2.0)
    assert assessment.statistic == "median of slice scores"
    assert assessment.noise_hu == 10.0


def test_limits_nobody_commissioned_say_so():
    assert NOT_COMMISSIONED in verdict_of(3.0, 3.0, 3.0).warnings
    assert not verdict_of(3.0, 3.0, 3.0).commissioned


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ((), "holds no images"),
        ((None, None), "No slice was scored: a localizer"),
        ((3.0, None, None), "Only 1 of 3 slices were scored"),
        ((3.0, 3.0), "fewer than the 3 the policy asks for"),
    ],
)
def test_too_little_to_judge_is_not_assessed(scores, words):
    assessment = verdict_of(*scores)
    assert assessment.verdict is Verdict.NOT_ASSESSED
    assert words in assessment.reason
    assert assessment.score is None


def test_no_rule_and_no_bundle_are_not_assessed():
    assert "No rule" in verdict_of(3.0, 3.0, 3.0, modality="MR").reason
    assert judge(facts(), slices(3.0, 3.0, 3.0), None, POLICY).verdict is Verdict.NOT_ASSESSED
    assert not_assessed("Why.", POLICY).reason == "Why."


def test_excluded_slices_are_counted_in_a_warning():
    assessment = verdict_of(3.0, 3.0, 3.0, None)
    assert assessment.verdict is Verdict.MEETS
    assert "1 of 4 slices not scored: a localizer." in assessment.warnings


def test_the_worst_stack_decides():
    good, bad = slices(3.5, 3.5, 3.5, stack="a"), slices(1.5, 1.6, 1.7, stack="b")
    assessment = judge(facts(), good + bad, BUNDLE, POLICY)
    assert assessment.verdict is Verdict.DOES_NOT_MEET
    assert "of stack b" in assessment.reason
    assert [stack.stack for stack in assessment.stacks] == ["a", "b"]


def test_a_stack_too_small_to_judge_decides_nothing():
    assessment = judge(
        facts(), slices(3.5, 3.5, 3.5, stack="a") + slices(0.1, stack="b"), BUNDLE, POLICY
    )
    assert assessment.verdict is Verdict.MEETS


def test_worst_slices_come_worst_first():
    worst = judge(facts(), slices(3.0, 1.0, 2.0, 4.0), BUNDLE, POLICY, worst_count=2).worst
    assert [one.score for one in worst] == [1.0, 2.0]


def test_share_below_turns_the_limits_round():
    policy = parse_policy(
        '[[rule]]\nname = "ct"\nmodality = "CT"\nmeets = 0.2\nunusable = 0.8\n'
        'statistic = { name = "share-below", score = 2.0 }\n'
    )
    assert verdict_of(3, 3, 3, 3, 1, policy=policy).verdict is Verdict.MEETS
    assert verdict_of(3, 3, 3, 1, 1, policy=policy).verdict is Verdict.DOES_NOT_MEET
    assert verdict_of(1, 1, 1, 1, 1, policy=policy).verdict is Verdict.UNUSABLE


def test_an_interval_across_a_limit_is_borderline_and_the_reason_says_so():
    close = verdict_of(2.0, 2.2, 2.4, 2.6, 2.8, 3.0, 3.2)
    assert close.borderline
    assert "at least the limit 2.5; borderline: its 95 % interval, " in close.reason
    assert close.reason.endswith(", holds it.")
    far = verdict_of(3.0, 3.1, 3.2, 3.3, 3.4, 3.5, 3.6)
    assert not far.borderline
    assert "borderline" not in far.reason


def test_a_limit_other_than_the_verdicts_is_named():
    assessment = verdict_of(1.0, 1.1, 1.2, 1.3, 1.4, 1.0, 0.9, 1.2, 1.3, 1.1)
    assert assessment.verdict is Verdict.DOES_NOT_MEET
    assert not assessment.borderline
    unsure = [replace(one, spread=0.1) for one in slices(*[1.1] * 10)]
    borderline = judge(facts(), unsure, BUNDLE, POLICY)
    assert borderline.borderline
    assert borderline.reason.endswith(
        "below the limit 2.5; borderline: its 95 % interval, 0.90 to 1.30, holds the limit 1."
    )


def test_the_networks_doubt_makes_a_verdict_borderline():
    sure, unsure = (
        [replace(one, spread=spread) for one in slices(*[2.7] * 20)] for spread in (0.05, 0.2)
    )
    assert not judge(facts(), sure, BUNDLE, POLICY).borderline
    assert judge(facts(), unsure, BUNDLE, POLICY).borderline


def test_stacks_are_judged_by_rules_of_their_own():
    policy = parse_policy(
        '[[rule]]\nname = "diffusion"\nmodality = "CT"\nstack = "*b [1-9]*"\nmeets = 1.0\n'
        '[[rule]]\nname = "other"\nmodality = "CT"\nstack = ["axial, b 0", "axial"]\nmeets = 2.5\n'
    )
    still, weighted = (
        slices(*[2.8] * 5, stack="axial, b 0"),
        slices(*[1.5] * 5, stack="axial, b 800"),
    )
    assessment = judge(facts(), still + weighted, BUNDLE, policy)
    assert assessment.verdict is Verdict.MEETS
    assert [(one.stack, one.rule, one.limits.meets) for one in assessment.stacks] == [
        ("axial, b 0", "other", 2.5),
        ("axial, b 800", "diffusion", 1.0),
    ]
    assert assessment.rule == "other", "the least margin to its own limit decides"
    worse = judge(facts(), still + slices(*[0.5] * 5, stack="axial, b 800"), BUNDLE, policy)
    assert (worse.verdict, worse.rule) == (Verdict.DOES_NOT_MEET, "diffusion")
    assert "of stack axial, b 800" in worse.reason
    assert worse.limits.meets == 1.0


def test_a_stack_that_no_rule_names_is_told():
    policy = parse_policy(
        '[[rule]]\nname = "axial"\nmodality = "CT"\nstack = "axial*"\nmeets = 2.5\n'
    )
    both = slices(*[3.0] * 5) + slices(*[0.5] * 5, stack="sagittal")
    assessment = judge(facts(), both, BUNDLE, policy)
    assert assessment.verdict is Verdict.MEETS
    assert any("5 scored slices lie in stacks" in one for one in assessment.warnings)


def test_an_acquisition_alarms_once_on_its_primary_reconstruction():
    policy = parse_policy(
        '[[rule]]\nname = "soft"\nmodality = "CT"\nkernel = "B*"\nmeets = 2.5\nprimary_rank = 1\n'
        '[[rule]]\nname = "sharp"\nmodality = "CT"\nmeets = 2.5\nprimary_rank = 2\n'
    )
    soft, sharp = (
        lambda score: verdict_of(score, score, score, policy=policy),
        lambda score: verdict_of(score, score, score, policy=policy, kernel="YA"),
    )
    assert alarming([("1", soft(3.0)), ("2", sharp(1.0))]) is None
    assert alarming([("1", soft(1.0)), ("2", sharp(1.0))]) == "1"
    assert alarming([("2", sharp(1.0))]) == "2"
    assert alarming([("1", not_assessed("no", policy)), ("2", sharp(1.0))]) == "2"
    assert alarming([]) is None
