"""`caves local warehouse`: the warehouse server alone and in the foreground, as a container runs it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from caves_dagster.errors import SignInRefused
from caves_dagster.local import ports
from caves_dagster.settings import embedded_environment, embedded_settings
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.brokers import until

_CAVES = str(Path(sys.executable).with_name("caves"))
_WORD = "s3cr3t-word"


def test_beyond_loopback_it_wants_a_password_of_its_own(tmp_path: Path) -> None:
    command = [_CAVES, "local", "warehouse", "--host", "0.0.0.0", "--port", "1"]
    done = subprocess.run(command, env=embedded_environment(tmp_path), capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "Set CAVES_LOCAL_WAREHOUSE_PASSWORD" in line


def test_it_serves_until_it_is_told_to_stop_and_shows_its_password_to_nobody(tmp_path: Path) -> None:
    port = ports.any_free("127.0.0.1")
    environment = embedded_environment(tmp_path) | {"CAVES_LOCAL_WAREHOUSE_PASSWORD": _WORD}
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [_CAVES, "local", "warehouse", "--port", str(port)], env=environment, stdout=output, stderr=output
        )
    try:
        until(lambda: process.poll() is not None or ports.answers("127.0.0.1", port), "it answers", 60)
        settings = embedded_settings(tmp_path).snowflake.model_copy(update={"port": port})
        with pytest.raises(SignInRefused), Warehouse(settings) as session:
            session.query("SELECT 1")
        with Warehouse(settings.model_copy(update={"password": SecretStr(_WORD)})) as session:
            assert session.query("SELECT 1 AS N") == [{"N": 1}]
        assert _WORD not in " ".join(psutil.Process(process.pid).cmdline())
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert _WORD not in log.read_text()
