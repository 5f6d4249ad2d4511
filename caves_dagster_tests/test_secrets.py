"""Marked secrets go in; nothing that is written anywhere may hold a mark."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value
from pydantic import SecretStr

from caves_dagster.alerts.channels import channels
from caves_dagster.alerts.messages import Message
from caves_dagster.checks.catalogue import shop_checks
from caves_dagster.checks.check import run_check
from caves_dagster.definitions import build_definitions
from caves_dagster.deploy.carry_out import set_up
from caves_dagster.errors import CavesError
from caves_dagster.kafka.client import KafkaClient
from caves_dagster.local import ports
from caves_dagster.settings import PROJECT_ROOT, AlertSettings, Settings
from caves_dagster.status import shop_status
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.alerts import servers
from caves_dagster_tests.alerts.servers import running_hook, running_mailbox
from caves_dagster_tests.conftest import Caves

MARK = "m4rked"
PASSWORD, PASSPHRASE, SASL = f"{MARK}-password", f"{MARK}-passphrase", f"{MARK}-sasl"
HOOK, SMTP = f"http://127.0.0.1:1/services/{MARK}-hook", f"{MARK}-smtp"


@pytest.fixture(scope="module")
def guarded_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A warehouse server whose password is marked."""
    home = tmp_path_factory.mktemp("guarded")
    command = [sys.executable, "-m", "caves_dagster.local.warehouse", "--home", str(home)]
    port = ports.any_free("127.0.0.1")
    process = subprocess.Popen([*command, "--port", str(port), "--password", PASSWORD], cwd=PROJECT_ROOT)
    try:
        deadline = time.monotonic() + 30
        while not (home / "warehouse" / "endpoint.json").is_file():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)


def marked(caves: Caves, **snowflake: Any) -> Settings:
    """The test's settings with every secret marked."""
    secrets = {"password": SecretStr(PASSWORD), "private_key_passphrase": SecretStr(PASSPHRASE)}
    sasl = {"sasl_mechanism": "PLAIN", "sasl_username": "albert", "sasl_password": SecretStr(SASL)}
    alerts = AlertSettings.model_construct(
        webhook_url=SecretStr(HOOK),
        email_to="albert@example.org",
        email_from="dagster@example.org",
        smtp_host="127.0.0.1",
        smtp_port=1,
        smtp_user="albert",
        smtp_password=SecretStr(SMTP),
        grace_seconds=0.0,
    )
    quick = {"login_timeout": 2, "network_timeout": 2, "timeout_seconds": 2.0}
    return caves.settings.model_copy(
        update={
            "sensor_interval_seconds": 1,
            "alerts": alerts,
            "kafka": caves.settings.kafka.model_copy(update=sasl),
            "snowflake": caves.settings.snowflake.model_copy(
                update=secrets | {k: v for k, v in quick.items() if k != "timeout_seconds"} | snowflake
            ),
        }
    )


