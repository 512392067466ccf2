"""Built engines as files: whole or absent, under everything they depend on."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from service.errors import EngineUnavailable, StartupCalledOff
from service.score.engines import Startup
from service.score.engines.cache import EngineCache, EngineKey

KEY = EngineKey(
    bundle="ct-md-iqa-compact",
    model="a" * 64,
    graph="b" * 64,
    precision="float16",
    profiles=((1, 1, 1), (2, 16, 16)),
    tensorrt="11.4.0.106",
    gpu="NVIDIA Model GPU",
    compute_capability="9.0",
)
OTHER = {
    "bundle": "ct-tfkt-compact",
    "model": "c" * 64,
    "graph": "c" * 64,
    "precision": "float32",
    "profiles": ((1, 1, 1),),
    "tensorrt": "11.5.0.1",
    "gpu": "NVIDIA Other GPU",
    "compute_capability": "10.0",
}


def test_every_fact_of_the_key_is_a_cache_of_its_own(tmp_path):
    assert set(OTHER) == {one.name for one in dataclasses.fields(EngineKey)}
    cache = EngineCache(tmp_path / "engines")
    path = cache.write(KEY, b"plan")
    assert path.name.startswith("ct-md-iqa-compact-")
    assert cache.read(KEY) == b"plan"
    for name, value in OTHER.items():
        assert cache.read(dataclasses.replace(KEY, **{name: value})) is None, name


def test_a_file_that_was_renamed_to_anothers_place_is_no_engine(tmp_path):
    cache = EngineCache(tmp_path)
    other = dataclasses.replace(KEY, gpu="NVIDIA Other GPU")
    cache.write(KEY, b"plan").rename(cache.path(other))
    assert cache.read(other) is None


@pytest.mark.parametrize("cut", [0, 1, 40, -1])
def test_a_file_that_was_cut_short_is_no_engine(tmp_path, cut):
    cache = EngineCache(tmp_path)
    path = cache.write(KEY, b"plan\nwith lines\n")
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    assert cache.read(KEY) is None
    path.write_bytes(whole[:-2] + b"x\n")
    assert cache.read(KEY) is None, "nor one with other bytes"
    assert json.loads(whole.splitlines()[0])["bytes"] == 16


KILLED = """
import os, signal, sys
from pathlib import Path
from service.score.engines import cache
from service.score.engines import Startup
from tests.score.engines.test_cache import KEY

def killed(_descriptor):
    os.kill(os.getpid(), signal.SIGKILL)

cache.os.fsync = killed
held = cache.EngineCache(Path(sys.argv[1]))
with held.building(KEY, Startup()):
    held.write(KEY, b"plan" * 1000)
"""


def test_a_kill_while_writing_leaves_no_engine_and_no_lock(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    assert done.returncode == -9
    cache = EngineCache(tmp_path)
    assert cache.read(KEY) is None
    assert not cache.path(KEY).exists()
    with cache.building(KEY, Startup()):  # the kernel let go of the dead process's lock
        cache.write(KEY, b"plan")
    assert cache.read(KEY) == b"plan"


def test_two_workers_build_an_engine_once(tmp_path, monkeypatch):
    """The second waits, says so, and may be asked to end meanwhile."""
    monkeypatch.setattr("service.score.engines.cache.LOOK_S", 0.0)
    first, second = EngineCache(tmp_path), EngineCache(tmp_path)
    said: list[str] = []
    with (
        first.building(KEY, Startup()),
        pytest.raises(StartupCalledOff, match="called off"),
        second.building(KEY, Startup(said.append, lambda: len(said) == 3)),
    ):
        raise AssertionError("two hold it")
    assert said == ["ct-md-iqa-compact: another worker builds its engine"] * 3
    with second.building(KEY, Startup()):
        second.write(KEY, b"plan")
    second.drop(KEY)
    assert second.read(KEY) is None


def test_timings_belong_to_a_gpu_and_a_tensorrt(tmp_path):
    cache = EngineCache(tmp_path)
    assert cache.read_timings(KEY) == b""
    cache.write_timings(KEY, b"timings")
    of_another_bundle = dataclasses.replace(KEY, bundle="mr", model="d" * 64)
    assert cache.read_timings(of_another_bundle) == b"timings"
    for name in ("tensorrt", "gpu", "compute_capability"):
        assert cache.read_timings(dataclasses.replace(KEY, **{name: OTHER[name]})) == b"", name


def test_a_folder_that_cannot_be_made_or_written_names_the_setting(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineUnavailable, match=r"score\.engine_cache = .*cannot be made"):
        EngineCache(tmp_path / "file" / "engines")
    cache = EngineCache(tmp_path / "engines")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EngineUnavailable, match=r"No space left.*score\.engine_cache"):
        cache.write(KEY, b"plan")
    assert list(cache.folder.iterdir()) == []
