"""The command as people type it: output, exit status, one clear line for every error."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pydicom import dcmread

from service.__main__ import main
from service.ledger.database import Database, sqlite_url
from tests.factories import chest, ct_slice, receive, write
from tests.peers import free_port
from tests.synthetic import CT_RENDER, write_bundle


@pytest.fixture
def series(tmp_path):
    """Six good slices in a folder."""
    datasets = [ct_slice(number, pixels=chest(256, seed=number)) for number in range(1, 7)]
    write(tmp_path / "series", *datasets)
    return tmp_path / "series"


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "gate.toml"
    path.write_text('mode = "shadow"\ndata_dir = "data"\n')
    return path


def test_a_folder_that_the_user_may_not_enter_holds_no_configuration(
    config, monkeypatch, tmp_path, capsys
):
    """`runuser -u iqgate -- iqgate status` in /root."""
    exists = Path.exists

    def may_not_enter(path: Path) -> bool:
        if not path.is_absolute():
            raise PermissionError(13, "Permission denied", str(path))
        return exists(path)

    monkeypatch.setattr(Path, "exists", may_not_enter)
    monkeypatch.setattr("service.__main__.DEFAULT_CONFIGS", (Path("iqgate.toml"), config))
    assert main(["status"]) == 2
    assert capsys.readouterr().err == (
        f"{tmp_path / 'data'}: no ledger there yet; start `iqgate serve` first\n"
    )


def test_variables_beside_the_configuration(config, monkeypatch, tmp_path, capsys):
    """The units' EnvironmentFile: commands find the ledger that the units write."""
    environment = {"PATH": os.environ["PATH"]}
    monkeypatch.setattr(os, "environ", environment)
    beside = tmp_path / "environment"
    beside.write_text('# the ledger\nIQGATE_DATA_DIR="/from/the/file"\nIQGATE_MODE=pa$$word\n')
    assert main(["status", "--config", str(config)]) == 2
    assert "mode: Input should be 'shadow', 'notify' or 'report' (got 'pa$$word')" in (
        capsys.readouterr().err
    )
    environment |= {"IQGATE_MODE": "shadow", "IQGATE_DATA_DIR": str(tmp_path / "given")}
    assert main(["status", "--config", str(config)]) == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'given'}: no ledger there yet")


def test_assess_json_has_the_promised_fields(series, capsys):
    assert main(["assess", "--json", str(series)]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert list(entry) == [
        "series_instance_uid", "companion_series", "modality", "bundle", "bundle_version",
        "verdict", "borderline", "reason", "score", "interval", "slices",
    ]  # fmt: skip
    assert entry["verdict"] in ("meets", "does-not-meet")
    assert entry["bundle"] == "ct-md-iqa-compact"
    assert len(entry["slices"]) == 6
    assert list(entry["slices"][0]) == [
        "sop_instance_uid", "frame_number", "instance_number", "stack", "score", "excluded",
    ]  # fmt: skip
    assert [one["instance_number"] for one in entry["slices"]] == [1, 2, 3, 4, 5, 6]
    assert 0 <= entry["score"] <= 4


def test_assess_for_people(series, capsys):
    main(["assess", str(series)])
    out = capsys.readouterr().out
    assert "CT series 3 (Chest 1.0): " in out
    assert "6 of 6 slices scored; noise 10 HU" in out
    assert "Limits not commissioned at this site." in out


def test_assess_writes_reports(series, tmp_path, capsys):
    main(["assess", "--sr", str(tmp_path / "out"), str(series)])
    (path,) = (tmp_path / "out").glob("*.dcm")
    assert dcmread(path).Modality == "SR"
    main(["assess", "--sr", str(tmp_path / "out"), str(series)])
    assert list((tmp_path / "out").glob("*.dcm")) == [path], "the same report has the same name"
    capsys.readouterr()


def test_a_file_given_twice_counts_once(series, capsys):
    main(["assess", "--json", str(series), str(series)])
    (entry,) = json.loads(capsys.readouterr().out)
    assert len(entry["slices"]) == 6


def test_a_recompressed_copy_is_no_second_image(series, tmp_path, capsys):
    copy = ct_slice(1, pixels=chest(256, seed=1))
    copy.compress("1.2.840.10008.1.2.4.80", generate_instance_uid=False)
    write(tmp_path / "copy", copy)
    assert main(["assess", "--json", str(series), str(tmp_path / "copy")]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert len(entry["slices"]) == 6


def test_another_image_under_a_known_uid_is_named(series, tmp_path, capsys):
    write(tmp_path / "other", ct_slice(1, pixels=chest(256, seed=99)))
    assert main(["assess", "--json", str(series), str(tmp_path / "other")]) == 1
    _, odd = json.loads(capsys.readouterr().out)
    assert "the pixels of frame 1 differ" in odd["reason"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["assess", "/no/such/folder"], "/no/such/folder: no such file"),
        (["status", "--config", "/no/such.toml"], "/no/such.toml: cannot be read"),
        (["bundle", "list", "--bundles", "/no/such"], "/no/such: no bundle"),
    ],
)
def test_bad_usage_is_one_line_and_status_two(arguments, words, capsys):
    assert main(arguments) == 2
    errors = capsys.readouterr().err
    assert words in errors
    assert len(errors.strip().splitlines()) == 1


