"""Housekeeping in the exposition: every job from the start, what it did, whether it failed."""

from prometheus_client import CollectorRegistry, generate_latest

from service.keep import jobs
from service.watch.metrics import LedgerCollector


def exposed(house):
    registry = CollectorRegistry()
    registry.register(LedgerCollector(house.settings, house.database, lambda: house.now))
    lines = generate_latest(registry).decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name.removeprefix("iqgate_"): float(value) for name, value in pairs}


def test_every_job_is_there_before_it_ever_ran(house):
    found = exposed(house)
    for name in jobs.JOBS:
        assert found[f'job_last_success_timestamp_seconds{{name="{name}"}}'] == 0
        assert found[f'job_failures_total{{name="{name}"}}'] == 0
    for outcome in ("adopted", "missing", "returned", "unreadable"):
        assert found[f'swept_files_total{{outcome="{outcome}"}}'] == 0
    assert found["removed_objects_total"] == 0


def test_a_run_and_a_failure_are_counted(house):
    house.done(1, 1, 2)
    ((size,),) = house.rows("SELECT sum(size_bytes) FROM object")
    house.now += 2 * 86400
    assert jobs.run(house.set(images_days=1), "retention")
    (house.root / "incoming").rmdir()
    assert not jobs.run(house.keeping, "sweep")
    found = exposed(house)
    assert found["removed_objects_total"] == 2
    assert found["removed_bytes_total"] == size
    assert found['job_last_success_timestamp_seconds{name="retention"}'] == house.now
    assert found['job_last_run_seconds{name="retention"}'] == 0
    assert found['job_failed{name="sweep"}'] == 1
    assert found['job_failures_total{name="sweep"}'] == 1
    assert found['job_runs_total{name="sweep"}'] == 1
