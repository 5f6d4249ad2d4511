"""The whole stack as users run it, each process of it to be killed and started again.

A consumer is part of it from its first kill until the next run is to be killed: it keeps the sensors back.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psutil
from dagster._core.scheduler.instigation import InstigatorType

from caves_dagster.deploy.carry_out import set_up
from caves_dagster.jobs import pipeline_name
from caves_dagster.local.apache_kafka.node import ApacheKafka
from caves_dagster.local.dagster_services import dagster_home, start_code_server, start_daemon
from caves_dagster.local.platform import WAREHOUSE, Platform
from caves_dagster.local.process import end
from caves_dagster.run_tags import LANDED_TAG, PROCESS_TAG
from caves_dagster.settings import PROJECT_ROOT, Settings, embedded_environment, embedded_settings
from caves_dagster.shop import Shop
from caves_dagster.shops import find_shop
from caves_dagster.warehouse.connection import Warehouse

_START_SECONDS = 60.0
_LOOK_SECONDS = 0.05
_RUNS_TOLD, _TICKS_TOLD, _LINES_TOLD = 10, 3, 30
_FINISHED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
_CAVES = "from caves_dagster.cli import main; main()"
TOPIC_PARTITIONS: Mapping[str, int] = {"sales_events": 6}
# Small batches: what came in meanwhile takes several, so that landing is killed half way too.
BATCH_MAX_EVENTS = 200


class Stack:
    """Kafka, the warehouse server, and Dagster's daemon and code server, under one home.

    Args:
        home: a new folder.
        cache: where Kafka's class path is remembered.
        batch_max_events: of one landing transaction; None for the product's own.
    """

    def __init__(self, home: Path, cache: Path, batch_max_events: int | None = BATCH_MAX_EVENTS) -> None:
        self.home = home
        self._options = {"CAVES_BATCH_MAX_EVENTS": str(batch_max_events)} if batch_max_events else {}
        self._kafka = ApacheKafka(
            home, preferred_port=None, topics=TOPIC_PARTITIONS, owner=os.getpid(), cache=cache
        )
        self._platform = Platform(home, preferred_ports=False, servers=(WAREHOUSE,), owner=os.getpid())
        self._family: dict[int, psutil.Process] = {}
        self._daemon: psutil.Process | None = None
        self._code_server: psutil.Process | None = None
        self._consumer: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Everything, the tables included."""
        self._kafka.start()
        self._platform.start()
        settings = embedded_settings(self.home)
        kafka = settings.kafka.model_copy(update={"bootstrap_servers": self._kafka.bootstrap_servers})
        self.settings: Settings = settings.model_copy(update={"kafka": kafka})
        self.shop: Shop = find_shop(self.settings, "caves")
        with Warehouse(self.settings.snowflake) as warehouse:
            set_up(warehouse, self.shop)
        self.instance = dg.DagsterInstance.from_config(str(dagster_home(self.home)))
        self.start_daemon()

    def stop(self) -> None:
        """Everything, to the last child."""
        self._remember_family()
        if self._consumer is not None:
            self.kill_consumer()
        end(self._daemon, 10.0)
        end(self._code_server, 10.0)
        for process in self._family.values():
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(list(self._family.values()), timeout=10)
        self._platform.stop()
        self._kafka.stop()
        with suppress(AttributeError):  # not even started
            self.instance.dispose()

    # --- the daemon

    def start_daemon(self) -> None:
        """Start Dagster's daemon, and the code server where it is gone; returns once the daemon ticks."""
        began = time.time()
        environment = self._environment()
        if self._code_server is None or not self._code_server.is_running():
            self._code_server = start_code_server(self.home, environment)
        self._daemon = start_daemon(self.home, environment)

        def ticks() -> bool:
            beat = self.instance.get_daemon_heartbeats().get("SENSOR")
            return beat is not None and beat.timestamp > began

        _until(ticks, "the daemon ticks")
        self._remember_family()

    def kill_daemon(self, children: bool) -> None:
        """The daemon alone, or with the code server and its runs."""
        assert self._daemon is not None
        assert self._code_server is not None
        self._remember_family()
        victims = [self._daemon]
        if children:
            victims += [self._code_server, *self._family.values()]
        for process in victims:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(victims, timeout=10)

    def _remember_family(self) -> None:
        """The services' children, to be ended even when their parent is gone before them."""
        for parent in (self._daemon, self._code_server):
            if parent is None:
                continue
            with suppress(psutil.Error):
                for child in parent.children(recursive=True):
                    self._family[child.pid] = child
        self._family = {pid: process for pid, process in self._family.items() if process.is_running()}

    def _environment(self) -> dict[str, str]:
        """What tells a process of the product where everything is."""
        return embedded_environment(self.home) | {
            "DAGSTER_HOME": str(self.home / "dagster"),
            "KAFKA_BOOTSTRAP_SERVERS": self._kafka.bootstrap_servers,
            **self._options,
        }

    # --- the consumer

    @property
    def consumer_runs(self) -> bool:
        """Whether there is one, and it has not ended by itself."""
        if self._consumer is None:
            return False
        assert self._consumer.poll() is None, f"the consumer ended by itself: {self._said()}"
        return True

    def start_consumer(self) -> None:
        """A consumer that lands and transforms; returns once its process has begun."""
        with (self.home / "consumer.log").open("wb") as output:
            self._consumer = subprocess.Popen(
                [sys.executable, "-c", _CAVES, "consume", "--transform", "--metrics-port", "0"],
                cwd=PROJECT_ROOT,
                env=os.environ | self._environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        _until(lambda: self._said() and self.consumer_runs, "the consumer begins")

    def await_partitions(self) -> None:
        """Wait until the consumer has some: from then on it lands."""
        _until(lambda: "Given partitions" in self._said() and self.consumer_runs, "the consumer lands")

    def kill_consumer(self) -> None:
        """The consumer, whatever it was doing."""
        assert self._consumer is not None
        self._consumer.kill()
        self._consumer.wait(10)
        self._consumer = None

    def stop_consumer(self) -> None:
        """End it as its user would, if there is one; it does so in order and in time."""
        if not self.consumer_runs:
            return
        assert self._consumer is not None
        self._consumer.terminate()
        assert self._consumer.wait(20) == 0, f"the consumer did not end in order: {self._said()}"
        self._consumer = None

    def _said(self) -> str:
        return (self.home / "consumer.log").read_text(encoding="utf-8")

    # --- broker and warehouse

    def kill_broker(self) -> None:
        """The broker; what it acknowledged stays in the files it wrote."""
        _kill(self._kafka.status().pid)

    def start_broker(self) -> None:
        """And wait until it answers."""
        self._kafka.start()
        assert self._kafka.bootstrap_servers == self.settings.kafka.bootstrap_servers, "another port"

    def kill_warehouse(self) -> None:
        """The warehouse server, whatever it was doing."""
        _kill(self._platform.status().servers[0].pid)

    def start_warehouse(self) -> None:
        """And wait until it answers."""
        self._platform.start()
        assert self._platform.endpoints.snowflake.port == self.settings.snowflake.port, "another port"

    # --- runs

    def latest_run(self) -> dg.DagsterRun | None:
        """The pipeline's newest run."""
        wanted = dg.RunsFilter(job_name=pipeline_name(self.shop))
        return next(iter(self.instance.get_runs(wanted, limit=1)), None)

    def runs(self) -> Counter[str]:
        """The pipeline's runs by status."""
        runs = self.instance.get_runs(dg.RunsFilter(job_name=pipeline_name(self.shop)))
        return Counter(run.status.value for run in runs)

    def told(self) -> str:
        """What the newest runs and ticks say, and the end of the logs: for whoever asks what is wrong."""
        lines = []
        for record in self.instance.get_run_records(limit=_RUNS_TOLD):
            run = record.dagster_run
            shown = {name: value for name, value in run.tags.items() if name.startswith("caves/")}
            made, status = f"{record.create_timestamp:%H:%M:%S}", run.status.value
            lines.append(f"{made} {run.run_id[:8]} {run.job_name} {status} {shown}")
        for state in self.instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
            for tick in self.instance.get_ticks(state.origin.get_id(), state.selector_id, limit=_TICKS_TOLD):
                began = datetime.fromtimestamp(tick.timestamp, UTC)
                said = tick.error.message if tick.error else tick.skip_reason or tick.run_ids
                lines.append(f"{began:%H:%M:%S} {state.name} {tick.status.value} {said}")
        for log in sorted((self.home / "log").glob("*.log")):
            lines += [log.name, *log.read_text(errors="replace").splitlines()[-_LINES_TOLD:]]
        return "\n".join(lines)

    def runs_under_way(self) -> list[dg.DagsterRun]:
        """Those that have not ended."""
        runs = self.instance.get_runs(dg.RunsFilter(job_name=pipeline_name(self.shop)))
        return [run for run in runs if run.status not in _FINISHED]


def victim(run: dg.DagsterRun | None, transforming: bool) -> psutil.Process | None:
    """The process of a run in that part of its work; None where there is none."""
    if run is None or run.status is not dg.DagsterRunStatus.STARTED:
        return None
    if PROCESS_TAG not in run.tags or (LANDED_TAG in run.tags) is not transforming:
        return None
    with suppress(psutil.Error):
        return psutil.Process(int(run.tags[PROCESS_TAG].split()[1]))
    return None


@contextmanager
def running_stack(
    home: Path, cache: Path, batch_max_events: int | None = BATCH_MAX_EVENTS
) -> Iterator[Stack]:
    """The stack while the block runs; ended by SIGTERM, this process still ends what it started."""
    stack = Stack(home, cache, batch_max_events)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit("Ended by SIGTERM."))
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
        signal.signal(signal.SIGTERM, before)


def _kill(pid: int | None) -> None:
    assert pid is not None, "it is not there to be killed"
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.kill()
        psutil.wait_procs([process], timeout=10)


def _until(condition: object, what: str) -> None:
    assert callable(condition)
    deadline = time.monotonic() + _START_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {_START_SECONDS:.0f} s: {what}"
        time.sleep(_LOOK_SECONDS)