class Written:
    """Everything a test wrote: captured logs and output, and the files under a folder."""

    def __init__(
        self, folder: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        self.folder, self._caplog, self._capfd = folder, caplog, capfd

    def require_no_mark(self, *more: str) -> None:
        assert len(self._caplog.records) > 0, "nothing was logged: the test shows nothing"
        self._require(self._caplog.text, "the log")
        for record in self._caplog.records:
            self._require(f"{record.msg!r} {record.args!r}", "a log record")
        output = self._capfd.readouterr()
        self._require(output.out, "stdout")
        self._require(output.err, "stderr")
        for text in more:
            self._require(text, "what was handed over")
        for file in self.folder.rglob("*"):
            if file.is_file():
                self._require(file.read_bytes().decode(errors="replace"), str(file))

    @staticmethod
    def _require(text: str, where: str) -> None:
        found = text.find(MARK)
        assert found < 0, f"a secret stands in {where}: {text[max(0, found - 200) : found + 30]}"


@pytest.fixture
def written(tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Written:
    """Captures at DEBUG."""
    caplog.set_level(logging.DEBUG)
    return Written(tmp_path, caplog, capfd)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance that writes files: event log, run storage, compute logs."""
    folder = tmp_path / "dagster"
    folder.mkdir()
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        yield instance


def tick_all(definitions: dg.Definitions, instance: dg.DagsterInstance) -> str:
    """What every sensor says."""
    said = []
    for sensor in definitions.get_repository_def().sensor_defs:
        context = dg.build_sensor_context(instance=instance, definitions=definitions, sensor_name=sensor.name)
        said.append(repr(sensor.evaluate_tick(context)))
    return "\n".join(said)


def everything_recorded(instance: dg.DagsterInstance) -> str:
    """Runs with their tags and config, and every event of them with its stack trace."""
    runs = [record.dagster_run for record in instance.get_run_records()]
    events = [repr(entry) for run in runs for entry in instance.all_logs(run.run_id)]
    assert events
    return "\n".join([*map(repr, runs), *events])


def test_the_mark_would_be_found(written: Written) -> None:
    logging.getLogger("somebody").warning("nothing here")
    (written.folder / "log").write_text(f"password={PASSWORD}")
    with pytest.raises(AssertionError, match="a secret stands in"):
        written.require_no_mark()


def test_settings_do_not_show_their_secrets(caves: Caves) -> None:
    settings = marked(caves)
    shown = (
        repr(settings),
        str(settings),
        settings.model_dump_json(),
        repr(settings.model_dump()),
        f"{settings}",
    )
    for text in (*shown, repr(settings.snowflake), repr(settings.kafka), repr(settings.alerts)):
        assert MARK not in text
    assert settings.snowflake.password is not None
    assert settings.snowflake.password.get_secret_value() == PASSWORD


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dagster reads a property of its own
def test_what_the_ui_is_told_of_the_code_location_holds_no_secret(caves: Caves) -> None:
    repository = build_definitions(marked(caves)).get_repository_def()
    told = serialize_value(RepositorySnap.from_def(repository))
    assert "caves_kafka_sensor" in told
    assert MARK not in told


def test_a_run_that_works_writes_no_secret(
    caves: Caves, guarded_port: int, written: Written, instance: dg.DagsterInstance
) -> None:
    settings = marked(caves, port=guarded_port)
    definitions = build_definitions(settings)
    caves.publish(caves.events(30, invalid_rate=0.2))
    with Warehouse(settings.snowflake) as warehouse:
        set_up(warehouse, caves.shop)
        result = definitions.resolve_job_def("caves_pipeline").execute_in_process(instance=instance)
        assert result.success
        checks = shop_checks(caves.settings, caves.shop)
        outcomes = [run_check(warehouse, caves.shop, check) for check in checks]
        status = shop_status(settings, caves.shop, warehouse)
    said = tick_all(definitions, instance)
    written.require_no_mark(
        said, repr(outcomes), repr(status), repr(status.as_json()), everything_recorded(instance)
    )


FAILURES: dict[str, dict[str, Any]] = {
    "sign-in refused": {},
    "connection refused": {"port": 1},
    "no key file": {"private_key_path": Path("/nowhere/key.p8")},
}


@pytest.mark.parametrize("what", FAILURES)
def test_a_run_that_fails_writes_no_secret(
    caves: Caves, written: Written, instance: dg.DagsterInstance, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caves_dagster.ingest.run.Ingestion.run.__defaults__", (1.0,))
    settings = marked(caves, **FAILURES[what])
    definitions = build_definitions(settings)
    caves.publish(caves.events(3))
    job = definitions.resolve_job_def("caves_pipeline")
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    said = tick_all(definitions, instance)
    with pytest.raises(CavesError) as failure, Warehouse(settings.snowflake) as warehouse:
        shop_status(settings, caves.shop, warehouse)
    assert "The webhook did not take an alert" in said
    assert "The mail server 127.0.0.1:1 took no alert" in said
    written.require_no_mark(said, repr(failure.value), str(failure.value), everything_recorded(instance))


def test_an_alert_that_is_delivered_writes_no_secret(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = ports.any_free("127.0.0.1")
    with running_hook() as hook, running_mailbox(tmp_path, port) as mailbox:
        monkeypatch.setenv("SSL_CERT_FILE", str(mailbox.certificate))
        settings = AlertSettings.model_construct(
            webhook_url=SecretStr(hook.url),
            email_to="albert@example.org",
            email_from="dagster@example.org",
            smtp_host="127.0.0.1",
            smtp_port=port,
            smtp_user=servers.USER,
            smtp_password=SecretStr(servers.PASSWORD),
        )
        assert MARK in hook.url
        assert MARK in servers.PASSWORD
        for channel in channels(settings, logging.getLogger("tick")):
            channel.send(Message("Failing: duplicates on production/orders", ("1 failure",), "http://ui"))
        assert (len(hook.texts), len(mailbox.mails)) == (1, 1)
    # The server's own log is not ours: it notes all that it is sent.
    written.require_no_mark()


def test_a_key_that_cannot_be_read_tells_no_passphrase(
    caves: Caves, written: Written, tmp_path: Path
) -> None:
    key = tmp_path / "key.p8"
    key.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
    settings = marked(caves, private_key_path=key)
    with pytest.raises(CavesError, match="SNOWFLAKE_PRIVATE_KEY_PATH") as failure:
        Warehouse(settings.snowflake).query("SELECT 1")
    logging.getLogger("test").exception("as a caller might log it", exc_info=failure.value)
    written.require_no_mark(str(failure.value))


def test_a_broker_that_refuses_sasl_tells_no_password(caves: Caves, written: Written) -> None:
    settings = marked(caves)
    kafka = settings.kafka.model_copy(update={"security_protocol": "SASL_PLAINTEXT", "timeout_seconds": 2.0})
    with pytest.raises(CavesError) as failure:
        KafkaClient(kafka).inspect(caves.shop.topic)
    logging.getLogger("test").exception("as a caller might log it", exc_info=failure.value)
    written.require_no_mark(str(failure.value))


COMMANDS: dict[str, tuple[list[str], dict[str, str]]] = {
    "status": (["status"], {}),
    "setup": (["setup"], {}),
    "snowflake plan": (["snowflake", "plan"], {}),
    "produce": (["produce", "--count", "1"], {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}),
    "a malformed setting": (["status"], {"SNOWFLAKE_PORT": "abc"}),
    "a malformed webhook": (["status"], {"CAVES_ALERT_WEBHOOK_URL": f"hooks.example/{MARK}"}),
    "an incomplete one": (["status"], {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_USERNAME": ""}),
}


@pytest.mark.parametrize("what", COMMANDS)
def test_a_command_that_fails_tells_no_secret(caves: Caves, tmp_path: Path, what: str) -> None:
    arguments, more = COMMANDS[what]
    environment = {
        **os.environ,
        "CAVES_HOME": str(tmp_path),
        "SNOWFLAKE_ACCOUNT": "org-account",
        "SNOWFLAKE_USER": "albert",
        "SNOWFLAKE_PASSWORD": PASSWORD,
        "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": PASSPHRASE,
        "SNOWFLAKE_HOST": "127.0.0.1",
        "SNOWFLAKE_PORT": "1",
        "SNOWFLAKE_PROTOCOL": "http",
        "CAVES_SNOWFLAKE_LOGIN_TIMEOUT": "2",
        "KAFKA_BOOTSTRAP_SERVERS": caves.settings.kafka.bootstrap_servers,
        "KAFKA_TOPIC_NAME": caves.shop.topic,
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_SASL_USERNAME": "albert",
        "KAFKA_SASL_PASSWORD": SASL,
        "CAVES_KAFKA_TIMEOUT_SECONDS": "2",
        **more,
    }
    command = str(Path(sys.executable).with_name("caves"))
    done = subprocess.run([command, *arguments], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert MARK not in done.stdout + done.stderr
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or MARK.encode() not in file.read_bytes(), file
