"""Prometheus' configuration and rules, by its own promtool; the metrics that the rules name."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest

from caves_dagster.assets.transformation import transform
from caves_dagster.checks.report import validate, write
from caves_dagster.monitoring.metrics import Metrics
from caves_dagster.monitoring.validation import ValidationCollector
from caves_dagster.settings import PROJECT_ROOT
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import ingest
from caves_dagster_tests.monitoring.prometheus import FOLDER, require


@pytest.mark.parametrize(
    "command", ["check config prometheus.yml", "check rules rules.yml", "test rules rules_test.yml"]
)
def test_promtool_finds_nothing(command: str) -> None:
    found = subprocess.run(
        [require("promtool"), *command.split()], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_every_alert_is_seen_to_fire() -> None:
    rules = yaml.safe_load((FOLDER / "rules.yml").read_text(encoding="utf-8"))
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    tests = (FOLDER / "rules_test.yml").read_text(encoding="utf-8")
    assert alerts == set(re.findall(r'alertname(?:=|: )"?(\w+)', tests))


def test_the_example_of_alertmanager_is_yaml_without_secrets() -> None:
    path = PROJECT_ROOT / "monitoring" / "alertmanager" / "alertmanager.yml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert config["route"]["receiver"] in {receiver["name"] for receiver in config["receivers"]}
    assert "http" not in path.read_text(encoding="utf-8")


def test_one_job_s_alert_does_not_silence_another_s() -> None:
    path = PROJECT_ROOT / "monitoring" / "alertmanager" / "alertmanager.yml"
    rules = yaml.safe_load(path.read_text(encoding="utf-8"))["inhibit_rules"]
    assert rules
    assert all("job" in rule["equal"] for rule in rules)


def exposed(folder: Path) -> str:
    metrics = Metrics()
    metrics.registry.register(ValidationCollector(folder))
    return generate_latest(metrics.registry).decode()


def test_the_newest_report_of_each_shop_is_told(caves: Caves, tmp_path: Path) -> None:
    assert "caves_validation_status{" not in exposed(tmp_path)
    found = validate(caves.settings, caves.shop, caves.warehouse, names=["duplicates", "low_stock"])
    write(replace(found, at=found.at - timedelta(milliseconds=1)), tmp_path)
    assert "caves_validation_status{" not in exposed(tmp_path), (
        "a report of some checks says nothing of the rest"
    )
    old = replace(found, complete=True)
    write(replace(old, shop=replace(caves.shop, name="other")), tmp_path)
    caves.publish(caves.events(20))
    ingest(caves)
    for step in caves.shop.transformations:
        transform(caves.warehouse, caves.shop, step)
    caves.warehouse.execute("INSERT INTO PRODUCTION.ORDERS SELECT * FROM PRODUCTION.ORDERS")
    write(replace(old, at=old.at + timedelta(milliseconds=1)), tmp_path)
    new = validate(caves.settings, caves.shop, caves.warehouse, names=["duplicates"])
    write(replace(new, complete=True), tmp_path)
    text = exposed(tmp_path)
    assert 'caves_validation_status{check="duplicates",shop="caves"} 2.0' in text
    before = {check.name: outcome.status for check, outcome in old.found}
    number = {"PASS": 0.0, "WARN": 1.0}[before["duplicates"]]
    assert f'caves_validation_status{{check="duplicates",shop="other"}} {number}' in text
    assert 'caves_validation_status{check="low_stock",shop="caves"}' not in text
    assert 'caves_validation_timestamp_seconds{shop="caves"}' in text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"timestamp": "x", "checks": {}}', "{"])
def test_what_is_no_report_breaks_no_scrape(tmp_path: Path, text: str) -> None:
    (tmp_path / "validate_report_20261121T100000Z.json").write_text(text, encoding="utf-8")
    assert "caves_validation_status{" not in exposed(tmp_path)
