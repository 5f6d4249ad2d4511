"""docker-compose.yml as Compose reads it: every set of profiles, with and without an account and a broker."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from caves_dagster_tests.containers.compose import BASE, KAFKA, SNOWFLAKE, Compose, require_compose

_FILES = [(BASE,), (BASE, SNOWFLAKE), (BASE, KAFKA), (BASE, SNOWFLAKE, KAFKA)]
_PROFILES: list[tuple[str, ...]] = [(), ("streaming",), ("monitoring",), ("streaming", "monitoring")]
_ALWAYS = {"postgres", "dagster-storage", "setup", "code-location", "webserver", "daemon", "dashboard"}
_ENV = """
POSTGRES_PASSWORD=p0stgres
GRAFANA_PASSWORD=gr4fana
CAVES_LOCAL_WAREHOUSE_PASSWORD=l0cal
"""
_OWN = """
SNOWFLAKE_ACCOUNT=org-account
SNOWFLAKE_USER=CAVES_SERVICE
SNOWFLAKE_PASSWORD='sn0w $word'
KAFKA_BOOTSTRAP_SERVERS=broker-1.example:9092
DB_PATH=/home/albert/wine_data.db
"""


@pytest.fixture
def compose(tmp_path: Path) -> Compose:
    return Compose(tmp_path, require_compose())


def published(config: dict[str, Any]) -> set[tuple[str, str]]:
    """Address and port of everything that is published."""
    ports = [port for service in config["services"].values() for port in service.get("ports", [])]
    return {(port["host_ip"], port["published"]) for port in ports}


@pytest.mark.parametrize(("files", "profiles"), list(product(_FILES, _PROFILES)))
def test_every_combination_holds_together(
    compose: Compose, files: tuple[str, ...], profiles: tuple[str, ...]
) -> None:
    config = compose.config(files, profiles, _ENV + _OWN)
    services = config["services"]
    wanted = set(_ALWAYS)
    wanted |= set() if SNOWFLAKE in files else {"warehouse"}
    wanted |= set() if KAFKA in files else {"redpanda", "topics", "console"}
    if "streaming" in profiles:
        wanted |= {"consumer"} | (set() if KAFKA in files else {"producer"})
    if "monitoring" in profiles:
        wanted |= {"metrics", "prometheus", "alertmanager", "grafana"}
    assert services.keys() == wanted
    assert {address for address, _ in published(config)} == {"127.0.0.1"}
    for name in wanted & {"setup", "code-location", "consumer", "metrics", "dashboard", "producer"}:
        environment = services[name]["environment"]
        broker = "broker-1.example:9092" if KAFKA in files else "redpanda:9092"
        assert environment["KAFKA_BOOTSTRAP_SERVERS"] == broker, name
        assert environment["SNOWFLAKE_ACCOUNT"] == "org-account", name
        assert environment["DB_PATH"] == "/app/data/wine_data.db", name


def test_without_settings_it_runs_on_its_own_warehouse(compose: Compose) -> None:
    services = compose.config((BASE,), ("streaming", "monitoring"), _ENV)["services"]
    assert services["setup"]["depends_on"]["warehouse"]["condition"] == "service_healthy"
    assert not [name for name, one in services.items() if "SNOWFLAKE_ACCOUNT" in one.get("environment", {})]


@pytest.mark.parametrize(
    ("missing", "files"),
    [
        ("POSTGRES_PASSWORD", (BASE,)),
        ("SNOWFLAKE_ACCOUNT", (BASE, SNOWFLAKE)),
        ("KAFKA_BOOTSTRAP_SERVERS", (BASE, KAFKA)),
    ],
)
def test_what_has_to_be_set_is_asked_for(compose: Compose, missing: str, files: tuple[str, ...]) -> None:
    lines = [line for line in (_ENV + _OWN).splitlines() if not line.startswith(f"{missing}=")]
    for env in ("\n".join(lines), "\n".join([*lines, f"{missing}="])):
        done = compose.run(files, (), env)
        assert done.returncode != 0
        assert f"Set {missing} in .env" in done.stderr


def test_pages_are_published_elsewhere_on_request_kafka_and_the_warehouse_never(compose: Compose) -> None:
    env = f"{_ENV}PUBLISH_ADDRESS=192.0.2.7\nGRAFANA_PORT=3100\n"
    config = compose.config((BASE,), ("monitoring",), env)
    assert published(config) == {
        ("127.0.0.1", "19092"),
        ("127.0.0.1", "19094"),
        *(("192.0.2.7", port) for port in ("8080", "3000", "8501", "9090", "9093", "3100")),
    }


def test_secrets_reach_only_those_that_use_them(compose: Compose) -> None:
    services = compose.config((BASE,), ("streaming", "monitoring"), _ENV + _OWN)["services"]
    for name in ("webserver", "daemon", "dagster-storage", "postgres", "redpanda", "console", "prometheus"):
        for secret in ("sn0w", "gr4fana", "l0cal"):
            assert secret not in repr(services[name]), name
    assert services["setup"]["environment"]["SNOWFLAKE_PASSWORD"] == "sn0w $$word"
