"""Every metric with its labels, from the code that registers it."""

from types import SimpleNamespace
from typing import Any, NoReturn, cast

from prometheus_client import CollectorRegistry

from services.apps.metrics import AppMetrics
from services.cassandra.metrics import MeteredTables
from services.ingest.metrics import DoorMetrics
from services.intelligence.follower import Follower
from services.intelligence.metrics import GraphMetrics, job_metrics, outcome_metrics
from services.rabbitmq.metrics import BridgeMetrics
from services.relations.cache import QueryCache
from services.relations.metrics import cache_metrics, lost_keys_metric, plaintext_metric, spelling_metric
from services.webhooks.metrics import SenderMetrics
from shared.contracts.topics import Topics
from shared.http.metrics import RequestMetrics
from shared.observability.certificates import certificate_metric
from shared.observability.instrumentation import WorkerInstrumentation
from shared.observability.metrics import new_registry
from shared.observability.service_metrics import add_service_metrics
from shared.observability.tracing import NoTracing
from shared.runtime.worker import Worker
from shared.settings import Settings
from tools.reference.markdown import code, sentence, table

_SUFFIXES = {"counter": "_total"}


def _never(*_: object) -> NoReturn:
    raise AssertionError("no worker is started and no request is made here")


def registered() -> CollectorRegistry:
    """The metrics of all services in one registry, without values."""
    registry = new_registry()
    WorkerInstrumentation(registry, NoTracing(), "relations").watch(Worker(_never))
    registry.register(cache_metrics(QueryCache("off", 1)))
    registry.register(GraphMetrics(Follower(_never, cast(Any, None), Topics())))
    registry.register(job_metrics(cast(Any, SimpleNamespace(runs=0, seconds=0.0))))
    registry.register(outcome_metrics(cast(Any, SimpleNamespace(recorded=0, dropped=0, left_out=0))))
    plaintext_metric(registry)
    spelling_metric(registry)
    lost_keys_metric(registry)
    SenderMetrics(registry)
    AppMetrics(registry)
    DoorMetrics(registry)
    BridgeMetrics(registry)
    MeteredTables(cast(Any, None), registry)
    RequestMetrics(_never, registry)
    add_service_metrics(registry, "relations", list)
    certificate_metric(registry, "relations", Settings())
    return registry


def metrics_part() -> str:
    """A table of the metrics by name: type and meaning."""
    families = sorted(registered().collect(), key=lambda family: family.name)
    rows = [
        (code(family.name + _SUFFIXES.get(family.type, "")), family.type, sentence(family.documentation))
        for family in families
    ]
    return "\n".join(table(["Metric", "Type", "Meaning"], rows))
