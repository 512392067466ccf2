"""Sign-offs: which record holds, and what a series may do without one."""

import pytest

from service.judge.commissioning import WAIVED, Commissioning, Record, terms
from service.judge.judging import NOT_COMMISSIONED, judge
from service.judge.policy import parse_policy
from tests.factories import BUNDLE, facts, slices

RULE = '[[rule]]\nname = "ct"\nmodality = "CT"\nmeets = 2.5\n'
POLICY = parse_policy(RULE)


def record(policy=POLICY, **changes):
    values = {
        "scanner": facts().scanner,
        "rule": "ct",
        "bundle_digest": BUNDLE.digest,
        "terms": terms(policy.rules[0]),
        "signed_by": "A. Physicist, MPE",
        "signed_at": 1000.0,
        "acquisitions": 200,
        "provisional": False,
        "evidence": "{}",
    }
    return Record(**{**values, **changes})


def judged(*records, policy=POLICY, mode="report", **changes):
    commissioning = Commissioning(records=records)
    return judge(
        facts(**changes),
        slices(*[3.0] * 5),
        BUNDLE,
        policy,
        configured_mode=mode,
        commissioning=commissioning,
    )


def test_without_a_record_a_series_stays_in_shadow():
    assessment = judged()
    assert assessment.mode == "shadow"
    assert assessment.hold == "its limits are not commissioned"
    assert NOT_COMMISSIONED in assessment.warnings


def test_with_its_record_it_speaks():
    assessment = judged(record())
    assert (assessment.mode, assessment.hold, assessment.commissioned) == ("report", "", True)
    assert assessment.warnings == ()


@pytest.mark.parametrize(
    "changes",
    [{"scanner": "Other Model 1"}, {"rule": "other"}, {"bundle_digest": "c" * 64}],
)
def test_a_record_for_something_else_does_not_count(changes):
    assert judged(record(**changes)).mode == "shadow"


@pytest.mark.parametrize(
    "edit",
    [
        ("2.5", "2.4"),
        ('name = "ct"', 'name = "ct"\nstatistic = { name = "percentile", percent = 10 }'),
        ('name = "ct"', 'name = "ct"\nkernel = "B*"'),
        ('name = "ct"', 'name = "ct"\nunusable = 1'),
        ('name = "ct"', 'name = "ct"\nminimum_slices = 2'),
    ],
)
def test_terms_that_were_changed_void_the_record(edit):
    assert judged(record(), policy=parse_policy(RULE.replace(*edit))).mode == "shadow"


@pytest.mark.parametrize("more", ['mode = "report"\n', "primary_rank = 1\n", "# a comment\n"])
def test_what_is_not_signed_may_change(more):
    assert judged(record(), policy=parse_policy(RULE + more)).mode == "report"


def test_a_record_makes_no_mode_bolder():
    assert judged(record(), mode="shadow").hold == "the configuration's mode is shadow"
    policy = parse_policy(RULE + 'mode = "notify"\n')
    assert judged(record(), policy=policy).hold == "the policy's rule says notify"


def test_every_stacks_rule_needs_its_record():
    policy = parse_policy(
        '[[rule]]\nname = "a"\nmodality = "CT"\nstack = "a"\nmeets = 2.5\n'
        '[[rule]]\nname = "b"\nmodality = "CT"\nmeets = 2.5\n'
    )
    both = slices(*[3.0] * 4, stack="a") + slices(*[3.0] * 4, stack="b")
    signed = [record(rule=one.name, terms=terms(one)) for one in policy.rules]
    modes = [
        judge(
            facts(), both, BUNDLE, policy, configured_mode="report",
            commissioning=Commissioning(records=tuple(signed[:count])),
        ).mode
        for count in (1, 2)
    ]  # fmt: skip
    assert modes == ["shadow", "report"]


def test_limits_signed_on_few_acquisitions_say_how_many():
    assessment = judged(record(provisional=True, acquisitions=23))
    assert assessment.mode == "report"
    assert assessment.warnings == (
        "Limits commissioned provisionally here: independent acquisitions seen: 23.",
    )


def test_where_it_is_waived_reports_go_and_say_so():
    assessment = judge(
        facts(), slices(*[3.0] * 5), BUNDLE, POLICY, configured_mode="report", commissioning=WAIVED
    )
    assert assessment.mode == "report"
    assert NOT_COMMISSIONED in assessment.warnings
