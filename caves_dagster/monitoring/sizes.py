"""The histogram of message sizes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from threading import Lock

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

_BYTES = (100, 200, 300, 400, 500, 750, 1000, 2000, 5000, 10_000, 100_000, 1_000_000, 4_194_304)


class SizeHistogram(Collector):
    """A histogram by topic that takes many equal observations at once, which prometheus_client's cannot."""

    def __init__(self, name: str, documentation: str) -> None:
        self._name, self._documentation = name, documentation
        self._lock = Lock()
        self._buckets: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def add(self, topic: str, sizes: Mapping[float, int]) -> None:
        """Observe each size so many times."""
        with self._lock:
            buckets = self._buckets.setdefault(topic, [0] * (len(_BYTES) + 1))
            for size, count in sizes.items():
                buckets[bisect_left(_BYTES, size)] += count
                self._sums[topic] = self._sums.get(topic, 0.0) + size * count

    def describe(self) -> list[HistogramMetricFamily]:
        """Its name, for the registry."""
        return [HistogramMetricFamily(self._name, self._documentation, labels=["topic"])]

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What Prometheus reads: cumulative counts by upper bound."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=["topic"])
        with self._lock:
            for topic, buckets in self._buckets.items():
                sums = [sum(buckets[: index + 1]) for index in range(len(buckets))]
                bounds = [*(str(float(bound)) for bound in _BYTES), "+Inf"]
                family.add_metric([topic], list(zip(bounds, sums, strict=True)), self._sums.get(topic, 0.0))
        yield family
