"""One server's life, with servers that misbehave."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from caves_dagster.errors import PlatformError
from caves_dagster.local import ports
from caves_dagster.local.process import ProcessRecord
from caves_dagster.local.server import HOST, Server, State

RECORD = Path("run", "stub.json")


def stub(home: Path, behaviour: str) -> Server:
    return Server("stub", "caves_dagster_tests.local.stub_server", home, ("--behaviour", behaviour))


def started(home: Path, behaviour: str = "normal") -> Server:
    server = stub(home, behaviour)
    server.launch(ports.any_free(HOST))
    server.await_answer(10)
    return server


def test_a_server_that_was_never_started_is_stopped(home: Path) -> None:
    assert stub(home, "normal").status().state is State.STOPPED


def test_another_object_recognises_a_running_server(home: Path) -> None:
    server = started(home)
    seen = stub(home, "whatever").status()
    assert (seen.state, seen.pid) == (State.RUNNING, server.status().pid)
    assert 0 <= (seen.uptime_seconds or -1) < 60
    assert server.stop(30) == "terminated"
    assert server.status().state is State.STOPPED


def test_a_server_that_ignores_sigterm_is_killed_after_the_grace(home: Path) -> None:
    assert started(home, "stubborn").stop(0.3) == "killed"


def test_stopping_a_server_ends_its_children(home: Path) -> None:
    server = started(home, "parent")
    child = psutil.Process(int((home / "child").read_text()))
    server.stop(5)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_server_that_fails_is_quoted_with_its_log(home: Path) -> None:
    server = stub(home, "fails")
    server.launch(ports.any_free(HOST))
    with pytest.raises(PlatformError, match=r"(?s)ended while starting.*the cellar is flooded.*stub.log"):
        server.await_answer(10)


def test_a_server_that_never_answers_is_given_up(home: Path) -> None:
    server = stub(home, "mute")
    server.launch(ports.any_free(HOST))
    assert server.status().state is State.STARTING
    with pytest.raises(PlatformError, match=r"did not answer within 0\.3 s"):
        server.await_answer(0.3)
    server.stop(5)


def test_a_frozen_server_still_ends(home: Path) -> None:
    server = started(home)
    process = psutil.Process(server.status().pid)
    process.suspend()
    deadline = time.monotonic() + 5
    while process.status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.stop(0.3) == "killed"


def test_a_killed_server_is_dead_and_the_remedy_is_given(home: Path) -> None:
    server = started(home)
    os.kill(server.status().pid or 0, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(json.loads((home / RECORD).read_text())["pid"])], timeout=5)
    seen = server.status()
    assert seen.state is State.DEAD
    assert "ended without being stopped" in seen.detail
    assert "caves local start" in seen.remedy


def test_a_recycled_pid_is_told_from_the_server_and_never_killed(home: Path) -> None:
    ProcessRecord(os.getpid(), 1.0, ["the server of before the reboot"], 1).write(home / RECORD)
    server = stub(home, "normal")
    assert "now belongs to" in server.status().detail
    assert server.stop(0.1) == "gone", "this very process is still here"
    assert server.status().state is State.STOPPED


def test_a_server_is_recognised_after_the_clock_was_set(home: Path) -> None:
    server = started(home)
    record = json.loads((home / RECORD).read_text())
    (home / RECORD).write_text(json.dumps(record | {"create_time": record["create_time"] - 3600}))
    assert server.status().state is State.RUNNING
    server.stop(5)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}'])
def test_a_damaged_record_counts_as_none(home: Path, content: str) -> None:
    (home / RECORD).parent.mkdir(parents=True)
    (home / RECORD).write_text(content)
    assert stub(home, "normal").status().state is State.STOPPED


def test_forgetting_leaves_a_folder_that_was_there_before(home: Path) -> None:
    (home / "stub").mkdir(parents=True)
    (home / "stub" / "thesis.txt").write_text("mine")
    server = started(home)
    server.stop(5)
    assert server.forget() == home / "stub"
    assert (home / "stub" / "thesis.txt").read_text() == "mine"


def test_forgetting_does_not_follow_a_link(home: Path, tmp_path: Path) -> None:
    server = started(home)
    server.stop(5)
    (home / "stub").rename(tmp_path / "elsewhere")
    (home / "stub").symlink_to(tmp_path / "elsewhere")
    assert server.forget() == home / "stub"
    assert any((tmp_path / "elsewhere").iterdir())
