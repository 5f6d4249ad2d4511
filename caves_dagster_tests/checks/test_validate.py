"""`caves validate`, its report and the job: what they say, also where there is nothing to see."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from caves_dagster.checks.catalogue import require_known, shop_checks
from caves_dagster.checks.check import Check, run_check
from caves_dagster.checks.job import validation_name
from caves_dagster.checks.report import delete_old, validate, write
from caves_dagster.definitions import build_definitions
from caves_dagster.errors import SettingsError
from caves_dagster.settings import Settings
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import ingest
from caves_dagster_tests.raw_rows import consume_all
from caves_dagster_tests.test_cli import caves_command, require_one_line


@pytest.fixture
def sound(caves: Caves) -> Caves:
    """Forty events on their way's end."""
    caves.publish(caves.events(40))
    ingest(caves)
    consume_all(caves.warehouse, caves.shop)
    return caves


def _validate(
    caves: Caves, folder: Path, *arguments: str, **settings: str
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """The command, and the report that it wrote."""
    own = {"CAVES_REPORTS": str(folder), "DB_PATH": str(folder / "no.db"), "CAVES_HOME": str(folder)}
    done = caves_command(caves, "validate", *arguments, **{**own, **settings})
    (path,) = folder.glob("validate_report_*.json")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return done, content


def _delete_an_order(caves: Caves) -> int:
    (row,) = caves.warehouse.query("SELECT MIN(ORDER_LINE_ID) AS K FROM PRODUCTION.ORDERS")
    caves.warehouse.execute(f"DELETE FROM PRODUCTION.ORDERS WHERE ORDER_LINE_ID = {row['K']}")
    return int(row["K"])


def test_sound_data_exits_0_with_a_table_and_a_report(sound: Caves, tmp_path: Path) -> None:
    done, report = _validate(sound, tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert set(report) == {"timestamp", "shop", "since", "complete", "status", "checks"}
    # The batch half is not loaded, and no Dagster runs here.
    assert (report["shop"], report["status"], report["since"]) == ("caves", "WARN", None)
    assert datetime.now(UTC) - datetime.fromisoformat(report["timestamp"]) < timedelta(minutes=2)
    integrity = ("raw_vs_prod_counts", "duplicates", "offsets_accounted_for", "recent_activity")
    assert [report["checks"][name]["status"] for name in integrity] == ["PASS"] * 4
    figures = report["checks"]["raw_vs_prod_counts"]["figures"]
    assert figures[0]["in_raw"] == figures[0]["in_production"] == sound.count("PRODUCTION.ORDERS")
    rules = report["checks"]["data_quality"]["rules"]
    assert {"orders_price_arithmetic", "orders_known_products", "stock_is_last_movement"} <= set(rules)
    known = {one.name for one in shop_checks(sound.settings, sound.shop)}
    assert {*report["checks"], *rules} - {"data_quality"} == known
    assert all(name in done.stdout for name in known)
    assert str(tmp_path) in done.stdout


def test_what_is_wrong_exits_1_and_names_the_key(sound: Caves, tmp_path: Path) -> None:
    key = _delete_an_order(sound)

    done, report = _validate(sound, tmp_path)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert report["status"] == report["checks"]["raw_vs_prod_counts"]["status"] == "FAIL"
    assert report["checks"]["raw_vs_prod_counts"]["offending_keys"] == [f"orders: {key}"]
    assert f"orders: {key}" in done.stdout
    assert report["checks"]["duplicates"]["status"] == "PASS"


def test_only_some_checks_and_only_what_is_recent(sound: Caves, tmp_path: Path) -> None:
    _delete_an_order(sound)
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
    arguments = ("--shop", "caves", "--check", "raw_vs_prod_counts", "--check", "data_quality")

    done, report = _validate(sound, tmp_path, *arguments, "--since", tomorrow)

    assert done.returncode == 0
    assert set(report["checks"]) == {"raw_vs_prod_counts", "data_quality"}
    assert report["since"] == f"{tomorrow}T00:00:00+00:00"
    assert not report["complete"]
    assert report["status"] == "WARN", "nothing has come since tomorrow"
    assert report["checks"]["raw_vs_prod_counts"]["figures"][0]["checked"] == 0


def test_no_data_at_all_fails(caves: Caves, tmp_path: Path) -> None:
    done, report = _validate(caves, tmp_path)

    assert done.returncode == 1
    assert report["checks"]["recent_activity"]["status"] == "FAIL"
    assert report["checks"]["recent_activity"]["offending_keys"] == ["landing: nothing has ever landed"]
    passed = {name for name, found in report["checks"].items() if found["status"] == "PASS"}
    assert passed == {name for name in report["checks"] if name.startswith("schema_")}


def test_a_missing_table_fails_what_reads_it(sound: Caves, tmp_path: Path) -> None:
    sound.warehouse.execute("DROP TABLE PRODUCTION.INVENTORY_HISTORY")

    done, report = _validate(sound, tmp_path)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    found = report["checks"]["raw_vs_prod_counts"]
    assert found["status"] == "FAIL"
    assert "caves setup" in found["problem"]
    assert report["checks"]["offsets_accounted_for"]["status"] == "PASS"


def test_a_warehouse_that_is_away_fails_everything_and_is_asked_once(caves: Caves, tmp_path: Path) -> None:
    done, report = _validate(
        caves,
        tmp_path,
        SNOWFLAKE_PORT="1",
        CAVES_SNOWFLAKE_LOGIN_TIMEOUT="2",
        CAVES_SNOWFLAKE_NETWORK_TIMEOUT="2",
    )

    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert report["status"] == "FAIL"
    problems = [
        found.get("problem", "") for name, found in report["checks"].items() if name != "data_quality"
    ]
    assert all("cannot be reached" in problem for problem in problems)
    assert sum(problem.startswith("Not carried out: ") for problem in problems) == len(problems) - 1
    assert {found["status"] for found in report["checks"].values()} == {"FAIL"}


def test_an_unknown_check_or_shop_is_told(caves: Caves) -> None:
    require_one_line(
        caves_command(caves, "validate", "--check", "nothing"), "'nothing'", "raw_vs_prod_counts"
    )
    require_one_line(caves_command(caves, "validate", "--shop", "nobody"), "'nobody'", "caves")
    severity = '{"nothing": "WARN"}'
    done = caves_command(caves, "validate", CAVES_CHECK_SEVERITY=severity)
    require_one_line(done, "CAVES_CHECK_SEVERITY names nothing", "raw_vs_prod_counts")


def test_a_severity_of_no_check_is_refused_by_name(caves: Caves) -> None:
    checks = caves.settings.checks.model_copy(update={"severity": {"low_stok": "WARN"}})
    settings: Settings = caves.settings.model_copy(update={"checks": checks})
    with pytest.raises(SettingsError, match=r"names low_stok, which .* low_stock"):
        require_known(settings, [caves.shop])


class _Page(HTMLParser):
    """What a page shows, and whether its elements nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_what_the_report_says_and_escapes_it(sound: Caves, tmp_path: Path) -> None:
    sound.warehouse.execute("UPDATE PRODUCTION.INVENTORY_CURRENT SET WAREHOUSE_LOCATION = '<b>Lyon'")
    report = validate(sound.settings, sound.shop, sound.warehouse)
    html = write(report, tmp_path).html.read_text(encoding="utf-8")

    page = _Page()
    page.feed(html)
    assert page.open == []
    assert "<b>" not in html
    for check, outcome in report.found:
        assert check.name in page.text
        for key in outcome.offending_keys:
            assert " ".join(key.split()) in " ".join(page.text.split())
    assert "<b>Lyon" in page.text


def test_reports_are_deleted_when_they_are_old(sound: Caves, tmp_path: Path) -> None:
    first = write(validate(sound.settings, sound.shop, sound.warehouse, names=["duplicates"]), tmp_path)
    (tmp_path / "mine.json").write_text("{}")
    second = write(validate(sound.settings, sound.shop, sound.warehouse, names=["duplicates"]), tmp_path)
    assert first.json != second.json

    assert delete_old(tmp_path, datetime.now(UTC) - timedelta(minutes=5)) == 0
    assert delete_old(tmp_path, datetime.now(UTC) + timedelta(minutes=5)) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"]


def test_the_job_evaluates_every_check_and_links_the_report(
    sound: Caves, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    key = _delete_an_order(sound)
    settings = sound.settings.model_copy(update={"reports": tmp_path / "reports"})
    job = build_definitions(settings).resolve_job_def(validation_name(sound.shop))

    result = job.execute_in_process(instance=instance)

    assert result.success, "it did what it is for"
    evaluated = {one.check_name: one for one in result.get_asset_check_evaluations()}
    assert set(evaluated) == {one.name for one in shop_checks(settings, sound.shop)}
    wrong = evaluated["raw_vs_prod_counts"]
    assert not wrong.passed
    assert wrong.description == f"orders: {key}"
    path = Path(str(wrong.metadata["report"].value))
    assert path.is_file()
    (handled,) = [event for event in result.all_events if event.event_type_value == "STEP_OUTPUT"]
    assert handled.step_output_data.metadata["status"].value == "FAIL"
    assert handled.step_output_data.metadata["report"].value == str(path)
    assert f"| orders: {key} |" in str(handled.step_output_data.metadata["checks"].value)
    # What the UI shows as the check's latest.
    record = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey(["production", "orders"]), "raw_vs_prod_counts"), limit=1
    )[0]
    assert record.status.value == "FAILED"


def test_a_report_tells_no_secret(sound: Caves, tmp_path: Path) -> None:
    secret = "s3cret-of-albert"
    settings = sound.settings.snowflake.model_copy(
        update={"port": 1, "login_timeout": 1, "network_timeout": 1}
    )
    settings = settings.model_copy(update={"password": type(settings.password)(secret)})  # type: ignore[misc]
    with Warehouse(settings) as warehouse:
        written = write(validate(sound.settings, sound.shop, warehouse), tmp_path)
    assert secret not in written.json.read_text() + written.html.read_text()


_SLOW = """
SELECT
    'slow' AS SUBJECT, LENGTH(MAX(MD5(a.VALUE::VARCHAR || b.VALUE::VARCHAR))) AS CHECKED,
    'ERROR' AS SEVERITY, 0 AS OFFENDING, NULL AS OFFENDING_KEYS
FROM TABLE(FLATTEN(INPUT => PARSE_JSON(%(n)s))) AS a
CROSS JOIN TABLE(FLATTEN(INPUT => PARSE_JSON(%(n)s))) AS b
"""


def test_a_check_may_take_longer_than_the_network_time_out(caves: Caves) -> None:
    numbers = {"n": json.dumps(list(range(3500)))}
    slow = Check("slow", "", caves.shop.raw, lambda evidence: evidence.warehouse.query(_SLOW, numbers))
    with Warehouse(caves.settings.snowflake.model_copy(update={"network_timeout": 1})) as warehouse:
        assert run_check(warehouse, caves.shop, slow).status == "PASS"
