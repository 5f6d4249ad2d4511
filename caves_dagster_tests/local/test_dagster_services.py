"""What starts Dagster's services ends them, whenever it is ended itself."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from caves_dagster.local.dagster_services import dagster_home, start_code_server
from caves_dagster_tests.brokers import until
from caves_dagster_tests.local.conftest import processes_of


def test_a_signal_while_the_code_server_starts_leaves_none_behind(home: Path) -> None:
    environment = os.environ | {"DAGSTER_HOME": str(dagster_home(home))}

    def interrupt() -> None:
        until(lambda: len(processes_of(home)) == 1, "it is being started", 60)
        time.sleep(1)  # seen before `start_code_server` knows of it; it takes longer to answer
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        start_code_server(home, environment)
    interrupting.join()
    assert processes_of(home) == []
