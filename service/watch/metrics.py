"""Metrics, read from the ledger when they are scraped: they survive restarts, and every process
of the gate stands in them without being asked.

No label carries a UID or patient identity. What a sender writes as Modality is checked against
the terms DICOM defines before it becomes a label: a header may say anything.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from service.config import VERSION, Receive, Settings
from service.ledger import reading, senders, tally
from service.ledger.database import Database
from service.ledger.reading import UNFINISHED_FRAMES, UNFINISHED_OUTBOX, Backlog, RoleReading
from service.ledger.tables import FrameState, OutboxState
from service.watch.keep_metrics import keep_metrics
from service.watch.scanner_metrics import ScannerMetrics

ROLES = ("receive", "score", "deliver", "watch", "keep")
OTHER = "other"
DELIVERY_OUTCOMES = ("delivered", "refused", "unavailable")
"""Counted from zero, so that a first failure is an increase."""

MODALITIES = frozenset(
    """
    AR ASMT AU BDUS BI BMD CFM CR CT CTPROTOCOL DMS DG DOC DX ECG EEG EMG EOG EPS ES FID GM HC
    HD IO IOL IVOCT IVUS KER KO LEN LS MG MR M3D NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS
    OT PA PLAN POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD
    RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF STAIN TEXTUREMAP TG US VA XA XAPROTOCOL XC
    """.split()  # noqa: SIM905 one name a line would fill two pages
)
"""Defined Terms of Modality (0008,0060), PS3.3 C.7.3.1.1.1."""


class LedgerCollector(Collector):
    """Reads everything in one transaction at each scrape."""

    def __init__(self, settings: Settings, database: Database, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._scanners = ScannerMetrics()

    def describe(self) -> Iterable[Metric]:
        return []  # registering must not read the ledger

    def collect(self) -> Iterable[Metric]:
        now = self._clock()
        with self._database.read() as connection:
            counters = [
                *_counters(connection, self._settings.destinations),
                *_senders(connection, self._settings.receive),
                *keep_metrics(connection),
            ]
            backlog = reading.backlog(connection, now)
            processes = reading.roles(connection, now)
            scanners = self._scanners.collect(connection, now)
        yield from counters
        yield from _backlog(backlog, self._settings.destinations)
        yield from _roles(processes)
        yield from scanners
        yield from _spool(self._settings)
        build = InfoMetricFamily("iqgate_build", "The running version and its mode.")
        build.add_metric([], {"version": VERSION, "mode": self._settings.mode})
        yield build


def _counters(connection: Connection, destinations: Iterable[str]) -> Iterable[Metric]:
    yield _counter(
        "iqgate_received_objects",
        "Objects received, by modality and by what they turned out to be.",
        ("modality", "outcome"),
        _by_modality(tally.read(connection, "received")),
    )
    yield _counter(
        "iqgate_refused_objects",
        "Objects refused before they were stored, by C-STORE status.",
        ("status",),
        {("0xA700",): 0.0} | tally.read(connection, "refused"),
    )
    yield _counter(
        "iqgate_contested_objects",
        "Objects under a known SOP Instance UID, by what comparing them found.",
        ("outcome",),
        tally.read(connection, "contested"),
    )
    yield _counter(
        "iqgate_frames_processed",
        "Frames scored, or excluded with a reason.",
        ("outcome",),
        {("scored",): 0.0, ("excluded",): 0.0} | tally.read(connection, "frames"),
    )
    yield _counter(
        "iqgate_worker_stage_seconds",
        "Seconds that workers spent, by stage; drawing runs beside the others.",
        ("stage",),
        tally.read(connection, "stage_seconds"),
    )
    yield _counter(
        "iqgate_verdicts",
        "Final verdicts, by modality.",
        ("modality", "verdict"),
        _by_modality(tally.read(connection, "verdicts")),
    )
    yield _counter(
        "iqgate_rejected_images",
        "Images that a rejection note named, by the code of its title (DCM).",
        ("title",),
        tally.read(connection, "rejected_images"),
    )
    yield _counter(
        "iqgate_deliveries",
        "Attempts to deliver a report, by destination and outcome.",
        ("destination", "outcome"),
        {(name, outcome): 0.0 for name in destinations for outcome in DELIVERY_OUTCOMES}
        | tally.read(connection, "deliveries"),
    )
    yield _latency(
        tally.read(connection, "verdict_seconds_bucket"),
        tally.read(connection, "verdict_seconds_sum"),
    )


def _senders(connection: Connection, receive: Receive) -> Iterable[Metric]:
    """By AE titles that the configuration names; whatever else calls itself something is one."""
    known = {*receive.senders, *receive.calling_ae_titles}
    closed: Counter[tuple[str, ...]] = Counter({(name,): 0 for name in known})
    reopened: Counter[tuple[str, ...]] = Counter({(name,): 0 for name in known})
    for one in senders.senders(connection):
        name = one.ae_title if one.ae_title in known else OTHER
        closed[(name,)] += one.closed
        reopened[(name,)] += one.reopened
    yield _counter(
        "iqgate_sender_closed_series",
        "Times a series with images closed, by calling AE title.",
        ("sender",),
        closed,
    )
    yield _counter(
        "iqgate_sender_reopened_series",
        "Times a later object opened such a series again, by calling AE title.",
        ("sender",),
        reopened,
    )


def _latency(
    buckets: Mapping[tuple[str, ...], float], sums: Mapping[tuple[str, ...], float]
) -> HistogramMetricFamily:
    """The tally keeps no row for an empty bucket; Prometheus wants every one of them."""
    family = HistogramMetricFamily(
        "iqgate_verdict_latency_seconds",
        "Time from a series' newest slice to the verdict that includes it.",
        labels=("kind",),
    )
    for kind in ("provisional", "final"):
        bounds = [str(bound) for bound in tally.LATENCY_BUCKETS_S] + ["+Inf"]
        family.add_metric(
            [kind],
            buckets=[(bound, buckets.get((kind, bound), 0.0)) for bound in bounds],
            sum_value=sums.get((kind,), 0.0),
        )
    return family


def _backlog(backlog: Backlog, destinations: Iterable[str]) -> Iterable[Metric]:
    frames = GaugeMetricFamily(
        "iqgate_queue_frames", "Frames that are not finished, by state.", labels=("state",)
    )
    for state in UNFINISHED_FRAMES:
        frames.add_metric([state], backlog.frames.get(state, 0))
    yield frames
    outbox = GaugeMetricFamily(
        "iqgate_outbox_reports",
        "Reports that are not finished, by destination and state.",
        labels=("destination", "state"),
    )
    for destination in sorted({*destinations, *(name for name, _ in backlog.outbox)}):
        for parcel in UNFINISHED_OUTBOX:
            outbox.add_metric([destination, parcel], backlog.outbox.get((destination, parcel), 0))
    yield outbox
    oldest = GaugeMetricFamily(
        "iqgate_oldest_waiting_seconds",
        "Age of the oldest entry of a queue; 0 when nothing waits.",
        labels=("queue",),
    )
    oldest.add_metric(["frames"], backlog.oldest_frame_s)
    oldest.add_metric(["outbox"], backlog.oldest_report_s)
    yield oldest
    yield GaugeMetricFamily(
        "iqgate_open_series", "Series that slices may still arrive for.", backlog.open_series
    )
    yield GaugeMetricFamily(
        "iqgate_held_reports", "Reports built and kept back by their mode.", backlog.held_reports
    )
    letters = GaugeMetricFamily(
        "iqgate_dead_letters", "What an operator must look at.", labels=("kind",)
    )
    letters.add_metric(["frame"], backlog.frames.get(FrameState.DEAD, 0))
    letters.add_metric(["report"], backlog.reports(OutboxState.DEAD))
    yield letters


def _spool(settings: Settings) -> Iterable[Metric]:
    """Space where received objects lie; nothing where that is not to be seen from here, nor of an
    object store, which does not say."""
    if settings.spool_url:
        return
    try:
        usage = shutil.disk_usage(settings.spool)
    except OSError:
        return
    yield GaugeMetricFamily(
        "iqgate_spool_free_bytes", "Free space on the spool's file system.", usage.free
    )
    yield GaugeMetricFamily(
        "iqgate_spool_size_bytes", "Size of the spool's file system.", usage.total
    )
    yield GaugeMetricFamily(
        "iqgate_spool_reserve_bytes",
        "Free space below which objects are refused (receive.disk_reserve_bytes).",
        settings.receive.disk_reserve_bytes,
    )


def _roles(processes: Iterable[RoleReading]) -> Iterable[Metric]:
    fresh = [one for one in processes if one.fresh]
    up = Counter(one.role for one in fresh)
    ready = Counter(one.role for one in fresh if one.ready)
    running = GaugeMetricFamily(
        "iqgate_role_processes", "Processes of a role seen lately.", labels=("role",)
    )
    able = GaugeMetricFamily(
        "iqgate_role_processes_ready",
        "Processes of a role that say they are ready.",
        labels=("role",),
    )
    for role in sorted({*ROLES, *up}):
        running.add_metric([role], up[role])
        able.add_metric([role], ready[role])
    yield running
    yield able
    yield GaugeMetricFamily(
        "iqgate_engine_ready",
        "1 when a worker has verified its bundles' golden outputs and scores.",
        float(ready["score"] > 0),
    )


def _counter(
    name: str, text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family


def _by_modality(values: Mapping[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
    """Values whose first label is a modality, those that DICOM does not define taken together."""
    merged: Counter[tuple[str, ...]] = Counter()
    for (modality, *rest), value in values.items():
        merged[(modality if modality in MODALITIES else OTHER, *rest)] += value  # type: ignore[assignment]
    return dict(merged)
