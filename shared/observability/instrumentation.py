"""All observers of a worker, built once per process in its composition root."""

from prometheus_client import CollectorRegistry

from shared.observability.dead_letter_log import DeadLetterLog
from shared.observability.gauges import WorkerGauges
from shared.observability.latency import LatencyWindow
from shared.observability.metered import PublisherMeter, StoreMeter
from shared.observability.metrics import RunnerMetrics
from shared.observability.tracing import Tracing
from shared.runtime.observer import CompositeObserver
from shared.runtime.worker import Worker


class WorkerInstrumentation:
    """The observer of a projection's runner, and the meters of its store and publisher."""

    def __init__(self, registry: CollectorRegistry, tracing: Tracing, projection: str) -> None:
        self._registry = registry
        self._projection = projection
        self.store = StoreMeter(registry, projection)
        self.publisher = PublisherMeter(registry)
        self.latency = LatencyWindow()
        self.observer = CompositeObserver(
            RunnerMetrics(registry, projection), DeadLetterLog(), self.latency, *tracing.observers(projection)
        )

    def watch(self, worker: Worker) -> None:
        """Export the worker's state as gauges."""
        self._registry.register(WorkerGauges(worker, self._projection))
