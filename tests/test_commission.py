"""`iqgate commission`: from a ledger that shadow mode filled to a record that lets reports out."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text

from models.card import load_bundles
from service import commission
from service.__main__ import main
from service.config import Settings, load_settings
from service.judge.commissioning import Commissioning
from service.judge.judging import judge
from service.judge.policy import parse_policy
from service.ledger import closing, commissioning, labels, scoring
from service.ledger.database import Database
from service.ledger.issuing import Issue
from service.ledger.labels import RejectionNote
from service.ledger.scoring import FrameOutcome
from service.score.scorer import identity
from tests.factories import facts, receive, slices

POLICY = '[[rule]]\nname = "ct"\nmodality = "CT"\nmeets = 2.5\n'


@pytest.fixture
def gate(tmp_path):
    """The configuration of a gate whose ledger is empty."""
    (tmp_path / "policy.toml").write_text(POLICY)
    path = tmp_path / "gate.toml"
    path.write_text('mode = "report"\ndata_dir = "data"\npolicy = "policy.toml"\n')
    main(["db", "upgrade", "--config", str(path)])
    return path


@pytest.fixture
def ledger(gate):
    database = Database(load_settings(gate).database_url)
    yield database
    database.dispose()


@pytest.fixture(scope="module")
def bundle():
    folder = Settings(mode="shadow", data_dir="unused").bundles
    return identity(next(one for one in load_bundles(folder) if one.card.modality == "CT"))


def fill(database, bundle, *scores, scanner="12345", digest=None):
    """A closed series of five slices for each score, each a study and an acquisition of its own."""
    for number, score in enumerate(scores):
        study = f"1.2.{scanner}.{number}"
        of_series = facts(
            series_instance_uid=f"{study}.1",
            study_instance_uid=study,
            device_serial_number=scanner,
            acquired_at=f"202601{1 + number % 20:02d}080000",
        )
        for slice_number in range(1, 6):
            receive(
                database,
                slice_number,
                facts=of_series,
                sha256=f"{scanner}{number:030d}{slice_number:029d}",
            )
        claim = scoring.claim(database, limit=16, lease_s=60, max_attempts=3, now=1.0)
        outcomes = [
            FrameOutcome(
                frame_id=frame.frame_id, stack="axial", position_mm=float(frame.frame_id),
                score=score, spread=None, noise_hu=9.0, snr=None, level=None, drawn_at_level=None,
                bundle_digest=digest or bundle.digest, excluded=None, thumbnail=None,
            )
            for frame in claim.frames
        ]  # fmt: skip
        (series_id,) = scoring.store(database, claim, outcomes, thumbnails_kept=0, now=1.0)
        seen = closing.snapshot(database, series_id)
        closing.close(
            database,
            seen,
            judge(seen.facts, seen.slices, bundle, parse_policy(POLICY)),
            [],
            Issue((), held=""),
            report_study=False,
            now=2.0,
        )


def run(gate, capsys, *arguments):
    status = main(["commission", *arguments, "--config", str(gate)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_an_empty_ledger_says_so(gate, capsys):
    status, out, _ = run(gate, capsys)
    assert status == 0
    assert "No acquisition has been judged" in out


def test_what_was_gathered_is_shown_by_scanner_with_rules_to_copy(gate, ledger, bundle, capsys):
    fill(ledger, bundle, *[2.0 + n / 20 for n in range(40)])
    fill(ledger, bundle, 3.0, 3.2, scanner="777")
    _, out, _ = run(gate, capsys, "--share", "0.1")
    assert "Maker Model 12345" in out
    assert "40 of 40 studies on 20 days, 2.0 a day" in out
    assert "limit now      2.5: 10 alarms in 40 = 25.0 %" in out
    assert "proposed       2.20 for 10 % of acquisitions" in out
    assert "PROVISIONAL" in out
    text = out.partition("For policy.toml")[2].partition("\n\n")[2]
    rules = parse_policy(text).rules
    assert [(one.name, one.meets) for one in rules] == [
        ("ct-maker-model-12345", 2.2),
        ("ct-maker-model-777", 3.0),
    ]


def test_series_are_judged_anew_by_the_policy_as_it_stands(gate, ledger, bundle, capsys):
    fill(ledger, bundle, 3.0, 2.0)
    gate.with_name("policy.toml").write_text(POLICY.replace("2.5", "1.5"))
    _, out, _ = run(gate, capsys)
    assert "limit now      1.5: 0 alarms in 2" in out


def test_what_another_bundle_scored_tells_nothing(gate, ledger, bundle, capsys):
    fill(ledger, bundle, 3.0, digest="c" * 64)
    assert "No acquisition" in run(gate, capsys)[1]


def test_a_signature_is_recorded_with_its_evidence_and_holds(gate, ledger, bundle, capsys):
    fill(ledger, bundle, 3.0, 2.0, 3.5)
    arguments = ["--rule", "ct", "--scanner", "Maker Model 12345", "--by", "A. Curie, physicist"]
    status, out, _ = run(gate, capsys, "sign", *arguments)
    assert status == 0
    assert "rule ct, holds" in out
    assert "by A. Curie, physicist" in out
    assert "1 alarm in 3 acquisitions of 3 studies at the limit 2.5" in out
    assert "PROVISIONAL: 3 independent acquisitions" in out
    (record,) = commissioning.records(ledger)
    assert (record.bundle_digest, record.acquisitions, record.provisional) == (
        bundle.digest, 3, True,
    )  # fmt: skip
    assert json.loads(record.evidence)["alarms"] == 1
    seen = closing.snapshot(ledger, 1)
    held = Commissioning(records=commissioning.records(ledger, seen.facts.scanner))
    assessment = judge(
        seen.facts, seen.slices, bundle, parse_policy(POLICY),
        configured_mode="report", commissioning=held,
    )  # fmt: skip
    assert (assessment.mode, assessment.commissioned) == ("report", True)
    gate.with_name("policy.toml").write_text(POLICY.replace("2.5", "2.4"))
    assert "rule ct, VOID: the rule was changed since" in run(gate, capsys, "list")[1]


def test_the_last_signature_counts(gate, ledger, bundle, capsys):
    fill(ledger, bundle, 3.0)
    arguments = ["sign", "--rule", "ct", "--scanner", "Maker Model 12345", "--by"]
    run(gate, capsys, *arguments, "A. Curie, physicist")
    run(gate, capsys, *arguments, "B. Meitner, physicist")
    (record,) = commissioning.records(ledger)
    assert record.signed_by == "B. Meitner, physicist"
    assert commissioning.records(ledger, "Other") == ()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rule", "ct", "--scanner", "x"], "needs --by"),
        (
            ["--rule", "no", "--scanner", "x", "--by", "A, b"],
            "no such rule in the policy; it has ct",
        ),
        (["--rule", "ct", "--scanner", "x", "--by", "A. Curie"], "give name and role"),
        (
            ["--rule", "ct", "--scanner", "x", "--by", "A, b"],
            "no acquisition of scanner 'x' has been judged by rule 'ct'",
        ),
    ],
)
def test_what_cannot_be_signed_is_named(gate, ledger, arguments, words, capsys):
    status, _, errors = run(gate, capsys, "sign", *arguments)
    assert status == 2
    assert words in errors
    assert commissioning.records(ledger) == ()


def test_stacks_under_two_rules_are_two_values(bundle):
    policy = parse_policy(
        '[[rule]]\nname = "b"\nmodality = "CT"\nstack = "*b [1-9]*"\nmeets = 1\n' + POLICY
    )
    scored = (
        *slices(*[3.0] * 4, stack="axial"),
        *slices(*[2.0] * 4, stack="axial, b 500"),
        *slices(*[1.5] * 4, stack="axial, b 900"),
    )
    values = commission.judged(facts(), judge(facts(), scored, bundle, policy))
    assert sorted((one.rule, one.value, one.meets) for one in values) == [
        ("b", 1.5, 1.0),
        ("ct", 3.0, 2.5),
    ]


def test_rejected_series_are_labels_and_no_clean_acquisitions(gate, ledger, bundle, capsys):
    fill(ledger, bundle, 3.0, 1.0, 3.2)
    for number in (1, 2):
        series = f"1.2.12345.{number}.1"
        named = _uids(ledger, series)[: 5 if number == 1 else 2]
        note = RejectionNote(
            f"7.{number}", "113001", "Rejected for Quality Reasons", "Motion blur",
            tuple((series, uid) for uid in named),
        )  # fmt: skip
        labels.reject(ledger, note, calling_ae_title="PACS1", settle_s=2, now=5.0)
        seen = closing.snapshot(ledger, number + 1)
        judged = judge(seen.facts, seen.slices, bundle, parse_policy(POLICY))
        assert closing.close(
            ledger, seen, judged, [], Issue((), held=""), report_study=False, now=6.0
        )
    _, out, _ = run(gate, capsys)
    assert "acquisitions   2 of 2 studies" in out, "the one rejected in part counts with the rest"
    assert "limit now      2.5: 0 alarms in 2" in out
    assert out.count("Left out: 1 series of which every image was rejected by people.") == 1
    arguments = ["--rule", "ct", "--scanner", "Maker Model 12345", "--by", "A. Curie, physicist"]
    assert "0 alarms in 2 acquisitions" in run(gate, capsys, "sign", *arguments)[1]


def _uids(database, series_instance_uid):
    with database.read() as connection:
        return [
            str(uid)
            for (uid,) in connection.execute(
                text(
                    "SELECT o.sop_instance_uid FROM object o JOIN series s ON s.id = o.series_id"
                    " WHERE s.series_instance_uid = :uid ORDER BY o.id"
                ),
                {"uid": series_instance_uid},
            )
        ]
