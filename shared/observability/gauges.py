"""Prometheus gauges of a worker's current state, read at each scrape."""

import time
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.runtime.worker import Worker


class WorkerGauges(Collector):
    """Position, lag and waiting time of each partition that the worker owns."""

    def __init__(self, worker: Worker, projection: str) -> None:
        self._worker = worker
        self._projection = projection

    def describe(self) -> Iterator[Metric]:
        yield from self._families()

    def _families(self) -> tuple[GaugeMetricFamily, ...]:
        labels = ["projection", "topic", "partition"]
        return (
            GaugeMetricFamily(
                "kith_worker_ready", "1 when the worker is able to work, else 0.", labels=["projection"]
            ),
            GaugeMetricFamily(
                "kith_partitions_owned", "Partitions that this worker has claimed.", labels=["projection"]
            ),
            GaugeMetricFamily(
                "kith_worker_step_seconds",
                "How long the worker's thread has been in its current step.",
                labels=["projection"],
            ),
            GaugeMetricFamily("kith_partition_position", "The next offset to store.", labels=labels),
            GaugeMetricFamily(
                "kith_partition_lag",
                "Records not stored yet, as of the last fetch; absent before the first fetch.",
                labels=labels,
            ),
            GaugeMetricFamily("kith_partition_backlog", "Records fetched and not stored yet.", labels=labels),
            GaugeMetricFamily(
                "kith_partition_waiting_seconds",
                "How long a pending claim, commit or publication has made no progress; 0 when idle.",
                labels=labels,
            ),
        )

    def collect(self) -> Iterator[Metric]:
        families = self._families()
        ready, owned, step, position, lag, backlog, waiting = families
        ready.add_metric([self._projection], 0.0 if self._worker.problems() else 1.0)
        partitions = [] if self._worker.runner is None else list(self._worker.runner.partitions.values())
        now = time.monotonic()
        if self._worker.runner is not None:
            step.add_metric([self._projection], now - self._worker.runner.doing.since)
        owned.add_metric([self._projection], sum(state.opened for state in partitions))
        for state in partitions:
            labels = [self._projection, state.partition.topic, str(state.partition.number)]
            wait, next, end = state.wait, state.next, state.end
            waiting.add_metric(labels, 0.0 if wait is None else now - wait.since)
            backlog.add_metric(labels, state.backlog)
            if next is not None:
                position.add_metric(labels, next)
                if end is not None:
                    lag.add_metric(labels, max(0, end - next))
        yield from families


class CallbackCounters(Collector):
    """Counters whose values another component keeps. ``read`` returns them in the order of ``names``."""

    def __init__(self, names: dict[str, str], read: Callable[[], tuple[float, ...]]) -> None:
        """``names`` is name (without ``_total``) → documentation."""
        self._names = names
        self._read = read

    def describe(self) -> Iterator[Metric]:
        for name, documentation in self._names.items():
            yield CounterMetricFamily(name, documentation)

    def collect(self) -> Iterator[Metric]:
        for (name, documentation), value in zip(self._names.items(), self._read(), strict=True):
            yield CounterMetricFamily(name, documentation, value=value)
