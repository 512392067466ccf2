"""Pages stay quick when the ledger is large, and find their rows by index."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import Connection, event

from service.judge.evidence import SeriesFacts
from service.ledger import reading, series_reading
from tests.watch.conftest import NOW, StartWatch, Watch
from tests.watch.filling import SCANNER, fill_many

LIMIT_S = 0.1
SERIES = 10_000
SLICES = 20
PATHS = ("/", "/?page=300", "/rooms", "/room/" + quote("ACME 9000 S1"), "/api/series", "/metrics")


@pytest.mark.slow
def test_pages_over_ten_thousand_series_are_quick(start_watch: StartWatch) -> None:
    watch = start_watch()
    template = SeriesFacts(
        "", "", "CT", 3, "Thorax", "Chest", manufacturer="ACME", model="9000",
        acquired_at="20250304120000",
    )  # fmt: skip
    fill_many(watch.database, template, SERIES, SLICES, NOW)
    medians_s = {}
    for path in PATHS:
        times_s = []
        for _ in range(7):
            started_at = time.perf_counter()
            assert watch.ask(path).status == 200
            times_s.append(time.perf_counter() - started_at)
        medians_s[path] = statistics.median(times_s)
    assert {path: at for path, at in medians_s.items() if at >= LIMIT_S} == {}


def plan(watch: Watch, query: Callable[[Connection], object]) -> list[str]:
    """SQLite's plan for every SELECT a query makes."""
    made: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_more: Any) -> None:
        made.append((statement, values))

    with watch.database.read() as connection:
        event.listen(connection, "before_cursor_execute", note)
        query(connection)
        event.remove(connection, "before_cursor_execute", note)
        return [
            row[3]
            for statement, values in made
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        ]


def test_recent_series_are_read_in_order_of_an_index(watch: Watch) -> None:
    steps = plan(watch, lambda one: series_reading.recent_series(one, limit=26))
    assert steps[0] == "SCAN series USING INDEX ix_series_last_object_at"
    assert not [step for step in steps if "TEMP B-TREE" in step]


def test_nothing_that_is_read_often_scans_a_table(watch: Watch) -> None:
    watch.filling.judged(3, [3.0] * 4)
    with watch.database.read() as connection:
        (one,) = series_reading.recent_series(connection, limit=1)
    for query in (
        lambda each: reading.backlog(each, NOW),
        lambda each: reading.changes(each, 0),
        lambda each: series_reading.image_series(each, SCANNER, 7),
        lambda each: series_reading.acquisition_series(each, one),
        lambda each: series_reading.alarmed_series(each, one.study_id, SCANNER),
        lambda each: series_reading.slices(each, [one.series_id]),
        lambda each: series_reading.reports(each, one),
        lambda each: series_reading.thumbnails(each, one.series_id),
    ):
        assert [step for step in plan(watch, query) if step.startswith("SCAN")] == []
