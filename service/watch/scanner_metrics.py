"""Metrics by scanner: when it sent last, how its series score, what their verdicts are.

What they are read from grows with the ledger, and moves slowly: it is read once a minute, however
often Prometheus asks. Names of scanners are bounded (`ledger.scanner_reading`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import Connection

from service.judge.evidence import Verdict
from service.ledger import scanner_reading
from service.ledger.scanner_reading import EARLIER_SERIES, RECENT_SERIES

RENEWED_AFTER_S = 60.0
LISTED_FOR_S = 14 * 86400.0
"""A scanner that has been silent for longer is not listed any more."""
DAY_S = 86400.0


class ScannerMetrics:
    """The families by scanner, read anew when they are a minute old."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read_at: float | None = None
        self._families: list[Metric] = []

    def collect(self, connection: Connection, now: float) -> list[Metric]:
        with self._lock:
            if self._read_at is None or not 0 <= now - self._read_at < RENEWED_AFTER_S:
                self._families = list(_families(connection, now))
                self._read_at = now
            return self._families


def _families(connection: Connection, now: float) -> Iterable[Metric]:
    since = now - LISTED_FOR_S
    listed, left_out = scanner_reading.scanners(connection, since)
    names = [one.scanner for one in listed]
    last = GaugeMetricFamily(
        "iqgate_scanner_last_object_timestamp_seconds",
        "When a scanner's newest object came, of scanners that sent in the past 14 days.",
        labels=("scanner",),
    )
    for one in listed:
        last.add_metric([one.scanner], one.at)
    yield last
    yield GaugeMetricFamily(
        "iqgate_scanners_unlisted", "Scanners that sent, and are too many to be named.", left_out
    )
    yield from _scores(connection, names, since)
    day = GaugeMetricFamily(
        "iqgate_scanner_verdicts",
        "Verdicts that stand on a scanner's series of the past 24 hours.",
        labels=("scanner", "modality", "verdict"),
    )
    counted = scanner_reading.verdicts(connection, names, now - DAY_S)
    for scanner, modality in sorted({(scanner, modality) for scanner, modality, _ in counted}):
        for verdict in Verdict:
            count = counted.get((scanner, modality, verdict), 0)
            day.add_metric([scanner, modality, verdict.value], count)
    yield day


def _scores(connection: Connection, names: list[str], since: float) -> Iterable[Metric]:
    labels = ("scanner", "modality", "window")
    windows = (
        f"of a scanner's {RECENT_SERIES} newest scored series (recent), and of up to "
        f"{EARLIER_SERIES} before them (earlier)."
    )
    mean = GaugeMetricFamily(
        "iqgate_scanner_score_mean", f"Mean score, on its bundle's scale, {windows}", labels=labels
    )
    deviation = GaugeMetricFamily(
        "iqgate_scanner_score_standard_deviation",
        f"Standard deviation of the scores {windows}",
        labels=labels,
    )
    series = GaugeMetricFamily("iqgate_scanner_scored_series", f"Number {windows}", labels=labels)
    for one in scanner_reading.scores(connection, names, since):
        values = [one.scanner, one.modality, one.window]
        mean.add_metric(values, one.mean)
        series.add_metric(values, one.series)
        if one.deviation is not None:
            deviation.add_metric(values, one.deviation)
    yield from (mean, deviation, series)
