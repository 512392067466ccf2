"""Alerts and dashboards, by promtool and by a real Prometheus that scrapes a real gate."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from tests.gate import Gate, running_gate
from tests.peers import find_tool, free_port, storescu
from tests.waiting import wait_for
from tests.whole.test_to_pacs import QUICK, series

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf" / "prometheus"
DASHBOARDS = sorted((ROOT / "conf" / "grafana" / "dashboards").glob("*.json"))
METRIC = re.compile(r"\b(?:iqgate_[a-z0-9_]+|up)\b")
NOTHING_HAPPENED = {
    "sum by (outcome) (increase(iqgate_contested_objects_total[5m]))",
    "sum by (title) (increase(iqgate_rejected_images_total[1h]))",
}
"""Expressions of dashboards that show nothing on a gate where that never occurred."""


def expressions(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(Panel, expression) with Grafana's variables filled in."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", "5m").replace("$scanner", ".*")
            assert "$" not in expression, panel["title"]
            yield panel["title"], expression


@pytest.mark.peer
def test_promtool_finds_nothing_to_say():
    tool = find_tool("promtool", "prometheus")
    for arguments in (
        ["check", "config", str(CONF / "prometheus.yml")],
        ["check", "rules", str(CONF / "alerts.yml")],
        ["test", "rules", str(Path(__file__).with_name("alerts_test.yml"))],
    ):
        checked = subprocess.run(
            [tool, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "SUCCESS" in checked.stdout


def test_every_alert_has_its_page_and_its_test():
    text = (CONF / "alerts.yml").read_text("utf-8")
    alerts = re.findall(r"- alert: (\w+)", text)
    assert len(alerts) == len(set(alerts)) >= 8
    pages = re.findall(r"runbook_url: (\S+)", text)
    assert len(pages) == len(alerts)
    tested = Path(__file__).with_name("alerts_test.yml").read_text("utf-8")
    for alert, page in zip(alerts, pages, strict=True):
        assert alert in tested
        assert alert in (ROOT / page).read_text("utf-8"), f"{page} does not speak of {alert}"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_well_formed(path):
    """Panels have ids of their own, do not lie on one another, and ask the chosen data source."""
    dashboard = json.loads(path.read_text("utf-8"))
    panels = dashboard["panels"]
    assert len({one["id"] for one in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"]
            assert {one["datasource"]["uid"] for one in panel["targets"]} == {"${datasource}"}


@dataclass
class Prometheus:
    """A running Prometheus, its gate, and what that gate exports."""

    port: int
    gate: Gate
    exported: set[str]

    def ask(self, path: str, **parameters: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urlencode(parameters)}"
        with urlopen(url, timeout=20) as response:
            answer = json.load(response)
        assert answer["status"] == "success"
        return answer["data"]

    def value(self, expression: str) -> list[Any]:
        return list(self.ask("query", query=expression)["result"])

    def scraped(self) -> bool:
        """Whether all studies have a verdict in at least two scrapes."""
        try:
            found = self.value("min_over_time(iqgate_scanners_unlisted[5s]) == 0 and up == 1")
            listed = self.value("count_over_time(iqgate_scanner_score_mean[1m]) >= 2")
        except (URLError, ConnectionError, AssertionError):
            return False
        return bool(found and listed)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory) -> Iterator[Prometheus]:
    """Prometheus as configured in conf/, but for port and pace, on a gate with three studies."""
    tool = find_tool("prometheus", "prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    with running_gate(folder / "gate", QUICK) as gate:
        paths = []
        for number in range(1, 4):
            study = f"1.2.826.0.1.3680043.10.1.{number}"
            uids = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1"}
            paths += series(folder / study, 3, **uids)
        storescu(gate.port, paths)
        wait_for("the verdicts", lambda: len(gate.assessments()) == 3, 60)
        configuration = (CONF / "prometheus.yml").read_text("utf-8")
        configuration = configuration.replace("localhost:8642", f"127.0.0.1:{gate.http_port}")
        (folder / "prometheus.yml").write_text(configuration.replace("15s", "1s"), "utf-8")
        (folder / "alerts.yml").write_text((CONF / "alerts.yml").read_text("utf-8"), "utf-8")
        port = free_port()
        with (folder / "prometheus.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    tool,
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=log,
            )
        exported = {
            name
            for row in gate.text("/metrics").splitlines()
            if row.startswith("# TYPE")
            for kind in (row.split()[3],)
            for name in (
                [row.split()[2]]
                if kind != "histogram"
                else [row.split()[2] + suffix for suffix in ("_bucket", "_sum", "_count")]
            )
        }
        one = Prometheus(port, gate, exported)
        try:
            wait_for("two scrapes", one.scraped, 60)
            yield one
        finally:
            process.terminate()
            process.wait(20)


@pytest.mark.peer
def test_prometheus_reads_what_the_gate_says(prometheus):
    (received,) = prometheus.value('iqgate_received_objects_total{modality="CT"}')
    assert received["value"][1] == "9"
    (last,) = prometheus.value("iqgate_scanner_last_object_timestamp_seconds")
    assert last["metric"]["scanner"] == "Maker Model 12345"
    (scored,) = prometheus.value('iqgate_scanner_scored_series{window="recent"}')
    assert scored["value"][1] == "3"
    rows = prometheus.gate.rows("SELECT avg(score) FROM assessment WHERE current")
    (mean,) = prometheus.value('iqgate_scanner_score_mean{window="recent"}')
    assert float(mean["value"][1]) == pytest.approx(rows[0][0])


@pytest.mark.peer
def test_every_rule_is_evaluated(prometheus):
    def rules() -> list[Any]:
        (group,) = prometheus.ask("rules")["groups"]
        return [one for one in group["rules"] if one["health"] != "unknown"]

    found = wait_for("the rules", rules)
    assert {one["health"] for one in found} == {"ok"}
    for one in found:
        unknown = set(METRIC.findall(one["query"])) - prometheus.exported - {"up"}
        assert not unknown, one["name"]
    firing = [one["name"] for one in found if one["state"] == "firing"]
    assert not firing


@pytest.mark.peer
@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_expression_of_a_dashboard_shows_something(prometheus, path):
    dashboard = json.loads(path.read_text("utf-8"))
    for title, expression in expressions(dashboard):
        unknown = set(METRIC.findall(expression)) - prometheus.exported - {"up"}
        assert not unknown, f"{title}: the gate exports no {unknown}"
        shown = prometheus.value(expression)
        needs_past = 'window="earlier"' in expression
        assert shown or needs_past or expression in NOTHING_HAPPENED, f"{title}: {expression}"
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            name, label = re.findall(r"label_values\((\w+), (\w+)\)", variable["definition"])[0]
            assert prometheus.ask(f"label/{label}/values", **{"match[]": name})
