"""The metrics, by the names that dashboards and alerts know them by.

They count committed batches, as INGEST_BATCHES has them, whoever tells them of a batch: the consumer of each
one it has landed, or `caves metrics`, which reads the table.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import msgspec.inspect
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from caves_dagster.ingest.batch import Batch
from caves_dagster.monitoring.sizes import SizeHistogram
from caves_dagster.shop import Contract

_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60)
_EVENTS = (1, 10, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
Lags = Callable[[], Mapping[int, int]]
FAILURE_CLASSES = (
    "CONTRACT",
    "DUPLICATE_KEY",
    "EMPTY",
    "ENCODING",
    "NESTING",
    "NUMBER_RANGE",
    "SYNTAX",
    "TOO_LARGE",
)
"""Those of `caves_dagster.ingest`."""
UNKNOWN = "unknown"
"""Type or class of what was landed before INGEST_BATCHES noted it."""


@dataclass(frozen=True)
class BatchFigures:
    """A committed batch.

    Attributes:
        partitions: as INGEST_BATCHES.PARTITIONS has them.
        sizes: messages by size in bytes.
        insert_seconds: from the upload to the commit.
        processing_seconds: that, and decoding; not the waiting for messages.
    """

    topic: str
    partitions: Collection[Mapping[str, Any]]
    landed: int
    dead: int
    sizes: Mapping[float, int]
    insert_seconds: float
    processing_seconds: float

    @classmethod
    def of(cls, batch: Batch, topic: str) -> BatchFigures:
        """Of a batch that was landed just now."""
        sizes: dict[float, int] = {}
        for message in (*batch.messages, *(letter.message for letter in batch.dead)):
            sizes[message.size] = sizes.get(message.size, 0) + 1
        insert = batch.upload_seconds + batch.load_seconds
        return cls(
            topic,
            batch.partitions(),
            len(batch.messages),
            len(batch.dead),
            sizes,
            insert,
            batch.decode_seconds + insert,
        )


class Metrics:
    """The eleven metrics, what built this, and the process; on a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        on: dict[str, Any] = {"registry": self.registry}
        build = {"version": version("caves-dagster"), "python": platform.python_version()}
        Info("caves_build", "What runs here", **on).info(build)
        self._lags: dict[str, Lags] = {}
        # Before the counters, so that a new partition's stands at 0 in the same answer.
        self.registry.register(_LagCollector(self._lags, self._begin_partition))
        self._consumed = Counter(
            "kafka_events_consumed", "Messages in committed batches", ["topic", "partition"], **on
        )
        self._inserted = Counter(
            "kafka_events_inserted_snowflake", "Rows landed in RAW", ["topic", "event_type"], **on
        )
        self._dead = Counter(
            "kafka_events_dlq", "Messages that became dead letters", ["topic", "failure_class"], **on
        )
        self._batch_size = Histogram(
            "kafka_batch_size", "Messages in a batch", ["topic"], buckets=_EVENTS, **on
        )
        self._processing = Histogram(
            "kafka_batch_processing_duration_seconds",
            "Decoding and landing a batch",
            ["topic"],
            buckets=_SECONDS,
            **on,
        )
        self._insert = Histogram(
            "snowflake_insert_duration_seconds",
            "Upload and landing transaction of a batch",
            ["topic"],
            buckets=_SECONDS,
            **on,
        )
        self._current = Gauge("kafka_current_batch_size", "Messages in the last batch", ["topic"], **on)
        self._rows = Gauge("kafka_snowflake_insert_rows", "Rows landed by the last batch", ["topic"], **on)
        self._sizes = SizeHistogram("kafka_event_size_bytes", "Key, value and headers of a message")
        self.registry.register(self._sizes)
        self._waiting = Gauge(
            "snowflake_staging_rows", "Rows that wait in the stream on RAW", ["topic"], **on
        )

    def begin(self, topic: str, contract: Contract) -> None:
        """Let the counters of what may come begin at 0: increase() does not see a series' first value."""
        for name in event_types(contract):
            self._inserted.labels(topic, name)
        for name in FAILURE_CLASSES:
            self._dead.labels(topic, name)

    def _begin_partition(self, topic: str, partition: int) -> None:
        self._consumed.labels(topic, partition)

    def count(self, figures: BatchFigures) -> None:
        """Add a committed batch; one without messages (positions, skipped offsets) is no batch of events."""
        topic, messages = figures.topic, figures.landed + figures.dead
        for entry in figures.partitions:
            if entry["landed"] or entry["dead"]:
                self._consumed.labels(topic, entry["partition"]).inc(entry["landed"] + entry["dead"])
        for name, count in _by_name(figures, "types", figures.landed):
            self._inserted.labels(topic, name).inc(count)
        for name, count in _by_name(figures, "classes", figures.dead):
            self._dead.labels(topic, name).inc(count)
        if not messages:
            return
        self._batch_size.labels(topic).observe(messages)
        self._processing.labels(topic).observe(figures.processing_seconds)
        self._insert.labels(topic).observe(figures.insert_seconds)
        self._current.labels(topic).set(messages)
        self._rows.labels(topic).set(figures.landed)
        self._sizes.add(topic, figures.sizes)

    def follow_lag(self, topic: str, lags: Lags) -> None:
        """Offsets left to read by partition, asked at each scrape."""
        self._lags[topic] = lags

    def set_waiting(self, topic: str, rows: int) -> None:
        """Rows in the stream on RAW."""
        self._waiting.labels(topic).set(rows)


def event_types(contract: Contract) -> list[str]:
    """The event types that a contract tells by their tags."""
    kind = msgspec.inspect.type_info(contract.event)
    kinds = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
    return [
        str(one.tag) for one in kinds if isinstance(one, msgspec.inspect.StructType) and one.tag is not None
    ]


def _by_name(figures: BatchFigures, key: str, total: int) -> Iterator[tuple[str, int]]:
    """Counts by event type or failure class; what was not noted is of an unknown one."""
    found: dict[str, int] = {}
    for entry in figures.partitions:
        for name, count in (entry.get(key) or {}).items():
            found[name] = found.get(name, 0) + count
    yield from found.items()
    if total > sum(found.values()):
        yield UNKNOWN, total - sum(found.values())


class _LagCollector(Collector):
    """A gauge whose partitions come and go, with the instance they belong to."""

    def __init__(self, lags: Mapping[str, Lags], begin: Callable[[str, int], None]) -> None:
        self._lags = lags
        self._begin = begin

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What Prometheus reads."""
        family = GaugeMetricFamily(
            "kafka_consumer_lag", "Offsets left to read", labels=["topic", "partition"]
        )
        for topic, lags in self._lags.items():
            for partition, lag in lags().items():
                self._begin(topic, partition)
                family.add_metric([topic, str(partition)], lag)
        yield family
