"""Metrics by scanner: values worked out by hand, and names that are bounded."""

from __future__ import annotations

import statistics

import pytest

from service.ledger import scanner_reading
from service.watch import metrics
from tests.watch.conftest import Watch
from tests.watch.filling import SCANNER, STUDY
from tests.watch.test_metrics import samples, value

RECENT = scanner_reading.RECENT_SERIES


def fill(watch: Watch, scores: list[float], **changes: object) -> None:
    """A series each minute, each of a study of its own, four slices of one score."""
    for number, score in enumerate(scores, 1):
        study = f"{STUDY}.{changes.get('device_serial_number', 1)}.{number}"
        watch.filling.judged(
            number,
            [score] * 4,
            study_instance_uid=study,
            series_instance_uid=f"{study}.1",
            acquired_at=f"{study}",
            **changes,
        )
        watch.clock.now += 60


def test_recent_series_stand_beside_those_before_them(watch: Watch) -> None:
    earlier, recent = [3.0, 3.2, 3.1], [2.0] * (RECENT - 1) + [2.2]
    fill(watch, earlier + recent)
    found = samples(watch)
    labels = {"scanner": SCANNER, "modality": "CT"}
    assert value(found, "scanner_scored_series", window="recent", **labels) == RECENT
    assert value(found, "scanner_scored_series", window="earlier", **labels) == 3
    assert value(found, "scanner_score_mean", window="recent", **labels) == pytest.approx(2.01)
    assert value(found, "scanner_score_mean", window="earlier", **labels) == pytest.approx(3.1)
    for window, scores in (("recent", recent), ("earlier", earlier)):
        assert value(
            found, "scanner_score_standard_deviation", window=window, **labels
        ) == pytest.approx(statistics.stdev(scores))
    assert value(found, "scanner_verdicts", verdict="meets", **labels) == 3
    assert value(found, "scanner_verdicts", verdict="does-not-meet", **labels) == RECENT
    assert value(found, "scanner_verdicts", verdict="unusable", **labels) == 0


def test_when_a_scanner_sent_last(watch: Watch) -> None:
    fill(watch, [3.0] * 3)
    fill(watch, [3.0] * 3, device_serial_number="S124")
    at = watch.clock.now - 60
    name = "scanner_last_object_timestamp_seconds"
    found = samples(watch)
    assert value(found, name, scanner="ACME Scan 9000 S124") == at
    assert value(found, name, scanner=SCANNER) == at - 180
    watch.clock.now += 15 * 86400
    assert "scanner_last" not in " ".join(key for key, _ in samples(watch))


def test_a_device_of_few_studies_and_one_without_attributes_have_no_name(watch: Watch) -> None:
    fill(watch, [3.0] * 2)
    fill(watch, [3.0] * 4, manufacturer="", model="", device_serial_number="")
    text = watch.ask("/metrics").text
    assert SCANNER not in text
    assert "unknown scanner" not in text


def test_names_are_bounded(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner_reading, "MOST_SCANNERS", 2)
    for number in range(4):
        fill(watch, [3.0] * 3, device_serial_number=f"S{number}")
    found = samples(watch)
    assert value(found, "scanners_unlisted") == 2
    listed = {
        dict(labels)["scanner"] for name, labels in found if name.startswith("iqgate_scanner_last")
    }
    assert listed == {"ACME Scan 9000 S2", "ACME Scan 9000 S3"}


def test_a_value_that_is_a_share_of_slices_is_no_score(watch: Watch) -> None:
    fill(watch, [3.0] * 3)
    with watch.database.write() as connection:
        connection.exec_driver_sql(
            "UPDATE assessment SET body = "
            "replace(body, '\"more_is_worse\": false', '\"more_is_worse\": true')"
        )
    assert not [name for name, _ in samples(watch) if "score_mean" in name]


def test_they_are_read_anew_after_a_minute(watch: Watch) -> None:
    name = "scanner_last_object_timestamp_seconds"
    fill(watch, [3.0] * 3)
    before = value(samples(watch), name, scanner=SCANNER)
    watch.filling.receive(9, 1)
    assert value(samples(watch), name, scanner=SCANNER) == before
    watch.clock.now += 60
    assert value(samples(watch), name, scanner=SCANNER) == before + 60


def test_the_spool_and_its_reserve(watch: Watch) -> None:
    assert "spool_free" not in watch.ask("/metrics").text, "it is not to be seen from here yet"
    watch.settings.spool.mkdir()
    found = samples(watch)
    assert value(found, "spool_reserve_bytes") == 2 * 1024**3
    assert 0 < value(found, "spool_free_bytes") < value(found, "spool_size_bytes")


def test_an_object_store_says_nothing_of_its_room(watch: Watch) -> None:
    watch.settings.spool.mkdir()
    there = {"spool_url": "s3://bucket/prefix"}
    found = metrics._spool(watch.settings.model_copy(update=there))
    assert list(found) == []


def test_what_has_not_failed_yet_is_counted_as_none(watch: Watch) -> None:
    found = samples(watch)
    assert value(found, "deliveries_total", destination="folder", outcome="unavailable") == 0
    assert value(found, "refused_objects_total", status="0xA700") == 0
