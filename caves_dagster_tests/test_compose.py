"""docker-compose.yml: what can be said of it without Docker."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from click import unstyle
from typer.testing import CliRunner

from caves_dagster.cli import app
from caves_dagster.settings import PROJECT_ROOT, Endpoints, KafkaEndpoint, KafkaSettings

# PostgreSQL's versions have two numbers.
_PINNED = re.compile(r"[a-z0-9./-]+:(v?\d+\.\d+\.\d+|(?<=postgres:)\d+\.\d+)([-.][a-z0-9.]+)*")
_LOOPBACK = re.compile(r"(127\.0\.0\.1|\$\{PUBLISH_ADDRESS:-127\.0\.0\.1\}):(\d+|\$\{[A-Z_]+:-\d+\}):\d+")
DOCKERFILE = (PROJECT_ROOT / "Dockerfile").read_text(encoding="utf-8")
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
    assert [port for port in ports if not _LOOPBACK.fullmatch(port)] == []
    # Pages may be published elsewhere; Kafka and the warehouse, where anybody may write, are not.
    assert sorted(port for port in ports if "PUBLISH_ADDRESS" not in port) == [
        "127.0.0.1:19092:19092",
        "127.0.0.1:19094:19094",
    ]
    pages = {port.partition("}:")[2] for port in ports if "PUBLISH_ADDRESS" in port}
    assert pages == {
        "8080:8080",
        "3000:3000",
        "8501:8501",
        "9090:9090",
        "9093:9093",
        "${GRAFANA_PORT:-3001}:3000",
    }
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


def waits_for(compose: dict[str, Any], name: str) -> set[tuple[str, str]]:
    """What a service waits for, and what that waits for: names and conditions."""
    found = set()
    for other, wanted in compose["services"][name].get("depends_on", {}).items():
        found |= {(other, wanted["condition"]), *waits_for(compose, other)}
    return found


def test_whatever_needs_the_broker_waits_until_it_is_healthy(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services["redpanda"]["healthcheck"]["test"]
    of_storage = {"postgres", "dagster-storage", "warehouse"}
    for name in services.keys() - {"redpanda"} - _OBSERVERS - of_storage:
        assert ("redpanda", "service_healthy") in waits_for(compose, name), name


def test_records_are_kept_in_a_volume(compose: dict[str, Any]) -> None:
    (mount,) = compose["services"]["redpanda"]["volumes"]
    volume, _, path = mount.partition(":")
    assert volume in compose["volumes"]
    assert path == "/var/lib/redpanda/data"


def test_the_one_shot_service_ends(compose: dict[str, Any]) -> None:
    assert compose["services"]["topics"]["restart"] == "no"


# --- the profiles


def test_dagster_and_the_dashboard_run_unless_told_otherwise(compose: dict[str, Any]) -> None:
    profiles = {name: service.get("profiles", []) for name, service in compose["services"].items()}
    assert {name for name, found in profiles.items() if found == ["streaming"]} == {"producer", "consumer"}
    assert {name for name, found in profiles.items() if found == ["monitoring"]} == _OBSERVERS | {"metrics"}
    assert {name for name, found in profiles.items() if not found} == {
        *("redpanda", "topics", "console", "warehouse", "setup"),
        *("postgres", "dagster-storage", "code-location", "webserver", "daemon", "dashboard"),
    }


# --- our own image


def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {n: s for n, s in compose["services"].items() if s["image"].startswith("caves-dagster:")}


def test_our_own_services_run_commands_that_are_there(compose: dict[str, Any]) -> None:
    assert len(ours(compose)) == 10
    for name, service in ours(compose).items():
        program, *words = service["command"]
        assert program in ("caves", "dagster", "dagster-webserver", "dagster-daemon")
        if program != "caves" or (name == "dashboard" and not find_spec("caves_dagster.cli.dashboard")):
            continue
        options = [word for word in words if word.startswith("--")]
        command = words[: words.index(options[0])] if options else words
        found = CliRunner().invoke(app, [*command, "--help"])
        assert found.exit_code == 0, found.output
        assert all(option in unstyle(found.output) for option in options)


def test_within_the_network_settings_are_others_whatever_the_env_file_says(compose: dict[str, Any]) -> None:
    for name, service in ours(compose).items():
        if "env_file" not in service or name == "warehouse":
            continue
        environment = service["environment"]
        assert environment["KAFKA_BOOTSTRAP_SERVERS"] == "redpanda:9092"
        # A folder of the host's would not be there.
        for folder in ("CAVES_HOME", "CAVES_REPORTS", "CAVES_SEED_DIR", "DB_PATH", "DAGSTER_HOME"):
            assert environment[folder].startswith("/app/")


def test_dagsters_own_services_know_no_secret_but_that_of_their_storage(compose: dict[str, Any]) -> None:
    for name in ("webserver", "daemon", "dagster-storage"):
        service = compose["services"][name]
        assert "env_file" not in service
        assert not [mount for mount in service["volumes"] if "secrets" in mount]
        assert service["environment"].keys() == {"DAGSTER_HOME", "DAGSTER_POSTGRES_URL", "PGPASSWORD"}


def test_what_needs_the_tables_waits_until_they_are_made(compose: dict[str, Any]) -> None:
    for name in ("setup", "topics", "dagster-storage"):
        assert compose["services"][name]["restart"] == "no"
    for name in ("consumer", "metrics", "dashboard", "webserver", "daemon"):
        done = {other for other, condition in waits_for(compose, name) if condition.endswith("successfully")}
        assert {"setup", "topics", "dagster-storage"} <= done, name


def test_every_service_of_ours_says_how_it_is_or_that_it_says_nothing(compose: dict[str, Any]) -> None:
    silent = {name for name, one in ours(compose).items() if one["healthcheck"].get("disable")}
    assert silent == {"setup", "dagster-storage", "producer"}
    assert all(one["healthcheck"].get("test") for name, one in ours(compose).items() if name not in silent)


def test_the_instance_in_the_containers_is_the_same_but_for_its_storage() -> None:
    """The image's dagster.yaml is the project's and docker/storage.yaml, one after the other."""
    project = (PROJECT_ROOT / "dagster.yaml").read_text(encoding="utf-8")
    storage = (PROJECT_ROOT / "docker" / "storage.yaml").read_text(encoding="utf-8")
    whole = yaml.safe_load(f"{project}{storage}")
    assert whole.pop("storage") == {"postgres": {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}}
    assert whole == yaml.safe_load(project)
    assert "dagster.yaml /container/storage.yaml > dagster/dagster.yaml" in DOCKERFILE


def test_daemon_and_webserver_ask_the_code_location(compose: dict[str, Any]) -> None:
    workspace = yaml.safe_load((PROJECT_ROOT / "docker" / "workspace.yaml").read_text(encoding="utf-8"))
    here = yaml.safe_load((PROJECT_ROOT / "workspace.yaml").read_text(encoding="utf-8"))
    (server,) = [one["grpc_server"] for one in workspace["load_from"]]
    (module,) = [one["python_module"] for one in here["load_from"]]
    code = compose["services"]["code-location"]
    assert (server["host"], str(server["port"])) == ("code-location", option(code, "--port"))
    assert server["location_name"] == module["location_name"]
    assert option(code, "--module-name") == module["module_name"]
    for name in ("daemon", "webserver"):
        assert option(compose["services"][name], "--workspace") == "/app/dagster/workspace.yaml"


def test_the_local_warehouse_is_where_the_endpoints_say(compose: dict[str, Any]) -> None:
    endpoints = Endpoints.model_validate_json((PROJECT_ROOT / "docker" / "endpoints.json").read_text())
    warehouse = compose["services"]["warehouse"]
    assert endpoints.snowflake.host == "warehouse"
    assert str(endpoints.snowflake.port) == option(warehouse, "--port")
    assert warehouse["environment"]["CAVES_HOME"] == "/app/.caves"
    assert "warehouse:/app/.caves/warehouse" in warehouse["volumes"]


def test_logs_of_runs_and_reports_are_where_others_read_them(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name in ("code-location", "webserver"):
        assert "dagster:/app/dagster/storage" in services[name]["volumes"]
    for name in ("code-location", "metrics", "dashboard"):
        assert "data:/app/data" in services[name]["volumes"]


# --- the image


def test_the_image_is_what_compose_names(compose: dict[str, Any]) -> None:
    assert {one["image"] for one in ours(compose).values()} == {f"caves-dagster:{version('caves-dagster')}"}
    assert f"docker build -t caves-dagster:{version('caves-dagster')} ." in DOCKERFILE


def test_the_last_stage_is_pinned_runs_as_nobody_and_has_no_installer() -> None:
    stages = [line.split()[1] for line in DOCKERFILE.splitlines() if line.startswith("FROM ")]
    assert len(stages) == 2
    assert all(_PINNED.fullmatch(image) for image in stages)
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    assert "\nUSER 10001\n" in last
    assert "\nHEALTHCHECK " in last
    assert "pip uninstall --quiet --yes --root-user-action=ignore pip setuptools wheel" in last
    assert "/installer" not in last


def test_what_the_image_copies_is_let_through_and_nothing_else() -> None:
    lines = (PROJECT_ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    through = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert {path for one in copies for path in one.split()} == through
    assert lines[1] == "*"
    assert [path for path in through if not (PROJECT_ROOT / path).exists()] == []


def test_the_linter_finds_nothing_in_the_dockerfile(tmp_path: Path) -> None:
    """`make check` asks it too; here it is seen to find something."""
    hadolint = Path(sys.executable).with_name("hadolint")
    assert subprocess.run([hadolint, PROJECT_ROOT / "Dockerfile"], check=False).returncode == 0
    (tmp_path / "Dockerfile").write_text("FROM python\nRUN pip install dagster\n")
    found = subprocess.run([hadolint, tmp_path / "Dockerfile"], check=False, capture_output=True, text=True)
    assert found.returncode == 1
    assert "DL3006" in found.stdout


# --- monitoring


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
