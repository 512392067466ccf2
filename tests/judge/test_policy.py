"""The policy file: which rule applies, and errors that name rule and key."""

import pytest

from service.config import packaged
from service.errors import ConfigError
from service.judge.policy import effective_mode, parse_policy
from tests.factories import facts


def test_the_packaged_policy_has_a_rule_for_every_ct():
    policy = parse_policy(packaged("policy.toml").read_text("utf-8"))
    assert policy.rule_for(facts()).name == "ct"
    assert policy.rule_for(facts(age_years=4.0)).name == "ct-paediatric"
    assert policy.rule_for(facts(protocol_name="PET CTAC")).name == "ct-attenuation-correction"
    assert policy.rule_for(facts(modality="US")) is None


def test_conditions_hold_together():
    policy = parse_policy(
        '[[rule]]\nname = "thin"\nmodality = "CT"\nmeets = 1\nprotocol = "*CHEST*"\n'
        'kernel = "b*"\nslice_thickness_mm = { to = 1.5 }\nage_years = { from = 16 }\n'
    )
    assert policy.rule_for(facts()).name == "thin"
    assert policy.rule_for(facts(kernel="YA")) is None
    assert policy.rule_for(facts(slice_thickness_mm=1.5)) is None
    assert policy.rule_for(facts(slice_thickness_mm=None)) is None
    assert policy.rule_for(facts(age_years=15.9)) is None
    assert policy.rule_for(facts(protocol_name="Head", series_description="chest")).name == "thin"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rule = 3", "rule"),
        ('[[rule]]\nname = "x"\nmodality = "US"\nmeets = 1', "rule.0.modality"),
        ('[[rule]]\nname = "x"\nmodality = "CT"', "rule.0.meets"),
        ('[[rule]]\nname = "x"\nmodality = "CT"\nmeets = 1\nmeats = 1', "rule.0.meats"),
        ('[[rule]]\nname = "x"\nmodality = "CT"\nmeets = 1\nunusable = 2', "worse side"),
        (
            '[[rule]]\nname = "x"\nmodality = "CT"\nmeets = 1\nstatistic = { name = "percentile" }',
            "percent goes with",
        ),
        ('[[rule]]\nname = "x"\nmodality = "CT"\nmeets = 1\n' * 2, "two rules are named 'x'"),
        ("[[rule", "not TOML"),
    ],
)
def test_a_wrong_policy_is_named(text, words):
    with pytest.raises(ConfigError, match=r"site\.toml") as caught:
        parse_policy(text, "site.toml")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("configured", "ruled", "mode"),
    [
        ("shadow", "report", "shadow"),
        ("report", "shadow", "shadow"),
        ("report", None, "report"),
        ("notify", "report", "notify"),
    ],
)
def test_the_more_careful_mode_holds(configured, ruled, mode):
    text = '[[rule]]\nname = "x"\nmodality = "CT"\nmeets = 1\n'
    if ruled:
        text += f'mode = "{ruled}"\n'
    assert effective_mode(configured, parse_policy(text).rules[0]) == mode
    assert effective_mode(configured, None) == configured
