"""The alert sensors on the real pipeline: rows are corrupted, runs fail, and a webhook is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange
from dagster._core.definitions.sensor_definition import SensorExecutionData
from pydantic import SecretStr

from caves_dagster.alerts import checks, events
from caves_dagster.definitions import build_definitions
from caves_dagster.settings import AlertSettings
from caves_dagster_tests.alerts.servers import Hook, running_hook
from caves_dagster_tests.conftest import Caves

JOB = "caves_pipeline"
GRACE = 60.0


class Installation:
    """A shop with its definitions, an instance of its own, a webhook, and a clock that can be put forward."""

    def __init__(
        self, caves: Caves, hook: Hook, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.caves, self.hook, self.instance = caves, hook, instance
        alerts = AlertSettings.model_construct(
            webhook_url=SecretStr(hook.url), dagster_url="http://ui.example"
        )
        self.definitions = build_definitions(caves.settings.model_copy(update={"alerts": alerts}))
        self.cursors: dict[str, str | None] = {}
        self.later = 0.0
        clock = SimpleNamespace(time=lambda: time.time() + self.later)
        monkeypatch.setattr("caves_dagster.alerts.sensors.time", clock)

    def run(self) -> bool:
        """One run of the pipeline; whether it succeeded."""
        job = self.definitions.resolve_job_def(JOB)
        return job.execute_in_process(instance=self.instance, raise_on_error=False).success

    def tick(self, sensor: str) -> SensorExecutionData:
        definition = self.definitions.resolve_sensor_def(sensor)
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursors.get(sensor),
            sensor_name=sensor,
            definitions=self.definitions,
        )
        data = definition.evaluate_tick(context)
        self.cursors[sensor] = data.cursor
        return data

    def told(self) -> list[str]:
        """What a tick of both sensors tells."""
        self.tick("run_alerts")
        self.tick("check_alerts")
        return self.hook.taken()

    def titles(self) -> list[str]:
        return [text.splitlines()[0].strip("*") for text in self.told()]


@pytest.fixture
def installation(caves: Caves, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    # With files: that is where each run's log is apart, and the sensors read an index of them.
    with running_hook() as hook, dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        made = Installation(caves, hook, instance, monkeypatch)
        assert made.titles() == []
        yield made


def double_an_order(caves: Caves) -> int:
    """The id of an order line that now stands twice in PRODUCTION."""
    (victim,) = caves.warehouse.query("SELECT MIN(ORDER_LINE_ID) AS K FROM PRODUCTION.ORDERS")
    caves.warehouse.execute(
        f"INSERT INTO PRODUCTION.ORDERS SELECT * FROM PRODUCTION.ORDERS WHERE ORDER_LINE_ID = {victim['K']}"
    )
    return int(victim["K"])


def mend(caves: Caves, key: int) -> None:
    """The second of the two is taken away."""
    of_key = f"FROM PRODUCTION.ORDERS WHERE ORDER_LINE_ID = {key}"
    caves.warehouse.execute(f"CREATE TABLE PRODUCTION.ONCE AS SELECT DISTINCT * {of_key}")
    caves.warehouse.execute(f"DELETE {of_key}")
    caves.warehouse.execute("INSERT INTO PRODUCTION.ORDERS SELECT * FROM PRODUCTION.ONCE")
    caves.warehouse.execute("DROP TABLE PRODUCTION.ONCE")


def test_a_corrupted_row_is_told_once_with_its_key_and_once_when_it_is_mended(
    caves: Caves, installation: Installation
) -> None:
    caves.publish(caves.events(50))
    installation.run()
    assert installation.titles() == []
    key = double_an_order(caves)
    caves.publish(caves.events(50, seed=2))
    installation.run()

    texts = installation.told()

    (duplicates,) = (text for text in texts if text.startswith("*Failing: duplicates on production/orders*"))
    assert "since 2" in duplicates
    assert "1 failure" in duplicates
    assert str(key) in duplicates
    assert "offending: 1" in duplicates
    link = "http://ui.example/assets/production/orders?view=checks&checkDetail=duplicates"
    assert duplicates.endswith(f"<{link}>")
    failing = {text.splitlines()[0] for text in texts}
    assert len(failing) == len(texts)
    assert installation.titles() == []
    installation.run()
    assert installation.titles() == []

    mend(caves, key)
    installation.run()
    assert installation.titles() == [], "not before it has been well for a while"
    installation.later = GRACE
    over = installation.told()
    assert {text.splitlines()[0] for text in over} == {text.replace("Failing", "Over") for text in failing}
    assert all("2 failures" in text for text in over)
    installation.later = 10 * GRACE
    assert installation.titles() == []


def test_a_failing_job_is_told_with_its_error_and_its_remedy(
    caves: Caves, installation: Installation
) -> None:
    caves.publish(caves.events(20))
    caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS RENAME TO PRODUCTION.ORDERS_AWAY")
    assert not installation.run()
    assert installation.titles() == [], "perhaps the next run makes it good"
    installation.later = GRACE

    (text,) = installation.told()

    (run,) = installation.instance.get_run_records()
    assert text.startswith(f"*Failing: {JOB}*\nsince 2")
    assert "step caves_stream_stg_orders: WarehouseNotSetUp" in text
    assert "`caves setup`" in text
    assert text.endswith(f"<http://ui.example/runs/{run.dagster_run.run_id}>")
    assert installation.titles() == []
    caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS_AWAY RENAME TO PRODUCTION.ORDERS")
    assert installation.run()
    assert installation.titles() == [f"Over: {JOB}"]
    assert installation.titles() == []


def test_a_run_of_another_part_does_not_end_a_failure(caves: Caves, installation: Installation) -> None:
    caves.publish(caves.events(20))
    caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS RENAME TO PRODUCTION.ORDERS_AWAY")
    installation.run()
    installation.later = GRACE
    assert installation.titles() == [f"Failing: {JOB}"]
    caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS_AWAY RENAME TO PRODUCTION.ORDERS")
    for table, ends in ((caves.shop.raw.key, []), (["production", "orders"], [f"Over: {JOB}"])):
        job = installation.definitions.resolve_job_def(JOB)
        part = job.execute_in_process(instance=installation.instance, asset_selection=[dg.AssetKey(table)])
        assert part.success
        installation.later += 3 * GRACE
        # That the last run of the job failed is told by task_status too.
        assert [title for title in installation.titles() if title.endswith(JOB)] == ends


def test_a_killed_run_that_is_made_good_wakes_nobody(installation: Installation) -> None:
    instance = installation.instance
    run = instance.create_run_for_job(installation.definitions.resolve_job_def(JOB))
    instance.report_run_failed(run, "The run's process is gone: it ended without a word.")
    assert installation.titles() == []
    assert installation.run()
    assert installation.titles() == []
    installation.later = 2 * GRACE
    assert installation.titles() == []


def test_a_run_whose_process_is_gone_says_so(installation: Installation) -> None:
    instance = installation.instance
    run = instance.create_run_for_job(installation.definitions.resolve_job_def(JOB))
    instance.report_run_failed(run, "The run's process is gone: it ended without a word.")
    installation.later = GRACE
    (text,) = installation.told()
    assert "The run's process is gone: it ended without a word." in text


def test_a_webhook_that_is_away_is_told_later_and_once(caves: Caves, installation: Installation) -> None:
    caves.publish(caves.events(30))
    installation.run()
    double_an_order(caves)
    installation.run()
    installation.hook.answers = [503] * 4
    for _ in range(2):
        data = installation.tick("check_alerts")
        assert "it answered 503" in (data.skip_message or "")
        assert installation.hook.taken() == []
    titles = installation.titles()
    assert "Failing: duplicates on production/orders" in titles
    assert len(set(titles)) == len(titles)
    assert installation.titles() == []


def test_a_lost_cursor_tells_what_fails_now_and_nothing_of_the_past(
    caves: Caves, installation: Installation
) -> None:
    caves.publish(caves.events(30))
    installation.run()
    key = double_an_order(caves)
    installation.run()
    failing = set(installation.titles())
    assert "Failing: duplicates on production/orders" in failing
    installation.cursors.clear()
    assert set(installation.titles()) == failing, "once more: nobody knows whether it was told"
    assert installation.titles() == []
    mend(caves, key)
    installation.run()
    installation.cursors.clear()
    assert installation.titles() == [], "what was mended is past"


def test_a_spoilt_cursor_counts_as_lost(caves: Caves, installation: Installation) -> None:
    becomes(installation, caves.shop.raw.key, FreshnessState.FAIL)
    for cursor in (None, "", "not JSON", "[1]", "{}", '{"position": "x"}', '{"position": 1}'):
        installation.cursors = dict.fromkeys(installation.cursors, cursor)
        assert installation.titles() == ["Failing: freshness of Les Caves d'Albert"]
        assert installation.titles() == []


def test_a_lost_cursor_while_a_job_fails_tells_it_once_more(caves: Caves, installation: Installation) -> None:
    caves.publish(caves.events(5))
    caves.warehouse.execute("ALTER TABLE PRODUCTION.ORDERS RENAME TO PRODUCTION.ORDERS_AWAY")
    for _ in range(3):
        installation.run()
    assert installation.titles() == [f"Failing: {JOB}"]
    installation.cursors.clear()
    (text,) = installation.told()
    assert "3 failures" in text
    assert installation.titles() == []


# --- freshness


def becomes(installation: Installation, table: list[str], state: FreshnessState) -> None:
    """What Dagster's freshness daemon reports."""
    installation.instance.report_runless_asset_event(
        FreshnessStateChange(
            key=dg.AssetKey(table),
            previous_state=FreshnessState.UNKNOWN,
            new_state=state,
            state_change_timestamp=time.time(),
        )
    )


