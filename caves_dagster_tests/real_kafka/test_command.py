"""`caves kafka`: start, status, stop; and a broker that does not outlive its owner."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from caves_dagster.cli import app
from caves_dagster.errors import PlatformError
from caves_dagster.kafka.client import KafkaClient
from caves_dagster.local import ports
from caves_dagster.local.apache_kafka.artifacts import class_path, missing
from caves_dagster.local.apache_kafka.node import PREFERRED_PORT, ApacheKafka
from caves_dagster.settings import PROJECT_ROOT, KafkaSettings
from caves_dagster_tests.brokers import CACHE, require_kafka, until

# Each wants the port that users get.
pytestmark = pytest.mark.xdist_group("port of make kafka")


def caves(*words: str) -> str:
    """What the command prints; it succeeds."""
    result = CliRunner().invoke(app, ["kafka", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_it_starts_keeps_its_data_and_address_and_stops(java_and_maven: None, tmp_path: Path) -> None:
    home = tmp_path / "home"
    class_path(CACHE)
    shutil.copytree(CACHE, home / "cache", dirs_exist_ok=True)
    option = f"--home={home}"
    try:
        said = caves("start", option)
        address = next(word.partition("=")[2] for word in said.split() if word.startswith("KAFKA_BOOTSTRAP"))
        client = KafkaClient(KafkaSettings.model_construct(bootstrap_servers=address))
        state = client.inspect("sales_events")
        assert (len(state.partitions), len(client.inspect("orders_topic").partitions)) == (6, 3)
        assert address in caves("status", option)
        pid = ApacheKafka(home).status().pid
        caves("start", option)
        assert ApacheKafka(home).status().pid == pid, "it runs: a second start changes nothing"

        assert "stopped; its data is kept" in caves("stop", option)
        assert pid is not None
        assert not psutil.pid_exists(pid)
        with pytest.raises(PlatformError, match=r"not running \(stopped\).*caves kafka start"):
            CliRunner().invoke(app, ["kafka", "status", option], catch_exceptions=False)
        assert address in caves("start", option)
        again = client.inspect("sales_events")
        assert (again.cluster_id, again.topic_id) == (state.cluster_id, state.topic_id), "data is kept"

        os.kill(ApacheKafka(home).status().pid or 0, signal.SIGKILL)
        until(
            lambda: "ended without being stopped" in ApacheKafka(home).status().detail, "it is known as dead"
        )
        assert "ended without being stopped" in caves("start", option), "the dead one is told of"
        assert client.inspect("sales_events").cluster_id == state.cluster_id
    finally:
        caves("stop", option)
    assert "was not running" in caves("stop", option)


def test_a_taken_port_is_left_to_whoever_has_it(java_and_maven: None, tmp_path: Path) -> None:
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ports.is_free("127.0.0.1", PREFERRED_PORT):
            stranger.bind(("127.0.0.1", PREFERRED_PORT))
            stranger.listen()
        node = ApacheKafka(tmp_path / "home", topics={}, owner=os.getpid(), cache=CACHE)
        try:
            (note,) = node.start()
            assert f"Port {PREFERRED_PORT} is taken by another program" in note
            assert node.bootstrap_servers in f"127.0.0.1:{note.split(' on ')[1].split()[0]}"
        finally:
            node.stop()


_OWNER = """
import sys, time
from pathlib import Path
from caves_dagster.local.apache_kafka.node import running_kafka
with running_kafka(Path(sys.argv[1]), cache=Path(sys.argv[2])) as node:
    print(node.status().pid, flush=True)
    time.sleep(120)
"""


def test_a_tests_broker_ends_with_its_process_even_when_that_is_killed(
    java_and_maven: None, tmp_path: Path
) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(tmp_path / "home"), str(CACHE)],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert owner.stdout is not None
        broker = psutil.Process(int(owner.stdout.readline()))
        family = [broker, *broker.children()]
        assert broker.name() == "java"
    finally:
        owner.kill()
        owner.communicate()
    until(lambda: not any(one.is_running() for one in family), "broker and companion are gone")


def test_without_java_or_maven_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing(tmp_path) == "Apache Kafka needs Java 17 or newer, and there is no `java` on the PATH."
    with pytest.raises(PlatformError, match="Install a JDK and Maven"):
        class_path(tmp_path)
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    assert missing(tmp_path) == f"Apache Kafka needs Java 17 or newer; {java} is version 11."
    java.write_text("#!/bin/sh\necho 'openjdk version \"21.0.2\" 2024-01-16' >&2\n")
    assert missing(tmp_path) == "Apache Kafka is resolved by Maven, and there is no `mvn` on the PATH."


def test_without_java_tests_are_skipped_and_on_ci_they_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match="there is no `java` on the PATH"):
        require_kafka(on_ci=False, cache=tmp_path)
    with pytest.raises(pytest.fail.Exception, match="there is no `java` on the PATH"):
        require_kafka(on_ci=True, cache=tmp_path)
