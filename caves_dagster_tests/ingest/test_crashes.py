"""Ingestions in processes of their own: two at once, and killed at any point."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

from snowflake.connector import errors as connector_errors

from caves_dagster.kafka.producer import publish
from caves_dagster.settings import PROJECT_ROOT
from caves_dagster_tests.brokers import on_both_brokers, until
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import environment, files_on_stage, ingest, require_exactly_once

pytestmark = on_both_brokers

BATCHES = "RAW_DATA.INGEST_BATCHES"
_KILLS = 8
_SEED = 20_260_301

# Everything is imported before it says that it is ready; then it waits for a line.
_WORKER = """
import sys
from caves_dagster.ingest.run import Ingestion
from caves_dagster.kafka.client import KafkaClient
from caves_dagster.settings import load_settings
from caves_dagster.shops import find_shop
from caves_dagster.warehouse.connection import Warehouse
import pyarrow.parquet, snowflake.connector
settings = load_settings()
print("ready", flush=True)
sys.stdin.readline()
with Warehouse(settings.snowflake) as warehouse:
    shop = find_shop(settings, "caves")
    report = Ingestion(settings, shop, KafkaClient(settings.kafka), warehouse, sys.argv[1]).run()
print(report.landed + report.dead, flush=True)
"""


def worker(caves: Caves, name: str, batch_max_events: int) -> subprocess.Popen[str]:
    """A process that begins an ingestion when it gets a line."""
    return subprocess.Popen(
        [sys.executable, "-c", _WORKER, name],
        cwd=PROJECT_ROOT,
        env=environment(caves, CAVES_BATCH_MAX_EVENTS=str(batch_max_events)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def begin(process: subprocess.Popen[str]) -> None:
    """Wait until the process is ready, and let it go."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("go\n")
    process.stdin.flush()


def test_two_ingestions_in_two_processes_land_every_event_once(caves: Caves) -> None:
    messages = caves.events(300, invalid_rate=0.05)
    caves.publish(messages)
    processes = [worker(caves, f"process {index}", 20) for index in range(2)]
    for process in processes:
        begin(process)
    said = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum(int(words[-1]) for words in said) == 300
    require_exactly_once(caves, messages)
    assert files_on_stage(caves) == []


def end_open_transactions(caves: Caves) -> int:
    """What the server does by itself after ten seconds of silence, sooner; returns how many there were."""
    open_ones = caves.warehouse.query("SHOW TRANSACTIONS")
    for row in open_ones:
        # It may end by itself in this moment.
        with suppress(connector_errors.ProgrammingError):
            caves.warehouse.query("SELECT SYSTEM$ABORT_TRANSACTION(%(id)s)", {"id": int(row["ID"])})
    return len(open_ones)


def await_landing(caves: Caves, process: subprocess.Popen[str]) -> None:
    """Wait until one more batch has landed than now, or the process has ended."""
    before = caves.count(BATCHES)
    until(lambda: caves.count(BATCHES) > before or process.poll() is not None, "a batch landed")


def test_an_ingestion_killed_again_and_again_loses_and_doubles_nothing(caves: Caves) -> None:
    """While the producer goes on, and never a clean end until the last."""
    draw = random.Random(_SEED)
    messages = caves.events(1500, invalid_rate=0.05)
    stop = threading.Event()

    def produce() -> None:
        publish(caves.settings.kafka, caves.shop.topic, messages, rate=150, stop=stop).require_delivery()

    producer = threading.Thread(target=produce)
    producer.start()
    killed, ended = 0, 0
    following = worker(caves, "killed 0", 10)
    try:
        while killed + ended < _KILLS:
            process, number = following, killed + ended + 1
            begin(process)
            following = worker(caves, f"killed {number}", 10)
            if number % 2:  # soon after a landing
                await_landing(caves, process)
                time.sleep(draw.uniform(0.0, 0.5))
            else:  # at any moment, however far it has come
                time.sleep(draw.uniform(0.0, 1.5))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                killed += 1
            else:
                ended += 1
            process.communicate()
            end_open_transactions(caves)
    finally:
        following.kill()
        following.communicate()
        if sys.exc_info()[0] is not None:
            stop.set()
        producer.join()
    assert killed >= _KILLS // 2, "most ingestions ended before they could be killed"
    before = caves.count(BATCHES)
    ingest(caves)
    assert before > 0, "no killed ingestion had landed anything: the kills came too early"
    require_exactly_once(caves, messages)
