"""Grafana's dashboard: each panel's query, run against a real Prometheus that scraped a real consumer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from caves_dagster.local import ports
from caves_dagster.settings import PROJECT_ROOT
from caves_dagster_tests.brokers import until
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.consumer.processes import consuming
from caves_dagster_tests.monitoring.prometheus import Prometheus, require, running_prometheus

GRAFANA = PROJECT_ROOT / "monitoring" / "grafana"
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "dashboards" / "caves.json").read_text(encoding="utf-8"))
TITLES = [
    "Events Consumed Rate",
    "Total Events Consumed",
    "Current Batch Size",
    "Batch Processing Duration",
    "Snowflake Insert Duration",
    "Events Inserted to Snowflake",
    "DLQ Messages",
    "Events Summary",
]
TYPES = {"ORDER_CREATED", "INVENTORY_ADJUSTED"}


def test_there_are_the_eight_panels() -> None:
    assert [panel["title"] for panel in DASHBOARD["panels"]] == TITLES
    assert DASHBOARD["panels"][-1]["type"] == "table"


def test_the_panels_ask_the_provisioned_data_source() -> None:
    path = GRAFANA / "provisioning" / "datasources" / "prometheus.yml"
    (source,) = yaml.safe_load(path.read_text(encoding="utf-8"))["datasources"]
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {source["uid"]}


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not taken & cells, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def ask(server: Prometheus) -> dict[str, list[list[dict[str, Any]]]]:
    """Every panel's queries, as Grafana fills in its variables."""
    source = DASHBOARD["templating"]["list"][0]["current"]["value"]
    found = {}
    for panel in DASHBOARD["panels"]:
        queries = [target["expr"] for target in panel["targets"]]
        filled = [one.replace("$source", source).replace("$__rate_interval", "20s") for one in queries]
        found[panel["title"]] = [server.query(one) for one in filled]
    return found


def test_every_panels_query_returns_its_series(caves: Caves, tmp_path: Path) -> None:
    require("prometheus")
    port = ports.any_free("127.0.0.1")
    with (
        consuming(caves, tmp_path / "log", CAVES_METRICS_PORT=str(port)),
        running_prometheus(tmp_path, {"consumer": port}) as server,
    ):
        # Rates need a counter seen twice: so some are sent once the first are scraped.
        for seed in range(1, 4):
            caves.publish(caves.events(200, seed=seed, invalid_rate=0.2))
            await_value(server, "sum(kafka_events_consumed_total)", 200 * seed)
        await_value(server, "count(job_topic:kafka_consumer_lag:sum)", 1)
        found = ask(server)
    for title, results in found.items():
        assert results, title
        for series in results:
            assert series, title
            assert all(one["value"][1] not in ("NaN", "+Inf") for one in series), title
    assert value(found["Total Events Consumed"][0]) == 600
    assert value(found["Events Consumed Rate"][0]) > 0
    assert 0 < value(found["Current Batch Size"][0]) <= 200
    for title in ("Batch Processing Duration", "Snowflake Insert Duration"):
        median, high = (value(series) for series in found[title])
        assert 0 < median <= high
    for title in ("Events Inserted to Snowflake", "Events Summary"):
        assert {one["metric"]["event_type"] for one in found[title][0]} == TYPES
    landed = total(found["Events Summary"][0])
    dead = total(found["DLQ Messages"][0])
    assert landed + dead == 600
    assert all(one["metric"]["failure_class"] for one in found["DLQ Messages"][0])


def await_value(server: Prometheus, expression: str, expected: float) -> None:
    """Wait until an expression has a value."""
    until(lambda: value(server.query(expression)) == expected, f"{expression} is {expected:g}", 60)


def value(series: list[dict[str, Any]]) -> float:
    """The first series' value; 0 where there is none."""
    return float(series[0]["value"][1]) if series else 0.0


def total(series: list[dict[str, Any]]) -> float:
    """The sum of all series."""
    return sum(float(one["value"][1]) for one in series)
