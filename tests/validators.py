"""Independent judges of DICOM objects: dciodvfy (the IOD) and DicomSRValidator (the template)."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.peers import find_tool

_XPATH_LIMITS = "-Djdk.xml.xpathExprOpLimit=0 -Djdk.xml.xpathTotalOpLimit=0 " + (
    "-Djdk.xml.xpathExprGrpLimit=0"
)
"""With Java 17's own limits the template validator stops before it has read anything."""


def assert_valid(folder: Path, part10: bytes, *, template: str | None = None) -> None:
    """No error from dciodvfy; with `template`, none from the template validator either, and the
    root template recognised."""
    path = folder / "validated.dcm"
    path.write_bytes(part10)
    iod = _run("dciodvfy", "dicom3tools", path)
    assert [line for line in iod.splitlines() if line.startswith("Error")] == []
    if template is None:
        return
    tree = _run("DicomSRValidator", "pixelmed-apps", path)
    errors = [line for line in tree.splitlines() if re.match("Error", line) or "Exception" in line]
    assert errors == []
    assert f"Found Root Template {template}" in tree


def _run(tool: str, package: str, path: Path) -> str:
    done = subprocess.run(
        [find_tool(tool, package), str(path)],
        env={**os.environ, "JAVA_TOOL_OPTIONS": _XPATH_LIMITS},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout + done.stderr
