"""Proposed limits: which values count, where the limit comes to lie, what is printed."""

import tomllib
from dataclasses import replace

import pytest

from models.limits import alarm_rate
from models.proposal import Budget, JudgedSeries, one_an_acquisition, proposals
from models.proposal_text import page, rules

SHARE = Budget(share=0.02)
ONE = JudgedSeries(
    series="1.1",
    study="1",
    acquisition="1.9/20260101",
    scanner="Maker Model [7]",
    modality="CT",
    protocol="Chest",
    day="20260101",
    rule="ct",
    statistic="median of slice scores",
    more_is_worse=False,
    meets=2.5,
    value=3.0,
    bundle="ct-test",
    bundle_version="1.0",
    bundle_digest="b" * 64,
)
POLICY = {
    "rule": [
        {
            "name": "ct",
            "modality": "CT",
            "protocol": ["*chest*"],
            "statistic": {"name": "median"},
            "meets": 2.5,
            "unusable": 2.0,
        }
    ]
}


def acquisitions(values, *, days=10, **changes):
    """One study, one acquisition, one series for each value."""
    return [
        replace(
            ONE,
            series=f"1.{n}.1",
            study=f"1.{n}",
            acquisition=f"1.{n}.9",
            day=f"202601{1 + n % days:02d}",
            value=value,
            **changes,
        )
        for n, value in enumerate(values)
    ]


def spaced(n, low=2.0, high=4.0):
    return [low + (high - low) * i / (n - 1) for i in range(n)]


def test_two_reconstructions_of_an_acquisition_are_one_value():
    soft, thin = replace(ONE, series="1.2", value=3.5), replace(ONE, series="1.1", value=2.9)
    assert one_an_acquisition([soft, thin]) == [thin]
    assert len(one_an_acquisition([soft, replace(thin, rule="other")])) == 2


def test_the_limit_lets_the_budgets_share_alarm():
    (one,) = proposals(acquisitions(spaced(201)), SHARE)
    assert one.acquisitions == one.studies == 201
    assert not one.provisional
    assert one.limit == pytest.approx(2.04), "four of 201 values lie below"
    assert one.expected.alarms == 4
    assert one.interval[0] == pytest.approx(2.0)
    assert one.interval[1] == pytest.approx(2.08)
    assert one.current == alarm_rate(50, 201)
    assert one.per_day == pytest.approx(20.1)


def test_a_budget_a_day_is_shared_by_the_scanners_rules():
    chest = acquisitions(spaced(100))
    head = [
        replace(one, rule="head", series=f"2.{one.series}", acquisition=f"2.{one.acquisition}")
        for one in chest
    ]
    found = proposals([*chest, *head], Budget(per_day=1.0))
    assert [one.share for one in found] == [pytest.approx(0.05)] * 2, "20 acquisitions a day"
    assert sum(one.expected.alarms for one in found) == 10, "one on each of ten days"


def test_series_found_bad_are_left_out_and_the_worst_are_named():
    (one,) = proposals(acquisitions(spaced(201)), SHARE, without=["1.0.1", "1.2.1"])
    assert one.acquisitions == 199
    assert [series for _, series in one.worst] == ["1.1.1", "1.3.1", "1.4.1", "1.5.1", "1.6.1"]
    text = page([one], SHARE)
    assert "look at first  2.01  1.1.1" in text
    assert "more lenient than the limit now" in text


def test_too_few_studies_are_provisional_and_leave_the_limit_open():
    (one,) = proposals(acquisitions(spaced(60)), SHARE)
    assert one.provisional
    assert one.interval[0] is None
    assert one.expected.alarms == 1


def test_acquisitions_of_one_study_are_no_independent_ones():
    many = [replace(one, study=f"1.{n // 2}") for n, one in enumerate(acquisitions(spaced(200)))]
    (one,) = proposals(many, SHARE)
    assert (one.acquisitions, one.studies) == (200, 100)
    assert one.provisional
    assert one.current.interval == alarm_rate(50, 200, 100).interval


def test_a_share_of_slices_has_its_bad_end_at_the_top():
    found = acquisitions(spaced(100, 0.0, 1.0), more_is_worse=True)
    (one,) = proposals([replace(each, meets=0.9) for each in found], Budget(share=0.05))
    assert one.limit == pytest.approx(0.95)
    assert one.expected.alarms == 5
    assert one.current.alarms == 10
    assert one.quantiles[0.05] > one.quantiles[0.95]


def test_without_days_a_budget_a_day_proposes_nothing():
    (one,) = proposals(acquisitions(spaced(20), days=1), Budget(per_day=0.5))
    assert one.limit is not None
    (one,) = proposals(
        [replace(each, day="") for each in acquisitions(spaced(20))], Budget(per_day=0.5)
    )
    assert one.limit is None
    assert "give a share instead" in page([one], Budget(per_day=0.5))


def test_the_page_names_scanner_rule_figures_and_what_is_provisional():
    text = page(proposals(acquisitions(spaced(60)), SHARE), SHARE)
    assert "Maker Model [7]" in text
    assert "rule ct (CT): median of slice scores, ct-test 1.0 (bbbbbbbbbbbb)" in text
    assert "60 of 60 studies on 10 days, 6.0 a day" in text
    assert "limit now      2.5: 15 alarms in 60 = 25.0 % (95 % 14.7 to 37.9 %)" in text
    assert "95 % interval of the limit not bounded to " in text
    assert "PROVISIONAL" in text
    assert "No acquisition" in page([], SHARE)


def test_the_rules_are_policy_with_the_scanner_named():
    text = rules(proposals(acquisitions(spaced(201)), SHARE), POLICY, SHARE)
    (rule,) = tomllib.loads(text)["rule"]
    assert rule == {
        "name": "ct-maker-model-7",
        "modality": "CT",
        "protocol": ["*chest*"],
        "statistic": {"name": "median"},
        "meets": 2.04,
        "unusable": 2.0,
        "scanner": "Maker Model [[]7]",
    }
    again = proposals(acquisitions(spaced(201), rule="ct-maker-model-7"), SHARE)
    text = rules(again, {"rule": [rule]}, SHARE)
    assert tomllib.loads(text)["rule"][0]["name"] == "ct-maker-model-7"


def test_an_unusable_limit_that_is_no_longer_beyond_is_left_out():
    text = rules(proposals(acquisitions(spaced(60, 1.0, 3.0)), SHARE), POLICY, SHARE)
    assert "unusable" not in tomllib.loads(text)["rule"][0]
    assert "# unusable = 2 no longer lies beyond meets" in text
    assert "PROVISIONAL" in text
