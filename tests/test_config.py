"""Settings: the annotated sample is complete and careful; errors name file and setting."""

from __future__ import annotations

import re

import pytest
from pydantic import BaseModel

from service.config import Settings, load_settings, packaged
from service.errors import ConfigError
from service.spool import address


def settings_in(model, prefix=""):
    """Every setting's last name, with its section."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from settings_in(kind, name)
        else:
            yield prefix, name


def test_the_sample_is_careful():
    settings = load_settings(packaged("iqgate.toml"))
    assert settings.mode == "shadow"
    assert settings.receive.host == settings.watch.host == "127.0.0.1"
    assert settings.receive.addresses == ("127.0.0.0/8", "::1/128")
    assert settings.watch.token == ""


def test_the_sample_shows_every_setting():
    text = packaged("iqgate.toml").read_text("utf-8")
    for section, name in settings_in(Settings):
        if name in ("senders", "peers"):
            assert re.search(rf"\[+{section}\.{name}", text), name
        else:
            assert re.search(rf"^(# )?{name} = ", text, re.MULTILINE), f"{section}.{name}"


def write(tmp_path, text):
    path = tmp_path / "gate.toml"
    path.write_text(text)
    return path


def test_relative_paths_are_relative_to_the_file(tmp_path):
    text = 'mode = "shadow"\ndata_dir = "data"\nspool_folder = "nfs"\n[deliver]\nfolder = "out"\n'
    settings = load_settings(write(tmp_path, text))
    assert settings.data_dir == tmp_path / "data"
    assert settings.spool == tmp_path / "nfs"
    assert settings.reports_folder == tmp_path / "out"
    assert settings.destinations == ("folder",)


def test_the_environment_wins(tmp_path, monkeypatch):
    monkeypatch.setenv("IQGATE_RECEIVE__PORT", "1234")
    path = write(
        tmp_path, 'mode = "shadow"\ndata_dir = "d"\n[receive]\nport = 99\nae_title = "X"\n'
    )
    settings = load_settings(path)
    assert (settings.receive.port, settings.receive.ae_title) == (1234, "X")


def test_the_environment_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("IQGATE_MODE", "report")
    monkeypatch.setenv("IQGATE_DATA_DIR", str(tmp_path))
    assert load_settings(None).spool == tmp_path / "spool"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('data_dir = "d"', "mode: must be given"),
        ('mode = "loud"\ndata_dir = "d"', "mode: "),
        ('mode = "shadow"\ndata_dir = "d"\n[receive]\nprot = 1', "receive.prot: is not a setting"),
        ('mode = "shadow"\ndata_dir = "d"\n[receive]\nport = 0', "receive.port: "),
        ('mode = "shadow"\ndata_dir = "d"\n[receive]\naddresses = ["x"]', "receive.addresses"),
        ('mode = "shadow"\ndata_dir = "d"\n[receive]\nae_title = "SEVENTEEN LETTERS"', "ae_title"),
        ('mode = "sha', "not TOML"),
        (
            'mode = "shadow"\ndata_dir = "d"\n'
            + '[[deliver.peers]]\nname = "a"\nae_title = "A"\nhost = "h"\nport = 1\n' * 2,
            "peer names must differ",
        ),
    ],
)
def test_errors_name_file_and_setting(tmp_path, text, words):
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, text))
    assert str(caught.value).startswith(str(tmp_path / "gate.toml"))
    assert words in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read"):
        load_settings(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('spool_url = "s3://b-1/x"\nspool_folder = "f"', "spool_folder and spool_url name two"),
        ('spool_url = "gs://bucket"', "spool_url names an object store as s3://bucket"),
        ('spool_url = "s3://key:secret@bucket"', "credentials go into the environment"),
        ('spool_endpoint = "https://s3"', "spool_endpoint is for spool_url"),
        (
            'spool_url = "s3://b-1"\nspool_endpoint = "https://key:secret@s3"',
            "spool_endpoint is a URL like https://s3.example.org:9000",
        ),
    ],
)
def test_an_object_store_is_named_in_one_way(tmp_path, text, words):
    path = tmp_path / "iqgate.toml"
    path.write_text(f'mode = "shadow"\ndata_dir = "data"\n{text}\n')
    with pytest.raises(ConfigError) as wrong:
        load_settings(path)
    assert words in str(wrong.value)
    assert "secret" not in str(wrong.value)


@pytest.mark.parametrize("missing", ["fsspec", "obstore"])
def test_an_object_store_needs_its_libraries(tmp_path, monkeypatch, missing):
    found = address.find_spec
    monkeypatch.setattr(address, "find_spec", lambda name: None if name == missing else found(name))
    path = tmp_path / "iqgate.toml"
    path.write_text('mode = "shadow"\ndata_dir = "data"\nspool_url = "s3://bucket/x"\n')
    with pytest.raises(ConfigError, match=r"spool_url needs libraries: pip install 'iqgate\[s3\]"):
        load_settings(path)
