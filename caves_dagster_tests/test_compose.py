"""docker-compose.yml: what can be said of it without Docker."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import yaml
from click import unstyle
from typer.testing import CliRunner

from caves_dagster.cli import app
from caves_dagster.settings import PROJECT_ROOT, KafkaEndpoint, KafkaSettings

_PINNED = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+\.\d+([-.][a-z0-9.]+)?")
_LOOPBACK = re.compile(r"127\.0\.0\.1:(\d+|\$\{[A-Z_]+:-\d+\}):\d+")
# They ask the others, whatever state those are in.
_OBSERVERS = {"prometheus", "alertmanager", "grafana"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return parsed


def option(service: dict[str, Any], name: str) -> str:
    """The value of a command-line option."""
    command: list[str] = service["command"]
    return command[command.index(name) + 1]


def created_topics(compose: dict[str, Any]) -> dict[str, int]:
    """Partitions by topic, as the one-shot service creates them."""
    (script,) = compose["services"]["topics"]["command"]
    words = [shlex.split(line) for line in script.splitlines()]
    return {
        line[3]: int(line[line.index("--partitions") + 1])
        for line in words
        if line[:3] == ["rpk", "topic", "create"]
    }


def test_every_image_is_pinned_to_a_full_version(compose: dict[str, Any]) -> None:
    images = {name: service["image"] for name, service in compose["services"].items()}
    assert {name for name, image in images.items() if not _PINNED.fullmatch(image)} == set()


def test_every_port_is_published_on_loopback_only(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert sorted(ports) == [
        "127.0.0.1:${GRAFANA_PORT:-3001}:3000",
        "127.0.0.1:19092:19092",
        "127.0.0.1:8080:8080",
        "127.0.0.1:9090:9090",
        "127.0.0.1:9093:9093",
    ]
    assert [port for port in ports if not _LOOPBACK.fullmatch(port)] == []
    assert [name for name, service in compose["services"].items() if "network_mode" in service] == []


def test_the_broker_names_addresses_that_its_clients_reach(compose: dict[str, Any]) -> None:
    redpanda = compose["services"]["redpanda"]
    listens = dict(item.split("://") for item in option(redpanda, "--kafka-addr").split(","))
    advertised = dict(item.split("://") for item in option(redpanda, "--advertise-kafka-addr").split(","))
    assert listens == {"internal": "0.0.0.0:9092", "external": "0.0.0.0:19092"}
    assert advertised == {"internal": "redpanda:9092", "external": KafkaEndpoint().bootstrap_servers}
    assert compose["services"]["console"]["environment"]["KAFKA_BROKERS"] == advertised["internal"]
    assert compose["services"]["topics"]["environment"]["RPK_BROKERS"] == advertised["internal"]


def test_topics_are_created_by_name_and_never_by_accident(compose: dict[str, Any]) -> None:
    assert option(compose["services"]["redpanda"], "--set") == "redpanda.auto_create_topics_enabled=false"
    assert created_topics(compose) == {"$$SALES_TOPIC": 6, "orders_topic": 3}
    default = KafkaSettings.model_fields["topic_name"].default
    assert compose["services"]["topics"]["environment"]["SALES_TOPIC"] == f"${{KAFKA_TOPIC_NAME:-{default}}}"


def test_whatever_needs_the_broker_waits_until_it_is_healthy(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services["redpanda"]["healthcheck"]["test"]
    for name in services.keys() - {"redpanda"} - _OBSERVERS:
        assert services[name]["depends_on"]["redpanda"]["condition"] == "service_healthy", name


def test_records_are_kept_in_a_volume(compose: dict[str, Any]) -> None:
    (mount,) = compose["services"]["redpanda"]["volumes"]
    volume, _, path = mount.partition(":")
    assert volume in compose["volumes"]
    assert path == "/var/lib/redpanda/data"


def test_the_one_shot_service_ends(compose: dict[str, Any]) -> None:
    assert compose["services"]["topics"]["restart"] == "no"


# --- the profiles


def test_only_the_broker_runs_unless_asked(compose: dict[str, Any]) -> None:
    profiles = {name: service.get("profiles", []) for name, service in compose["services"].items()}
    assert {name for name, found in profiles.items() if not found} == {"redpanda", "topics", "console"}
    assert {name for name, found in profiles.items() if found == ["streaming"]} == {"producer", "consumer"}
    assert {name for name, found in profiles.items() if found == ["monitoring"]} == _OBSERVERS | {"metrics"}
    assert {name for name, found in profiles.items() if len(found) == 2} == {"setup"}


def test_our_own_services_run_commands_that_are_there(compose: dict[str, Any]) -> None:
    services = [one for one in compose["services"].values() if one["image"].startswith("caves-dagster:")]
    assert len(services) == 4
    for service in services:
        program, command, *options = service["command"]
        assert program == "caves"
        found = CliRunner().invoke(app, [command, "--help"])
        assert found.exit_code == 0
        assert all(option in unstyle(found.output) for option in options if option.startswith("--"))
        assert service["environment"]["KAFKA_BOOTSTRAP_SERVERS"] == "redpanda:9092"


def test_what_needs_the_tables_waits_until_they_are_made(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services["setup"]["restart"] == "no"
    for name in ("consumer", "metrics"):
        assert services[name]["depends_on"]["setup"]["condition"] == "service_completed_successfully"


def test_prometheus_scrapes_the_services_by_their_names_and_port(compose: dict[str, Any]) -> None:
    config = yaml.safe_load(
        (PROJECT_ROOT / "monitoring/prometheus/prometheus.yml").read_text(encoding="utf-8")
    )
    consumer, warehouse = config["scrape_configs"]
    (found,) = consumer["dns_sd_configs"]
    port = int(compose["services"]["consumer"]["environment"]["CAVES_METRICS_PORT"])
    assert (found["names"], found["port"]) == (["consumer"], port)
    assert warehouse["static_configs"] == [{"targets": [f"metrics:{port}"]}]
    assert {"consumer", "metrics"} <= compose["services"].keys()
    (alerting,) = config["alerting"]["alertmanagers"]
    assert alerting["static_configs"] == [{"targets": ["alertmanager:9093"]}]
    assert "alertmanager" in compose["services"]


def test_what_is_mounted_from_here_exists(compose: dict[str, Any]) -> None:
    mounts = [one for service in compose["services"].values() for one in service.get("volumes", [])]
    files = [one.split(":")[0] for one in mounts if one.startswith("./")]
    assert files
    assert [path for path in files if not (PROJECT_ROOT / path).exists()] == []


def test_grafana_has_no_default_password(compose: dict[str, Any]) -> None:
    environment = compose["services"]["grafana"]["environment"]
    assert environment["GF_SECURITY_ADMIN_PASSWORD"] == "${GRAFANA_PASSWORD:-}"
    assert "exit 1" in compose["services"]["grafana"]["command"][0]
