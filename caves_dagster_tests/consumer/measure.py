"""Latency from event to PRODUCTION with `caves consume --transform`, and its memory over many events.

    python -m caves_dagster_tests.consumer.measure --rate 100 --seconds 60 --broker apache
    python -m caves_dagster_tests.consumer.measure --events 1000000

Each order is timed from when it was made, before it was sent, to when a reader of PRODUCTION.ORDERS
first sees it; that one looks ten times a second. With --events so many are published as fast as it goes, on a
real Kafka, and the consumer's resident memory is sampled while it lands them.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from threading import Thread

from caves_dagster.kafka.producer import publish
from caves_dagster.local.apache_kafka.node import running_kafka
from caves_dagster.local.platform import running_platform
from caves_dagster_tests.brokers import APACHE, CACHE, EMBEDDED, ApacheBroker, Broker, EmbeddedBroker
from caves_dagster_tests.conftest import Caves, caves_on
from caves_dagster_tests.consumer.processes import consuming
from caves_dagster_tests.faults.ledger import Producer

_LOOK_SECONDS = 0.1


def main() -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--broker", choices=(EMBEDDED, APACHE), default=EMBEDDED)
    parser.add_argument("--events", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running_platform(Path(name) / "platform") as platform:
        folder = Path(name)

        def on(broker: Broker) -> None:
            with caves_on(platform, broker, "measure") as caves:
                if options.events:
                    found = measure_memory(caves, folder, options.events)
                else:
                    found = measure(caves, folder, options.rate, options.seconds)
                print(json.dumps(found))  # noqa: T201

        if options.broker == EMBEDDED and not options.events:
            on(EmbeddedBroker(platform))
        else:
            with running_kafka(folder / "kafka", cache=CACHE) as node:
                on(ApacheBroker(node))


def measure(caves: Caves, folder: Path, rate: float, seconds: float) -> dict[str, object]:
    """Seconds from event to PRODUCTION, after a warm-up of five."""
    load = os.getloadavg()[0]
    with consuming(caves, folder / "consumer.log", "--transform") as consumer:
        producer = Producer(caves.settings.kafka, caves.shop, folder / "ledger", 1, rate)
        producer.start()
        begun = time.time()
        seen: dict[int, float] = {}
        newest = datetime(1970, 1, 1)  # noqa: DTZ001 - as the warehouse gives it
        while time.time() < begun + seconds + 5:
            rows = caves.warehouse.query(
                "SELECT ORDER_LINE_ID, EVENT_TIME, LOADED_AT FROM PRODUCTION.ORDERS "
                "WHERE LOADED_AT >= %(newest)s",
                {"newest": newest},
            )
            now = time.time()
            for row in rows:
                newest = max(newest, row["LOADED_AT"])
                made = row["EVENT_TIME"].replace(tzinfo=UTC).timestamp()
                if made > begun + 5:
                    seen.setdefault(row["ORDER_LINE_ID"], now - made)
            time.sleep(_LOOK_SECONDS)
        producer.stop()
        memory = _memory(consumer.process.pid)
        consumer.stop()
    cuts = quantiles(seen.values(), n=100)
    return {
        "rate": rate,
        "orders": len(seen),
        "p50": round(median(seen.values()), 2),
        "p95": round(cuts[94], 2),
        "p99": round(cuts[98], 2),
        "memory_mb": memory,
        "load_before": load,
        "load_after": os.getloadavg()[0],
    }


def measure_memory(caves: Caves, folder: Path, events: int) -> dict[str, object]:
    """Resident memory of the consumer, the most in each tenth of the events."""
    most = [0] * 10
    began = time.monotonic()
    with consuming(caves, folder / "consumer.log") as consumer:
        messages = islice(caves.shop.generate(1, 0.01, lambda: datetime.now(UTC)), events)
        producing = Thread(target=publish, args=(caves.settings.kafka, caves.shop.topic, messages))
        producing.start()
        done = 0
        while done < events:
            time.sleep(0.5)
            (row,) = caves.warehouse.query("SELECT SUM(CONSUMED) AS N FROM RAW_DATA.INGEST_BATCHES")
            done = int(row["N"] or 0)
            tenth = min(9, done * 10 // events)
            most[tenth] = max(most[tenth], _memory(consumer.process.pid))
        producing.join()
        assert consumer.stop() == 0, consumer.said
    return {
        "events": events,
        "seconds": round(time.monotonic() - began),
        "memory_mb_by_tenth": most,
        "load_after": os.getloadavg()[0],
    }


def _memory(pid: int) -> int:
    """Resident MB."""
    import psutil

    return int(psutil.Process(pid).memory_info().rss // 2**20)


if __name__ == "__main__":
    main()
