"""An installed gate has its pages with it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from service.watch.pages import HERE
from tests.peers import REQUIRED

ROOT = Path(__file__).parents[2]


@pytest.mark.peer
def test_the_wheel_carries_templates_and_static_files(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "-q", "-w", str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if built.returncode and not REQUIRED:
        pytest.skip(f"no wheel can be built here (pip fetches hatchling): {built.stderr[-200:]}")
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("iqgate-*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        f"service/watch/{path.relative_to(HERE).as_posix()}"
        for folder in ("templates", "static")
        for path in (HERE / folder).iterdir()
    }
    assert len(wanted) >= 10
    assert wanted <= packed
