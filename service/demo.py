"""`iqgate demo`: a gate of its own, sample series sent to it over real C-STORE, the verdicts."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.error import URLError
from urllib.request import urlopen

from pydicom import dcmread

from service import assess
from service.config import Peer, Settings, load_settings
from service.deliver import store_scu
from service.errors import DemoFailed
from service.ledger import series_reading
from service.ledger.database import Database
from service.ledger.series_reading import SeriesReading
from service.ledger.tables import OutboxState
from service.report.rendered_text import render_text
from service.report.wording import headline, series_title

START_TIMEOUT_S = 60.0
VERDICT_TIMEOUT_S = 120.0
POLL_S = 0.1

CONFIGURATION = """\
# The demonstration's configuration. A real one starts in shadow mode: see conf/iqgate.toml.
mode = "report"
# Nobody signed limits off here; every report says so.
commissioning = "waived"
data_dir = "."

[receive.senders.DEMO]
whole_series_on_one_association = true
"""


def demo(sample: Path, data_dir: Path) -> int:
    """Run until Ctrl-C; the exit status. Raises DemoFailed, PacsUnavailable, ConfigError."""
    data_dir.mkdir(parents=True, exist_ok=True)
    config = data_dir / "demo.toml"
    config.write_text(CONFIGURATION, encoding="utf-8")
    settings = load_settings(config)
    print(f"starting a gate; its log is {data_dir / 'demo.log'}", flush=True)
    with (data_dir / "demo.log").open("ab") as log:
        gate = subprocess.Popen(
            [sys.executable, "-m", "service", "serve", "--config", str(config)],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait("the gate did not become ready", START_TIMEOUT_S, lambda: _ready(settings), gate)
        _show(sample, settings, gate)
        print("\nThe gate stays up for your own sends; Ctrl-C ends it.", flush=True)
        return gate.wait()
    except KeyboardInterrupt:
        print("\nstopping")
        return 0
    finally:
        gate.send_signal(signal.SIGTERM)
        gate.wait()


def _show(sample: Path, settings: Settings, gate: subprocess.Popen[bytes]) -> None:
    """Send the sample, wait for its verdicts and report, print them."""
    receive = settings.receive
    peer = Peer(
        name="self",
        ae_title=receive.ae_title,
        host=receive.host,
        port=receive.port,
        calling_ae_title="DEMO",
    )
    found, unreadable = assess.gather([sample], settings.score.max_frame_pixels)
    if not found or unreadable:
        raise DemoFailed(f"{sample}: not a folder of readable DICOM series")
    paths = [path for series in found for path, *_ in series.files]
    began = time.monotonic()
    for path, error in store_scu.send_files(peer, paths, settings.deliver.timeout_s):
        if error:
            raise DemoFailed(f"{path}: {error}")
    print(f"sent {len(paths)} slices of {len(found)} series to {receive.ae_title}", flush=True)
    database = Database(settings.database_url)
    uids = [series.facts.series_instance_uid for series in found]
    readings = _wait(
        "not every series has a delivered report",
        VERDICT_TIMEOUT_S,
        lambda: _delivered(database, uids),
        gate,
    )
    print(f"verdicts and reports after {time.monotonic() - began:.1f} s, sending included:")
    for reading, _ in readings:
        print(f"  {_in_words(reading)}")
    files = sorted({report for _, reports in readings for report in reports})
    folder = settings.reports_folder
    for kind, uid in files:
        report = f"{folder}/{uid}.dcm"
        if kind == "structured-report":
            print("\n" + render_text(dcmread(report)))
        print(f"{kind}: {report}")
    watch = f"http://{settings.watch.host}:{settings.watch.port}"
    print("\nNo PACS is configured, so reports go to the folder above.")
    print(f"Status page: {watch}/     room pages: {watch}/rooms")
    print(f"Send to:     {receive.ae_title} at {receive.host}:{receive.port}")


def _delivered(
    database: Database, uids: list[str]
) -> list[tuple[SeriesReading, list[tuple[str, str]]]] | None:
    """Each series with its delivered reports (kind, SOP Instance UID); None until all have one."""
    found = []
    with database.read() as connection:
        for uid in uids:
            reading = series_reading.series_of_uid(connection, uid)
            if reading is None or reading.final is None:
                return None
            reports = series_reading.reports(connection, reading)
            if not reports or any(one.state is not OutboxState.DELIVERED for one in reports):
                return None
            found.append((reading, [(one.kind, one.sop_instance_uid) for one in reports]))
    return found


def _in_words(reading: SeriesReading) -> str:
    assessment = reading.final
    assert assessment is not None
    noise = "" if assessment.noise_hu is None else f" Noise {assessment.noise_hu:.0f} HU."
    title = f"{series_title(reading.facts)}: {headline(assessment.verdict)}."
    return f"{title} {assessment.reason}{noise}"


def _ready(settings: Settings) -> bool | None:
    try:
        with urlopen(f"http://{settings.watch.host}:{settings.watch.port}/readyz", timeout=5):
            return True
    except (URLError, ConnectionError):
        return None


T = TypeVar("T")


def _wait(
    failure: str, timeout_s: float, condition: Callable[[], T | None], gate: subprocess.Popen[bytes]
) -> T:
    """The first value `condition` gives. Raises DemoFailed when the gate ends or time is up."""
    deadline = time.monotonic() + timeout_s
    while gate.poll() is None and time.monotonic() < deadline:
        value = condition()
        if value is not None:
            return value
        time.sleep(POLL_S)
    raise DemoFailed(f"{failure}; see demo.log in the data directory")
