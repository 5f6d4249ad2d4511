"""docker-compose.yml without containers: every service of ours by its own command, on a real PostgreSQL.

The embedded broker stands in for Redpanda. The images of others that are only looked at (its console,
Prometheus, Alertmanager, Grafana) do not run here.
"""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from caves_dagster.local.platform import BROKER, running_platform
from caves_dagster.settings import embedded_settings
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.brokers import until
from caves_dagster_tests.containers.postgres import Postgres, running_postgres
from caves_dagster_tests.containers.services import HOST, Stack

pytestmark = pytest.mark.slow

# Seconds; a machine that is busy with other tests takes them.
_PATIENCE = 300
_POSTGRES, _LOCAL = "postgres-word", "warehouse-word"
_RUNS = "{ runsOrError { ... on Runs { results { jobName status } } } }"


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """What Debian has, in place of the image."""
    with running_postgres("dagster", _POSTGRES) as server:
        yield server


@pytest.fixture
def stack(tmp_path: Path, postgres: Postgres) -> Iterator[Stack]:
    """Nothing of ours runs yet; whatever does is ended with the test."""
    with running_platform(tmp_path / "broker", servers=(BROKER,)) as platform:
        broker = int(platform.endpoints.kafka.bootstrap_servers.rpartition(":")[2])
        provided = {"postgres": postgres.port, "redpanda": broker}
        variables = {"POSTGRES_PASSWORD": _POSTGRES, "CAVES_SENSOR_INTERVAL_SECONDS": "2"}
        stack = Stack(tmp_path, provided, variables, {"CAVES_LOCAL_WAREHOUSE_PASSWORD": _LOCAL})
        try:
            yield stack
        finally:
            stack.down()


def runs(stack: Stack) -> Counter[tuple[str, str]]:
    """Runs by job and status, as the webserver tells them."""
    request = urllib.request.Request(
        f"http://{HOST}:{stack.ports['webserver']}/graphql",
        json.dumps({"query": _RUNS}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["runsOrError"]["results"]
    return Counter((run["jobName"], run["status"]) for run in found)


def warehouse(stack: Stack) -> Warehouse:
    """A session on the stack's warehouse, by the password from its file."""
    settings = embedded_settings(stack.app / ".caves").snowflake
    return Warehouse(settings.model_copy(update={"password": SecretStr(_LOCAL)}))


def test_an_event_goes_from_the_producer_to_production(stack: Stack, postgres: Postgres) -> None:
    stack.up("webserver", "daemon", "producer")
    stack.await_health("webserver")
    with warehouse(stack) as session:

        def orders() -> int:
            return int(session.query("SELECT COUNT(*) AS N FROM PRODUCTION.ORDERS")[0]["N"])

        until(lambda: orders() > 0, "an order in PRODUCTION, brought by the sensors", _PATIENCE)
    assert stack.down(["producer"]) == {"producer": 0}
    until(lambda: runs(stack)["caves_pipeline", "SUCCESS"] > 0, "the run has succeeded", _PATIENCE)
    assert [run for run in runs(stack) if run[1] in ("FAILURE", "CANCELED")] == []

    # All of it is in PostgreSQL, and the logs of runs where webserver and code location both see them.
    assert int(postgres.query("SELECT COUNT(*) FROM runs")) > 0
    assert int(postgres.query("SELECT COUNT(*) FROM job_ticks")) > 0
    assert list(stack.app.glob("dagster/**/*.db")) == []
    assert list((stack.app / "dagster" / "storage").iterdir())
    assert stack.is_healthy("daemon")

    # The consumer takes over from the sensors, told through the same PostgreSQL.
    pages = ("dashboard",) if find_spec("caves_dagster.cli.dashboard") else ()
    stack.up("consumer", "metrics", *pages)
    stack.await_health("consumer", "metrics", *pages)
    until(lambda: "The consumer is" in ticks(postgres), "the sensors stand back", _PATIENCE)

    codes = stack.down()
    # Not the consumer's: on a busy machine it may not end in time, and says so.
    ours = {"setup", "dagster-storage", "warehouse", "metrics"}
    assert {name: codes[name] for name in ours} == dict.fromkeys(ours, 0)
    for name in (*codes, "producer"):
        assert _POSTGRES not in stack.said(name)
        assert _LOCAL not in stack.said(name)


def ticks(postgres: Postgres) -> str:
    """Why sensors skipped."""
    return postgres.query("SELECT string_agg(tick_body, ' ') FROM job_ticks WHERE status = 'SKIPPED'")
