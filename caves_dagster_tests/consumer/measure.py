"""Latency from event to PRODUCTION with `caves consume --transform`.

    python -m caves_dagster_tests.consumer.measure --rate 100 --seconds 60 --broker apache

Each order is timed from when it was made, before it was sent, to when a reader of PRODUCTION.ORDERS
first sees it; that one looks ten times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles

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
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running_platform(Path(name) / "platform") as platform:
        folder = Path(name)

        def on(broker: Broker) -> None:
            with caves_on(platform, broker, "measure") as caves:
                print(json.dumps(measure(caves, folder, options.rate, options.seconds)))  # noqa: T201

        if options.broker == EMBEDDED:
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


def _memory(pid: int) -> int:
    """Resident MB."""
    import psutil

    return int(psutil.Process(pid).memory_info().rss // 2**20)


if __name__ == "__main__":
    main()
