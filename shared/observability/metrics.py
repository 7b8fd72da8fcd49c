"""Prometheus metrics of a runner: counters and histograms, updated once per slice."""

import time
from bisect import bisect_right
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.contracts.errors import Fenced, Stale
from shared.runtime.dead_letters import COLLECTION as DEAD_LETTERS
from shared.runtime.protocols import Headers, Outcome, Partition, Record, Write

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LATENCY_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
_SIZES = (1, 10, 50, 100, 250, 500, 1000, 2500, 5000, 10000)


def new_registry() -> CollectorRegistry:
    """A registry with the process's own metrics: CPU, memory, open files."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


class RunnerMetrics:
    """An Observer that counts. ``wall_clock`` returns seconds since 1970, comparable with records' timestamps."""

    def __init__(
        self, registry: CollectorRegistry, projection: str, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._projection = projection
        self._wall_clock = wall_clock
        self._begun: dict[Partition, float] = {}
        topics = ["projection", "topic"]
        self._read = Counter("kith_records_read", "Records fetched from Kafka.", topics, registry=registry)
        self._stored = Counter("kith_events_stored", "Events stored.", topics, registry=registry)
        self._dead = Counter(
            "kith_dead_letters", "Events that could not be accepted.", [*topics, "reason"], registry=registry
        )
        self._writes = Counter(
            "kith_document_writes",
            "Documents changed by stored slices.",
            ["projection", "collection", "operation"],
            registry=registry,
        )
        self._emitted = Counter(
            "kith_messages_emitted",
            "Messages (changes, dead letters) put into the outbox by stored slices.",
            ["projection"],
            registry=registry,
        )
        self._interruptions = Counter(
            "kith_interruptions",
            "Steps that failed and are retried: unavailable (a server did not answer), race (a document changed), "
            "fenced (another worker claimed the partition).",
            ["projection", "step", "reason"],
            registry=registry,
        )
        self._fold = Histogram(
            "kith_fold_seconds",
            "Time to decode and fold a slice, including its reads.",
            ["projection"],
            buckets=SECONDS,
            registry=registry,
        )
        self._sizes = Histogram(
            "kith_slice_events",
            "Events per slice. The count is the number of stored slices.",
            ["projection"],
            buckets=_SIZES,
            registry=registry,
        )
        self._latency = BulkHistogram(
            "kith_event_latency_seconds",
            "From a record's timestamp in Kafka until its slice is stored.",
            {"projection": projection},
            _LATENCY_SECONDS,
        )
        registry.register(self._latency)

    def received(self, partition: Partition, count: int) -> None:
        self._read.labels(self._projection, partition.topic).inc(count)

    def begun(self, partition: Partition, records: Sequence[Record]) -> Headers:  # noqa: ARG002
        self._begun[partition] = time.perf_counter()
        return ()

    def folded(self, partition: Partition, outcome: Outcome) -> None:  # noqa: ARG002
        self._fold.labels(self._projection).observe(time.perf_counter() - self._begun[partition])

    def committed(self, partition: Partition, records: Sequence[Record], outcome: Outcome) -> None:
        topic = partition.topic
        self._stored.labels(self._projection, topic).inc(len(records))
        self._sizes.labels(self._projection).observe(len(records))
        self._emitted.labels(self._projection).inc(len(outcome.messages))
        for (collection, operation), count in Tally(map(_kind, outcome.writes)).items():
            self._writes.labels(self._projection, collection, operation).inc(count)
        for reason, count in Tally(letter["reason"] for letter in dead_letters(outcome)).items():
            self._dead.labels(self._projection, topic, reason).inc(count)
        now = self._wall_clock()
        self._latency.observe([now - record.timestamp / 1000 for record in records])

    def interrupted(self, partition: Partition, step: str, error: Exception) -> None:  # noqa: ARG002
        reason = "fenced" if isinstance(error, Fenced) else "race" if isinstance(error, Stale) else "unavailable"
        self._interruptions.labels(self._projection, step, reason).inc()


def dead_letters(outcome: Outcome) -> Iterator[Mapping[str, Any]]:
    """The documents of the dead letters in ``outcome``."""
    for write in outcome.writes:
        if write.collection == DEAD_LETTERS and write.after is not None:
            yield write.after


def _kind(write: Write) -> tuple[str, str]:
    if write.after is None:
        return write.collection, "delete"
    return write.collection, "insert" if write.before is None else "replace"


class BulkHistogram(Collector):
    """A histogram that takes the values of a whole slice at a tenth of the cost of single observations."""

    def __init__(self, name: str, documentation: str, labels: Mapping[str, str], buckets: Sequence[float]) -> None:
        self._name, self._documentation, self._labels = name, documentation, dict(labels)
        self._buckets = tuple(buckets)
        #: How many values are at most the upper bound of each bucket.
        self._counts = [0] * len(self._buckets)
        self._count, self._sum = 0, 0.0
        self._lock = Lock()

    def observe(self, values: list[float]) -> None:
        """Add values. A negative one, which differing clocks cause, counts as zero."""
        values.sort()
        below = [bisect_right(values, bound) for bound in self._buckets]
        total = sum(value for value in values if value > 0)
        with self._lock:
            self._counts = [count + more for count, more in zip(self._counts, below, strict=True)]
            self._count += len(values)
            self._sum += total

    def describe(self) -> Iterator[Metric]:
        yield HistogramMetricFamily(self._name, self._documentation, labels=list(self._labels))

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            counts, count, total = self._counts, self._count, self._sum
        family = HistogramMetricFamily(self._name, self._documentation, labels=list(self._labels))
        buckets = [(str(float(b)), float(n)) for b, n in zip(self._buckets, counts, strict=True)]
        family.add_metric(list(self._labels.values()), [*buckets, ("+Inf", float(count))], total)
        yield family
