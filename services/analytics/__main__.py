"""The composition root of the analytics service: the worker and the report API in one process."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime

from services.analytics.api import create_app
from services.analytics.dashboard.figures import FiguresReader
from services.analytics.dashboard.live import add_live
from services.analytics.dashboard.operations import Readings, add_operations
from services.analytics.dashboard.pages import add_pages
from services.analytics.dashboard.versions import Versions
from services.analytics.gate import CountingGate
from services.analytics.measures.source import Measures
from services.analytics.projection import AnalyticsProjection
from services.analytics.queries import AnalyticsQueries
from services.analytics.schema import COLLECTIONS
from shared.access.factory import open_access
from shared.contracts.topics import Topics
from shared.erasure.ledger import read_ledger
from shared.http.gating import add_gate
from shared.http.metrics import add_metrics
from shared.http.server import serve
from shared.http.tls import tls_of
from shared.kafka.clients import open_both, open_publisher
from shared.letters.store import letters_in
from shared.mongo.errors import translated
from shared.mongo.store import MongoStore, connect, prepare
from shared.observability.heartbeat import Heartbeat
from shared.observability.instrumentation import WorkerInstrumentation
from shared.observability.metrics import new_registry
from shared.observability.status import StatusReader
from shared.observability.tracing_setup import open_tracing
from shared.runtime.protocols import Store
from shared.runtime.runner import Runner
from shared.runtime.watchdog import STORE_THREADS
from shared.runtime.worker import Worker, owner_name
from shared.service.launch import launch
from shared.settings import Settings, servers_of
from shared.versions.generations import collections_of
from shared.versions.live import LiveNames, LiveStore
from shared.versions.mongo_registry import MongoRegistry


def run(settings: Settings) -> None:
    """Serve until SIGTERM. Raises ConfigurationError, and whatever stopped the worker."""
    _, mongo = servers_of(settings)
    topics = Topics(settings.topic_prefix)
    projection = AnalyticsProjection(topics)
    tls = tls_of(settings)
    registry, tracing = new_registry(), open_tracing("analytics")
    observation = WorkerInstrumentation(registry, tracing, projection.name)
    client = connect(mongo)
    database = client[settings.database]

    generations = MongoRegistry(database, projection.name)

    def open_store(version: int) -> Store:
        return observation.store.on(MongoStore(database, collections_of(COLLECTIONS, version)))

    def build() -> Runner:
        with translated():
            prepare(database, collections_of(COLLECTIONS, generations.read().live))
        reader, publisher = open_both(settings, projection.name, projection.topics)
        return Runner(
            reader,
            LiveStore(generations, open_store),
            observation.publisher.on(publisher),
            projection,
            owner=owner_name(),
            dead_letters=topics.name("dead-letters"),
            slice_events=settings.slice_events,
            committer=ThreadPoolExecutor(4, thread_name_prefix=STORE_THREADS),
            observer=observation.observer,
        )

    worker = Worker(build, settings.stuck_seconds)
    observation.watch(worker)
    heartbeat = Heartbeat(database, projection.name, owner_name(), observation.latency.counts)

    def stop() -> None:
        gate.stop()
        try:
            worker.stop()
        finally:
            heartbeat.stop()
            closing.close()
            client.close()
            tracing.close()

    names = LiveNames(generations)
    relations = MongoRegistry(database, "relations")
    relations_names = LiveNames(relations)
    gate = CountingGate(database, relations_names, lambda: read_ledger(settings), relations, generations)
    measures = Measures(database, names, relations_names, lambda: datetime.now(UTC))
    closing = ExitStack()
    access = closing.enter_context(open_access(settings, database))
    app = create_app(
        AnalyticsQueries(database, names),
        lambda: gate.problems() or worker.problems(),
        measures.of,
        access=access,
    )
    add_live(app, FiguresReader(database, names, relations_names, lambda: datetime.now(UTC)))
    readings = closing.enter_context(contextlib.closing(Readings(lambda: StatusReader(settings, database))))
    add_operations(
        app, readings, Versions(database), letters_in(settings, database), lambda: open_publisher(settings)
    )
    add_pages(app, settings.relations_port, settings.relations_url)
    add_gate(app, gate, but=["/v1/operations"])
    add_metrics(app, registry)
    gate.start()
    worker.start()
    heartbeat.start()
    serve(app, settings.host, settings.analytics_port, stop, tls=tls)


def main() -> None:
    launch("analytics", run)


if __name__ == "__main__":
    main()
