"""The configuration read anew: what changes at once, what waits, what is refused."""

from __future__ import annotations

import logging

import pytest

from service.config import load_settings
from service.judge.policy import parse_policy
from service.reload import LIVE, changes, reread
from service.score.role import renewed_policy

FIRST = """
mode = "report"
data_dir = "data"
[receive]
port = 1104
calling_ae_titles = ["CT1"]
"""
LATER = """
mode = "shadow"
data_dir = "data"
policy = "mine.toml"
[receive]
port = 1105
calling_ae_titles = ["CT1", "CT2"]
addresses = ["10.1.0.0/16"]
[receive.senders.CT2]
whole_series_on_one_association = true
"""
RULE = '[[rule]]\nname = "ct"\nmodality = "CT"\nmeets = {meets}\n'


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "iqgate.toml"
    path.write_text(FIRST)
    return path


def test_who_may_send_and_the_policy_change_and_nothing_else(config, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    before = load_settings(config)
    config.write_text(LATER)
    after = reread(before, lambda: load_settings(config))
    assert set(changes(before, after)) == LIVE
    assert after.receive.calling_ae_titles == ("CT1", "CT2")
    assert after.receive.addresses == ("10.1.0.0/16",)
    assert after.receive.senders["CT2"].whole_series_on_one_association
    assert after.policy == tmp_path / "mine.toml"
    assert (after.mode, after.receive.port) == ("report", 1104)
    assert "restart-needed settings=mode,receive.port" in caplog.text


def test_an_unchanged_file_changes_nothing(config, caplog):
    caplog.set_level(logging.INFO)
    before = load_settings(config)
    assert reread(before, lambda: load_settings(config)) == before
    assert "reloaded changed=nothing" in caplog.text
    assert "restart-needed" not in caplog.text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mode = ", "not TOML"),
        (FIRST + 'addresses = ["10.0.0.300/8"]', "receive.addresses"),
        (FIRST + "prot = 11", "receive.prot: is not a setting"),
    ],
)
def test_a_wrong_file_is_refused_and_the_old_one_holds(config, caplog, text, why):
    before = load_settings(config)
    config.write_text(text)
    assert reread(before, lambda: load_settings(config)) is before
    assert "reload-refused" in caplog.text
    assert why in caplog.text


def test_a_wrong_policy_is_refused_and_the_old_one_judges(config, tmp_path, caplog):
    config.write_text(FIRST.replace("[receive]", 'policy = "mine.toml"\n[receive]'))
    settings = load_settings(config)
    policy = parse_policy(RULE.format(meets=2.5), "first")
    mine = tmp_path / "mine.toml"
    assert renewed_policy(settings, policy) is policy
    assert f"{mine}: cannot be read" in caplog.text
    mine.write_text(RULE.format(meets='"high"'))
    assert renewed_policy(settings, policy) is policy
    assert "meets" in caplog.text
    mine.write_text(RULE.format(meets=3.0))
    assert renewed_policy(settings, policy).rules[0].meets == 3.0
