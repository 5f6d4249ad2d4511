"""The platform's life: ports, restarts, deaths, neighbours."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from caves_dagster.cli import app
from caves_dagster.errors import PlatformError
from caves_dagster.local import platform as platform_module
from caves_dagster.local import ports
from caves_dagster.local.platform import BROKER, WAREHOUSE, Platform, running_platform
from caves_dagster.local.server import HOST, State
from caves_dagster_tests.local.conftest import processes_of


def brokers(home: Path) -> Platform:
    return Platform(home, preferred_ports=False, servers=(BROKER,))


def topics(platform: Platform) -> dict[str, int]:
    admin = AdminClient({"bootstrap.servers": platform.endpoints.kafka.bootstrap_servers})
    return {name: len(topic.partitions) for name, topic in admin.list_topics(timeout=10).topics.items()}


def port_of(platform: Platform) -> int:
    return int(platform.endpoints.kafka.bootstrap_servers.rpartition(":")[2])


def test_a_started_platform_answers_with_its_topics(home: Path) -> None:
    with running_platform(home, servers=(BROKER,)) as platform:
        assert platform.status().running
        assert topics(platform) == {"sales_events": 64, "orders_topic": 3}
    assert not platform.status().running


def test_starting_again_starts_nothing(home: Path) -> None:
    with running_platform(home, servers=(BROKER,)) as platform:
        before = platform.status().servers[0].pid
        assert brokers(home).start() == []
        assert platform.status().servers[0].pid == before


def test_a_restart_keeps_the_port(home: Path) -> None:
    with running_platform(home, servers=(BROKER,)) as platform:
        before = port_of(platform)
    assert port_of(platform) == before, "the addresses stay when it stops"
    with running_platform(home, servers=(BROKER,)) as platform:
        assert port_of(platform) == before


def test_a_port_that_was_taken_meanwhile_is_replaced_and_the_change_is_told(home: Path) -> None:
    platform = brokers(home)
    platform.start()
    platform.stop()
    before = port_of(platform)
    with socket.create_server((HOST, before)):
        notes = platform.start()
        assert notes == [
            f"Port {before} is taken by another program: the broker listens on {port_of(platform)} instead."
        ]
        assert port_of(platform) != before
        assert topics(platform)
    platform.stop()


def test_a_port_that_is_taken_between_the_choice_and_the_bind_is_replaced(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server((HOST, 0)) as intruder:
        taken = intruder.getsockname()[1]
        monkeypatch.setattr(ports, "choose", lambda host, wanted, patience: taken)
        platform = brokers(home)
        assert f"Port {taken} is taken" in platform.start()[0]
        assert topics(platform)
        platform.stop()


def test_a_killed_broker_is_seen_dead_and_started_again_on_its_port(home: Path) -> None:
    with running_platform(home, servers=(BROKER,)) as platform:
        before = port_of(platform)
        os.kill(platform.status().servers[0].pid or 0, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while platform.status().servers[0].state is not State.DEAD and time.monotonic() < deadline:
            time.sleep(0.01)
        seen = platform.status()
        assert seen.servers[0].state is State.DEAD
        assert "caves local start" in str(seen.problem())
        assert "ended without being stopped" in platform.start()[0]
        assert platform.status().running
        assert port_of(platform) == before


def test_two_homes_live_side_by_side(tmp_path: Path, home: Path) -> None:
    with running_platform(home, servers=(BROKER,)) as one:
        with running_platform(tmp_path / "other", servers=(BROKER,)) as two:
            assert port_of(one) != port_of(two)
        assert one.status().running
    assert not processes_of(tmp_path / "other")


def test_many_starts_at_once_make_one_platform(home: Path) -> None:
    platforms = [brokers(home) for _ in range(6)]
    threads = [threading.Thread(target=platform.start) for platform in platforms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(processes_of(home)) == 1
    platforms[0].stop()


def test_a_server_that_does_not_come_up_takes_the_other_down_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(platform_module._MODULES, WAREHOUSE, "caves_dagster.local.no_such_module")
    platform = Platform(home, preferred_ports=False)
    with pytest.raises(PlatformError, match=r"(?s)warehouse ended while starting.*No module named"):
        platform.start()
    assert not processes_of(home)
    assert [server.state for server in platform.status().servers] == [State.STOPPED, State.STOPPED]


def test_reset_removes_what_the_platform_made_and_nothing_else(home: Path) -> None:
    (home / "log").mkdir(parents=True)
    for stranger in (home / "notes.txt", home / "log" / "other.log"):
        stranger.write_text("mine")
    platform = brokers(home)
    platform.start()
    assert platform.reset() == []
    left = {path.relative_to(home).as_posix() for path in home.rglob("*")}
    assert left == {"notes.txt", "log", "log/other.log", "platform.lock"}


def test_a_held_lock_is_waited_for_and_then_reported(home: Path) -> None:
    holder = brokers(home)
    with holder._locked(), pytest.raises(PlatformError, match="Another command"):
        Platform(home, servers=(BROKER,), timeout_seconds=0.1, grace_seconds=0.1).stop()


def test_status_on_the_command_line_fails_when_nothing_runs(home: Path) -> None:
    for arguments in (["local", "status"], ["local", "status", "--json"]):
        result = CliRunner().invoke(app, [*arguments, "--home", str(home)])
        assert isinstance(result.exception, PlatformError)
        assert "caves local start" in str(result.exception)
    assert result.stdout == ""


def test_reset_on_the_command_line_asks_first(home: Path) -> None:
    platform = brokers(home)
    platform.start()
    refused = CliRunner().invoke(app, ["local", "reset", "--home", str(home)], input="n\n")
    assert refused.exit_code == 1
    assert platform.status().running
    agreed = CliRunner().invoke(app, ["local", "reset", "--home", str(home), "--yes"])
    assert agreed.exit_code == 0
    assert not processes_of(home)


def test_the_addresses_file_is_what_settings_read(home: Path) -> None:
    with running_platform(home, servers=(BROKER,)) as platform:
        written = json.loads((home / "endpoints.json").read_text())
        assert written == platform.endpoints.model_dump()
        assert set(written) == {"kafka", "snowflake"}


def test_the_servers_end_when_their_owner_is_killed(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys, time\n"
        "from caves_dagster.local.platform import running_platform\n"
        "with running_platform(pathlib.Path(sys.argv[1])):\n"
        "    print('up', flush=True); time.sleep(60)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    with owner, owner.stdout:
        assert owner.stdout.readline() == b"up\n"
        pids = [server.pid for server in Platform(tmp_path).status().servers]
        owner.kill()
    assert None not in pids
    processes = [psutil.Process(pid) for pid in pids if pid and psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive
