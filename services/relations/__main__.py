"""The composition root of the relations service: the worker and the query API in one process."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime

from services.relations.api import create_app
from services.relations.cache import QueryCache
from services.relations.factory import build_projection, strength_of, with_keys
from services.relations.findings import PlaintextFindings
from services.relations.invalidation import Invalidation, OwnWrites
from services.relations.measures.source import Measures
from services.relations.metrics import cache_metrics
from services.relations.queries import Queries
from services.relations.schema import COLLECTIONS
from services.relations.sealing import SealedProjection
from shared.access.factory import open_access
from shared.contracts.topics import Topics
from shared.erasure.gate import ErasureGate
from shared.erasure.ledger import read_ledger
from shared.http.cors import allow_origins
from shared.http.gating import add_gate
from shared.http.metrics import add_metrics
from shared.http.server import serve
from shared.http.tls import tls_of
from shared.kafka.clients import open_both, open_publisher
from shared.mongo.errors import translated
from shared.mongo.store import MongoStore, connect, prepare
from shared.observability.heartbeat import Heartbeat
from shared.observability.instrumentation import WorkerInstrumentation
from shared.observability.metrics import new_registry
from shared.observability.tracing_setup import open_tracing
from shared.runtime.observer import CompositeObserver
from shared.runtime.protocols import Store
from shared.runtime.runner import Runner
from shared.runtime.watchdog import STORE_THREADS
from shared.runtime.worker import Worker, owner_name
from shared.service.launch import launch
from shared.settings import Settings, servers_of
from shared.vault.open import vault_in
from shared.vault.schema import COLLECTIONS as VAULT
from shared.versions.generations import collections_of
from shared.versions.live import LiveNames, LiveStore
from shared.versions.mongo_registry import MongoRegistry


def run(settings: Settings) -> None:
    """Serve until SIGTERM. Raises ConfigurationError, and whatever stopped the worker."""
    _, mongo = servers_of(settings)
    topics = Topics(settings.topic_prefix)
    strength = strength_of(settings)
    tls = tls_of(settings)
    registry, tracing = new_registry(), open_tracing("relations")
    client = connect(mongo)
    database = client[settings.database]
    vault = vault_in(settings, database)
    projection = build_projection(settings, vault)
    observation = WorkerInstrumentation(registry, tracing, projection.name)

    generations = MongoRegistry(database, projection.name)
    cache = QueryCache(settings.cache, settings.cache_entries)
    registry.register(cache_metrics(cache))

    findings = (
        [PlaintextFindings(projection, database, registry)] if isinstance(projection, SealedProjection) else []
    )

    def open_store(version: int) -> Store:
        store = MongoStore(database, collections_of(COLLECTIONS, version))
        return observation.store.on(with_keys(store, vault))

    names = LiveNames(generations)
    gate = ErasureGate(database, names, lambda: read_ledger(settings), lambda: open_publisher(settings), topics)

    def build() -> Runner:
        gate.check()
        with translated():
            prepare(database, {**collections_of(COLLECTIONS, generations.read().live), **VAULT})
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
            observer=CompositeObserver(observation.observer, OwnWrites(cache), *findings),
        )

    worker = Worker(build, settings.stuck_seconds)
    observation.watch(worker)
    heartbeat = Heartbeat(database, projection.name, owner_name(), observation.latency.counts)
    invalidation = Invalidation(settings, cache)
    queries = Queries(database, strength, cache, names)
    measures = Measures(database, names, lambda: datetime.now(UTC), vault)
    closing = ExitStack()
    access = closing.enter_context(open_access(settings, database))
    app = create_app(
        queries,
        strength,
        lambda: gate.problems() or worker.problems(),
        lambda: datetime.now(UTC),
        measures.of,
        access=access,
        vault=vault,
    )
    add_gate(app, gate)
    add_metrics(app, registry)
    allow_origins(app, settings.dashboard_origins)

    def stop() -> None:
        invalidation.stop()
        gate.stop()
        try:
            worker.stop()
        finally:
            heartbeat.stop()
            closing.close()
            client.close()
            tracing.close()

    gate.start()
    worker.start()
    heartbeat.start()
    invalidation.start()
    serve(app, settings.host, settings.relations_port, stop, tls=tls)


def main() -> None:
    launch("relations", run)


if __name__ == "__main__":
    main()
