"""Metrics of housekeeping: each job's last run, and what was removed or swept up.

Jobs are told apart by `name`: `job` is the label by which Prometheus names what it scrapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy import Connection

from service.config import Every
from service.ledger import jobs, tally
from service.ledger.jobs import JobReading

SWEPT = ("adopted", "missing", "returned", "unreadable")
"""Counted from zero, so that the first one is an increase."""


def keep_metrics(connection: Connection) -> Iterable[Metric]:
    """All of them, whether a job ever ran or not."""
    yield from _jobs({one.name: one for one in jobs.readings(connection)})
    yield _counter(
        "iqgate_removed_objects",
        "Objects whose files retention removed.",
        tally.read(connection, "removed_objects"),
    )
    yield _counter(
        "iqgate_removed_bytes",
        "Bytes of the files that retention removed.",
        tally.read(connection, "removed_bytes"),
    )
    yield _counter(
        "iqgate_series_ended_by_age",
        "Series ended because they were never quiet.",
        tally.read(connection, "series_ended_by_age"),
    )
    swept = CounterMetricFamily(
        "iqgate_swept_files",
        "What sweeps of the spool found: files without a row adopted, files missing, files there "
        "again, files that cannot be read.",
        labels=("outcome",),
    )
    found = {(one,): 0.0 for one in SWEPT} | tally.read(connection, "swept_files")
    for labels, value in sorted(found.items()):
        swept.add_metric(labels, value)
    yield swept


def _jobs(known: Mapping[str, JobReading]) -> Iterable[Metric]:
    succeeded = GaugeMetricFamily(
        "iqgate_job_last_success_timestamp_seconds",
        "When a housekeeping job last ended well; 0 if it never did.",
        labels=("name",),
    )
    took = GaugeMetricFamily(
        "iqgate_job_last_run_seconds",
        "What a housekeeping job's last run that ended took.",
        labels=("name",),
    )
    failed = GaugeMetricFamily(
        "iqgate_job_failed",
        "1 where a housekeeping job's last run that ended failed.",
        labels=("name",),
    )
    runs = CounterMetricFamily(
        "iqgate_job_runs", "Times a housekeeping job began.", labels=("name",)
    )
    failures = CounterMetricFamily(
        "iqgate_job_failures", "Times a housekeeping job failed.", labels=("name",)
    )
    for name in Every.model_fields:
        one = known.get(name)
        succeeded.add_metric([name], 0.0 if one is None else one.succeeded_at or 0.0)
        failed.add_metric([name], float(one is not None and one.failed))
        runs.add_metric([name], 0 if one is None else one.runs)
        failures.add_metric([name], 0 if one is None else one.failures)
        if one is not None and one.seconds is not None:
            took.add_metric([name], one.seconds)
    yield from (succeeded, took, failed, runs, failures)


def _counter(name: str, text: str, values: Mapping[tuple[str, ...], float]) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=sum(values.values()))