def test_bundle_list_shows_which_serve(tmp_path, capsys):
    for name in ("ct-a", "ct-b"):
        render = {**CT_RENDER, "rows": 64, "columns": 64}
        write_bundle(tmp_path / "bundles" / name, "CT", render)
    assert main(["bundle", "list", "--bundles", str(tmp_path / "bundles")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ct-a 1.0  CT  brightness/test  serves",
        "ct-b 1.0  CT  brightness/test",
    ]
    config = tmp_path / "iqgate.toml"
    score = '[score]\nbundles = "bundles"\nserve = ["ct-b"]\n'
    config.write_text(f'mode = "shadow"\ndata_dir = "data"\n{score}')
    assert main(["bundle", "list", "--config", str(config)]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("ct-b 1.0  CT  brightness/test  serves")
    config.write_text(f'mode = "shadow"\ndata_dir = "data"\n{score.replace("ct-b", "ct-c")}')
    assert main(["bundle", "list", "--config", str(config)]) == 2
    assert "there is ct-a, ct-b" in capsys.readouterr().err


def test_a_peer_that_is_not_configured_is_named(config, capsys):
    assert main(["echo", "--config", str(config), "pasc"]) == 2
    assert "pasc: no such peer" in capsys.readouterr().err


def test_echo_of_a_gate_that_is_not_running(config, capsys):
    config.write_text(f"{config.read_text()}[receive]\nport = {free_port()}\n")
    assert main(["echo", "--config", str(config)]) == 1
    assert "cannot be reached" in capsys.readouterr().err


def test_a_password_is_not_repeated(config, postgresql_server, monkeypatch, capsys):
    url = postgresql_server.emptied().replace("iqgate@", "iqgate:secret@")
    monkeypatch.setenv("IQGATE_LEDGER_URL", url)
    assert main(["db", "upgrade", "--config", str(config)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("postgresql://iqgate:***@")
    assert said.endswith(": the schema is up to date\n")


def test_status_before_and_after_the_first_start(config, tmp_path, capsys):
    assert main(["status", "--config", str(config)]) == 2
    assert "no ledger there yet" in capsys.readouterr().err
    assert main(["db", "upgrade", "--config", str(config)]) == 0
    database = Database(sqlite_url(tmp_path / "data" / "iqgate.db"))
    receive(database, 1)
    database.dispose()
    capsys.readouterr()
    assert main(["status", "--config", str(config)]) == 0
    assert "1 " in capsys.readouterr().out


def test_letters(config, capsys):
    main(["db", "upgrade", "--config", str(config)])
    capsys.readouterr()
    assert main(["letters", "list", "--config", str(config)]) == 0
    assert "0 dead letters" in capsys.readouterr().out
    assert main(["letters", "retry", "frame-1", "--config", str(config)]) == 1
    assert "frame-1: no such dead letter" in capsys.readouterr().err


def test_the_shipped_bundles_reproduce_their_golden_outputs_on_this_host(capsys):
    assert main(["bundle", "build"]) == 0
    out = capsys.readouterr().out
    assert out.count("golden   score: largest difference") == 4
    assert "refused" not in out


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    commands = "serve assess echo send status letters bundle commission db"
    for command in commands.split():
        assert f"\n    {command}" in out
