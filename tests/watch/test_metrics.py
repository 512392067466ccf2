"""Metrics: values re-read from the exposition, and what must never stand in it."""

from __future__ import annotations

import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.config import VERSION
from service.ledger import reception, tally
from tests.peers import find_tool
from tests.watch.conftest import StartWatch, Watch
from tests.watch.filling import SCANNER, STUDY

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(watch: Watch) -> Samples:
    answer = watch.ask("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[f"iqgate_{name}", frozenset(labels.items())]


def test_counters_say_what_the_tally_says(watch: Watch) -> None:
    watch.filling.judged(3, [3.0, 3.0, 3.0, None])
    watch.filling.judged(4, [2.0, 2.0, 2.0], acquired_at="later")
    reception.record_refusal(watch.database, 0xA700)
    with watch.database.write() as connection:
        tally.count(connection, "deliveries", "pacs", "delivered", by=2)
        tally.count(connection, "deliveries", "pacs", "refused")
    found = samples(watch)
    assert value(found, "received_objects_total", modality="CT", outcome="stored") == 7
    assert value(found, "refused_objects_total", status="0xA700") == 1
    assert value(found, "frames_processed_total", outcome="scored") == 6
    assert value(found, "frames_processed_total", outcome="excluded") == 1
    assert value(found, "verdicts_total", modality="CT", verdict="meets") == 1
    assert value(found, "verdicts_total", modality="CT", verdict="does-not-meet") == 1
    assert value(found, "deliveries_total", destination="pacs", outcome="delivered") == 2
    assert value(found, "deliveries_total", destination="pacs", outcome="refused") == 1


def test_latency_is_a_whole_histogram(watch: Watch) -> None:
    watch.filling.receive(3, 4)
    watch.clock.now += 0.75
    (series_id,) = watch.filling.score([3.0] * 4)
    watch.filling.provisional(series_id)
    watch.clock.now += 30
    watch.filling.close(series_id)
    found = samples(watch)
    name = "verdict_latency_seconds"
    assert value(found, f"{name}_bucket", kind="provisional", le="0.5") == 0
    assert value(found, f"{name}_bucket", kind="provisional", le="1.0") == 1
    assert value(found, f"{name}_bucket", kind="final", le="30.0") == 0
    assert value(found, f"{name}_bucket", kind="final", le="60.0") == 1
    assert value(found, f"{name}_count", kind="final") == 1
    assert value(found, f"{name}_sum", kind="provisional") == pytest.approx(0.75)


def test_queues_and_their_ages(start_watch: StartWatch) -> None:
    watch = start_watch(mode="shadow")
    watch.filling.judged(3, [3.0] * 4)
    watch.filling.receive(4, 3)
    watch.clock.now += 12
    found = samples(watch)
    assert value(found, "queue_frames", state="waiting") == 3
    assert value(found, "queue_frames", state="dead") == 0
    assert value(found, "oldest_waiting_seconds", queue="frames") == pytest.approx(12)
    assert value(found, "oldest_waiting_seconds", queue="outbox") == 0
    assert value(found, "outbox_reports", destination="folder", state="held") == 1
    assert value(found, "outbox_reports", destination="folder", state="waiting") == 0
    assert value(found, "held_reports") == 1
    assert value(found, "open_series") == 1
    assert value(found, "dead_letters", kind="report") == 0


def test_roles_are_up_while_they_are_seen(watch: Watch) -> None:
    watch.filling.role("receive")
    watch.filling.role("score", ready=False)
    found = samples(watch)
    assert value(found, "role_processes", role="receive") == 1
    assert value(found, "role_processes", role="score") == 1
    assert value(found, "role_processes_ready", role="score") == 0
    assert value(found, "role_processes", role="deliver") == 0
    assert value(found, "engine_ready") == 0
    watch.filling.role("score")
    assert value(samples(watch), "engine_ready") == 1
    watch.clock.now += 60
    assert value(samples(watch), "role_processes", role="receive") == 0
    assert value(found, "build_info", version=VERSION, mode="report") == 1


def test_no_identity_no_uid_and_no_label_from_a_hostile_header(watch: Watch) -> None:
    watch.filling.judged(3, [2.0] * 4)
    watch.filling.receive(4, 2, modality="MUELLER JUERGEN")
    watch.filling.receive(5, 1, modality="ANOTHER")
    text = watch.ask("/metrics").text
    for secret in ("Müller", "MUELLER", "P-0815", STUDY, SCANNER, "Thorax"):
        assert secret not in text
    found = samples(watch)
    assert value(found, "received_objects_total", modality="other", outcome="stored") == 3


def test_openmetrics_is_spoken_to_whoever_asks(watch: Watch) -> None:
    answer = watch.ask("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


@pytest.mark.peer
def test_promtool_finds_nothing_to_say(watch: Watch) -> None:
    tool = find_tool("promtool", "prometheus")
    watch.filling.judged(3, [2.0] * 4)
    reception.record_refusal(watch.database, 0xA700)
    checked = subprocess.run(
        [tool, "check", "metrics"],
        input=watch.ask("/metrics").body,
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
