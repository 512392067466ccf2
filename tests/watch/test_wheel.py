"""An installed gate has its pages with it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from service.watch.pages import HERE

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_wheel_carries_templates_and_static_files(tmp_path: Path) -> None:
    subprocess.run(
        [
            sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--quiet",
            "--no-build-isolation", "--wheel-dir", str(tmp_path),
        ],
        check=True,
        capture_output=True,
        timeout=300,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("iqgate-*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        f"service/watch/{path.relative_to(HERE).as_posix()}"
        for folder in ("templates", "static")
        for path in (HERE / folder).iterdir()
    }
    assert len(wanted) >= 10
    assert wanted <= packed
