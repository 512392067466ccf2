"""The install script, run on exactly what the image's build takes from the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from service.config import VERSION
from tests.packaging.image import ROOT, copied, read_dockerfile
from tests.peers import REQUIRED

SCRIPT = ROOT / "conf" / "install" / "install.sh"
CONSTRAINTS = ROOT / "conf" / "install" / "constraints.txt"


@pytest.fixture
def context(tmp_path):
    """The source stage's folder: what it copies, and nothing else."""
    _, stages = read_dockerfile()
    (source,) = [stage for stage in stages if stage.name == "source"]
    folder = tmp_path / "src"
    folder.mkdir()
    without = shutil.ignore_patterns("__pycache__")
    for name in copied(source):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=without)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def install(context: Path, prefix: Path, *options: str, **environment: str) -> str:
    """Run the script as the Dockerfile does; what it printed."""
    done = subprocess.run(
        [context / "conf" / "install" / "install.sh", *options, prefix],
        env={**os.environ, "PYTHON": sys.executable, **environment},
        cwd=context,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode and not REQUIRED:
        pytest.skip(f"nothing can be installed here: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def check(prefix: Path, out: str) -> None:
    assert f"iqgate {VERSION}" in out
    assert "ct-md-iqa-compact" in out
    assert (prefix / "bin" / "iqgate").exists()
    share = prefix / "share"
    assert (share / "doc" / "iqgate" / "install.md").exists()
    assert (share / "doc" / "iqgate" / "runbook" / "disk.md").exists()
    assert (share / "iqgate" / "systemd" / "iqgate.service").exists()
    assert (share / "iqgate" / "conf" / "iqgate.toml").exists()


@pytest.mark.peer
def test_the_images_install_stage_without_an_image(context, tmp_path):
    """Quickly: libraries are this environment's; the gate's own wheel is built and installed."""
    prefix = tmp_path / "opt"
    libraries = sysconfig.get_path("purelib")
    out = install(context, prefix, "--no-libraries", PYTHONPATH=libraries)
    check(prefix, out)
    installed = list((prefix / "lib").glob("python3*/site-packages/service/__main__.py"))
    assert len(installed) == 1

    apart = tmp_path / "gate"  # as the image's layers have it
    out = install(context, prefix, "--no-libraries", PYTHONPATH=libraries, DESTDIR=str(apart))
    check(apart / prefix.relative_to("/"), out)


@pytest.mark.install
def test_a_bare_host_gets_everything_it_needs(context, tmp_path):
    """Slowly: all libraries, at the versions that are pinned; `make test-install`."""
    prefix = tmp_path / "opt"
    check(prefix, install(context, prefix, "--extra", "postgresql"))
    frozen = subprocess.run(
        [prefix / "bin" / "python", "-m", "pip", "freeze", "--exclude", "iqgate"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout.splitlines()
    pinned = {row.lower() for row in CONSTRAINTS.read_text("utf-8").splitlines()}
    assert {row.lower().replace("_", "-") for row in frozen} <= pinned
    stale = prefix / "share" / "doc" / "iqgate" / "gone.md"
    stale.write_text("of an older release")
    check(prefix, install(context, prefix, "--no-libraries"))
    assert not stale.exists()
    assert not {"torch", "timm"} & {row.partition("==")[0] for row in frozen}
    subprocess.run([SCRIPT.with_name("slim.sh"), prefix], timeout=120, check=True)
    assert not list((prefix / "lib").glob("python3*/site-packages/pip"))
    verified = subprocess.run(
        [prefix / "bin" / "iqgate", "bundle", "verify", "ct-md-iqa-compact"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_every_library_is_pinned_once_and_as_required():
    rows = [one for one in CONSTRAINTS.read_text("utf-8").splitlines() if not one.startswith("#")]
    pinned = dict(row.split("==") for row in rows)
    assert len(pinned) == len(rows)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    optional = project["optional-dependencies"]
    wanted = [*project["dependencies"], *optional["postgresql"]]
    wanted += [*optional["s3"], *optional["tensorrt"]]
    for requirement in wanted:
        name = re.match(r"[\w.-]+", requirement)[0].lower()
        assert name in pinned, f"{name} is not in {CONSTRAINTS.name}"


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        ([], {}, "where to?"),
        (["--only-libraries"], {}, "where to?"),
        (["--prefix", "/x"], {}, "--prefix: no such option"),
        (["/x"], {"PYTHON": "/no/such/python"}, "is older than Python 3.11, or missing"),
    ],
)
def test_bad_usage_is_said_in_a_line(arguments, environment, words):
    done = subprocess.run(
        [SCRIPT, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert words in done.stderr


def test_an_unknown_extra_is_named(tmp_path):
    done = subprocess.run(
        [SCRIPT, "--only-libraries", "--extra", "oracle", tmp_path / "opt"],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert "--extra oracle: pyproject.toml has no such extra" in done.stderr
