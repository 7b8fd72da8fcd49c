"""What Prometheus is told of a worker's present state, read from it when asked."""

import time
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.runtime.worker import Worker


class WorkerGauges(Collector):
    """Of each partition that the worker owns: position, lag, and how long work has been waiting."""

    def __init__(self, worker: Worker, projection: str) -> None:
        self._worker = worker
        self._projection = projection

    def describe(self) -> Iterator[Metric]:
        yield from self._families()

    def _families(self) -> tuple[GaugeMetricFamily, ...]:
        labels = ["projection", "topic", "partition"]
        return (
            GaugeMetricFamily(
                "kith_worker_ready", "1 when the worker can do its work, else 0.", labels=["projection"]
            ),
            GaugeMetricFamily(
                "kith_partitions_owned", "Partitions that this worker has claimed.", labels=["projection"]
            ),
            GaugeMetricFamily(
                "kith_worker_step_seconds",
                "How long the worker's thread has been in the step that it is in.",
                labels=["projection"],
            ),
            GaugeMetricFamily("kith_partition_position", "The offset to store next.", labels=labels),
            GaugeMetricFamily(
                "kith_partition_lag",
                "Records that are not stored yet, as of the last fetch; none before the first.",
                labels=labels,
            ),
            GaugeMetricFamily(
                "kith_partition_backlog", "Records that are fetched and not stored yet.", labels=labels
            ),
            GaugeMetricFamily(
                "kith_partition_waiting_seconds",
                "How long there has been something to claim, store or publish without progress; 0 when idle.",
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
    """Counters that something else keeps. ``read`` gives their values, in the order of ``names``."""

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