def test_stale_tables_are_one_incident_and_over_when_the_last_of_them_is_fresh(
    caves: Caves, installation: Installation
) -> None:
    raw, orders = caves.shop.raw.key, ["production", "orders"]
    becomes(installation, raw, FreshnessState.WARN)
    assert installation.titles() == []
    becomes(installation, raw, FreshnessState.FAIL)
    becomes(installation, orders, FreshnessState.FAIL)
    assert installation.titles() == ["Failing: freshness of Les Caves d'Albert"]
    becomes(installation, raw, FreshnessState.PASS)
    installation.later = 2 * GRACE
    assert installation.titles() == []
    becomes(installation, orders, FreshnessState.PASS)
    installation.later = 4 * GRACE
    assert installation.titles() == ["Over: freshness of Les Caves d'Albert"]


def test_a_first_look_tells_what_is_stale(caves: Caves, installation: Installation) -> None:
    becomes(installation, caves.shop.raw.key, FreshnessState.FAIL)
    installation.cursors.clear()
    assert installation.titles() == ["Failing: freshness of Les Caves d'Albert"]


# --- what the event log may do


def test_events_by_the_thousand_are_looked_at_in_order(
    caves: Caves, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_MOST_EVENTS", 2)
    raw = caves.shop.raw.key
    for _ in range(4):
        becomes(installation, raw, FreshnessState.FAIL)
        becomes(installation, raw, FreshnessState.PASS)
    becomes(installation, raw, FreshnessState.FAIL)
    titles = [title for _ in range(6) for title in installation.titles()]
    assert titles == ["Failing: freshness of Les Caves d'Albert"]
    installation.later = 10 * GRACE
    assert installation.titles() == [], "the last of them was a failure"


def test_deleted_runs_do_not_make_the_sensors_blind(caves: Caves, installation: Installation) -> None:
    """SQLite gives the numbers of the newest events again when they have been deleted."""
    caves.publish(caves.events(5))
    installation.run()
    installation.titles()
    for record in installation.instance.get_run_records():
        installation.instance.delete_run(record.dagster_run.run_id)
    installation.titles()
    becomes(installation, caves.shop.raw.key, FreshnessState.FAIL)
    assert installation.titles() == ["Failing: freshness of Les Caves d'Albert"]


def test_a_sensor_that_fails_says_so_and_looks_again_from_where_it_was(
    caves: Caves, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    becomes(installation, caves.shop.raw.key, FreshnessState.FAIL)
    before = installation.cursors["check_alerts"]
    with monkeypatch.context() as broken:
        broken.setattr(checks.Checks, "after", lambda *_: 1 / 0)
        data = installation.tick("check_alerts")
    assert "ZeroDivisionError" in (data.skip_message or "")
    assert data.cursor == before
    assert installation.titles() == ["Failing: freshness of Les Caves d'Albert"]
