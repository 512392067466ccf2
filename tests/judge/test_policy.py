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


@pytest.mark.parametrize(
    ("facts_of", "rule"),
    [
        ({"age_years": 0.0}, "ct-paediatric"),
        ({"age_years": 15.99}, "ct-paediatric"),
        ({"age_years": 16.0}, "ct"),
        ({"age_years": None}, "ct"),
        ({"age_years": None, "protocol_name": "Neonatal chest"}, "ct-paediatric-by-protocol"),
        ({"age_years": 4.0, "protocol_name": "CTAC"}, "ct-paediatric"),
        ({"series_description": "CTAC 3.75"}, "ct-attenuation-correction"),
        ({"series_description": "CT AC"}, "ct-attenuation-correction"),
        ({"protocol_name": "6.1 WMC_PET_CT_WBS_2D_"}, "ct-attenuation-correction"),
        ({"protocol_name": "Thorac CT acute"}, "ct"),
    ],
)
def test_the_packaged_policy_sorts_children_and_attenuation_correction(facts_of, rule):
    policy = parse_policy(packaged("policy.toml").read_text("utf-8"))
    assert policy.rule_for(facts(**facts_of)).name == rule


@pytest.mark.parametrize(
    ("protocol", "rule"),
    [
        ("t2_tse_tra", "mr"), ("Accelerated SAG IR-SPGR", "mr"), ("tfl_dyn_fast_tra", "mr"),
        ("ep2d_diff_tra_DYNDIST", "mr-diffusion"), ("Ax DWI b1000", "mr-diffusion"),
        ("resolve_4scan_trace", "mr-diffusion"), ("DTI 64 dir", "mr-diffusion"),
    ],
)  # fmt: skip
def test_the_packaged_policy_has_limits_of_its_own_for_diffusion(protocol, rule):
    policy = parse_policy(packaged("policy.toml").read_text("utf-8"))
    assert policy.rule_for(facts(modality="MR", protocol_name=protocol)).name == rule


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
    ("configured", "ruled", "commissioned", "mode"),
    [
        ("shadow", "report", True, "shadow"),
        ("report", "shadow", True, "shadow"),
        ("report", None, True, "report"),
        ("notify", "report", True, "notify"),
        ("report", "report", False, "shadow"),
        ("notify", None, False, "shadow"),
    ],
)
def test_the_most_careful_mode_holds(configured, ruled, commissioned, mode):
    text = '[[rule]]\nname = "x"\nmodality = "CT"\nmeets = 1\n'
    if ruled:
        text += f'mode = "{ruled}"\n'
    rule = parse_policy(text).rules[0]
    assert effective_mode(configured, rule, commissioned=commissioned) == mode
    assert effective_mode(configured, None, commissioned=True) == configured


def test_patterns_may_be_lists_and_name_scanner_body_part_and_stack():
    policy = parse_policy(
        '[[rule]]\nname = "x"\nmodality = "CT"\nmeets = 1\nscanner = "maker*12345"\n'
        'protocol = ["*lung*", "*chest*"]\nbody_part = ["CHEST", ""]\nstack = "axial*"\n'
    )
    assert policy.rule_for(facts(), "axial, b 0").name == "x"
    assert policy.rule_for(facts(), "sagittal") is None
    assert policy.rule_for(facts(device_serial_number="9"), "axial") is None
    assert policy.rule_for(facts(body_part="HEAD"), "axial") is None
    assert policy.rule_for(facts(protocol_name="Abdomen"), "axial") is None


def test_commissioned_by_says_where_it_went():
    text = '[[rule]]\nname = "x"\nmodality = "CT"\nmeets = 1\ncommissioned_by = "A. Physicist"\n'
    with pytest.raises(ConfigError, match="iqgate commission sign"):
        parse_policy(text)
