"""Nothing leaves the gate unasked: libraries that report to their makers are told not to."""

from __future__ import annotations

import os
import subprocess
import sys


def test_onnx_runtime_names_no_device_and_reports_to_nobody(tmp_path):
    """What it would send starts with a device id in the home folder."""
    environment = {
        key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"
    }
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run(
        [sys.executable, "-c", "import service, onnxruntime"],
        env={**environment, **home},
        check=True,
        timeout=120,
    )
    assert list(tmp_path.rglob("*")) == []
