"""Independent judges of our objects: dciodvfy (the IOD) and DicomSRValidator (the template)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

_XPATH_LIMITS = "-Djdk.xml.xpathExprOpLimit=0 -Djdk.xml.xpathTotalOpLimit=0 " + (
    "-Djdk.xml.xpathExprGrpLimit=0"
)
"""With Java 17's own limits the template validator stops before it has read anything."""


@dataclass(frozen=True)
class Findings:
    """What the validators said: error lines, and the root template where one was recognised."""

    errors: list[str]
    root_template: str


def _require(tool: str) -> None:
    if shutil.which(tool) is None:
        reason = f"{tool} is not installed (Debian: dicom3tools, pixelmed-apps)"
        if os.environ.get("IQGATE_REQUIRE_PEERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


def _run(tool: str, file: Path) -> str:
    java = {**os.environ, "JAVA_TOOL_OPTIONS": _XPATH_LIMITS}
    done = subprocess.run(
        [tool, str(file)], env=java, capture_output=True, check=False, timeout=120
    )
    return (done.stdout + done.stderr).decode("utf-8", errors="replace")


@pytest.fixture
def check_iod(tmp_path: Path) -> Callable[[bytes], Findings]:
    """Holds file bytes against the IOD."""
    _require("dciodvfy")

    def check(data: bytes) -> Findings:
        file = tmp_path / "object.dcm"
        file.write_bytes(data)
        said = _run("dciodvfy", file)
        return Findings([line for line in said.splitlines() if line.startswith("Error")], "")

    return check


@pytest.fixture
def check_sr(tmp_path: Path, check_iod: Callable[[bytes], Findings]) -> Callable[[bytes], Findings]:
    """Holds a Structured Report against the IOD and against its template."""
    _require("DicomSRValidator")

    def check(data: bytes) -> Findings:
        file = tmp_path / "report.dcm"
        file.write_bytes(data)
        said = _run("DicomSRValidator", file)
        errors = [line for line in said.splitlines() if re.match("Error", line)]
        errors += [line for line in said.splitlines() if "Exception" in line]
        root = re.search(r"Found Root Template (\S+)", said)
        return Findings(check_iod(data).errors + errors, root.group(1) if root else "")

    return check


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real sample data; tests that need it are skipped where it is absent."""
    root = Path(__file__).resolve().parents[2]
    shared = Path(os.environ.get("IQGATE_SHARED", root / ".." / "shared")).resolve() / "data"
    if not shared.is_dir():
        pytest.skip("no sample data: set IQGATE_SHARED")
    return shared
