"""The composition root of the relations service: the worker and the query API in one process."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from services.relations.api import create_app
from services.relations.cache import QueryCache
from services.relations.invalidation import Invalidation, OwnWrites
from services.relations.measures.source import Measures
from services.relations.metrics import cache_metrics
from services.relations.projection import RelationsProjection
from services.relations.queries import Queries
from services.relations.schema import COLLECTIONS
from services.relations.strength import Strength
from shared.errors import ConfigurationError
from shared.generations import collections_of
from shared.heartbeat import Heartbeat
from shared.http import serve
from shared.http_metrics import add_metrics
from shared.kafka_clients import open_publisher, open_reader
from shared.launch import launch
from shared.metrics import new_registry
from shared.mongo_generations import MongoRegistry
from shared.mongo_io import MongoStore, connect, prepare, translated
from shared.observer import Several
from shared.observing import Observation
from shared.protocols import Store
from shared.runner import Runner
from shared.settings import Settings
from shared.topics import Topics
from shared.tracing import open_tracing
from shared.versions import LiveNames, LiveStore
from shared.watchdog import STORE_THREADS
from shared.worker import Worker, owner_name


def run(settings: Settings) -> None:
    """Serve until SIGTERM. Raises ConfigurationError, and whatever stopped the worker."""
    if settings.kafka is None or settings.mongo is None:
        raise ConfigurationError("KITH_KAFKA and KITH_MONGO say where the servers are; one is not set")
    topics = Topics(settings.topic_prefix)
    strength = Strength(settings.kind_weights, settings.half_life_months)
    projection = RelationsProjection(
        topics, strength, settings.max_future_seconds, facts_only=settings.relations_facts_only
    )
    registry, tracing = new_registry(), open_tracing("relations")
    observation = Observation(registry, tracing, projection.name)
    client = connect(settings.mongo)
    database = client[settings.database]

    generations = MongoRegistry(database, projection.name)
    cache = QueryCache(settings.cache, settings.cache_entries)
    registry.register(cache_metrics(cache))

    def open_store(version: int) -> Store:
        return observation.store.on(MongoStore(database, collections_of(COLLECTIONS, version)))

    def build() -> Runner:
        with translated():
            prepare(database, collections_of(COLLECTIONS, generations.read().live))
        return Runner(
            open_reader(settings, projection.name, projection.topics),
            LiveStore(generations, open_store),
            observation.publisher.on(open_publisher(settings)),
            projection,
            owner=owner_name(),
            dead_letters=topics.name("dead-letters"),
            slice_events=settings.slice_events,
            committer=ThreadPoolExecutor(4, thread_name_prefix=STORE_THREADS),
            observer=Several(observation.observer, OwnWrites(cache)),
        )

    worker = Worker(build, settings.stuck_seconds)
    observation.watch(worker)
    heartbeat = Heartbeat(database, projection.name, owner_name(), observation.latency.counts)
    invalidation = Invalidation(settings, cache)
    names = LiveNames(generations)
    queries = Queries(database, strength, cache, names)
    measures = Measures(database, names, lambda: datetime.now(UTC))
    app = create_app(queries, strength, worker.problems, lambda: datetime.now(UTC), measures.of)
    add_metrics(app, registry)

    def stop() -> None:
        invalidation.stop()
        try:
            worker.stop()
        finally:
            heartbeat.stop()
            client.close()
            tracing.close()

    worker.start()
    heartbeat.start()
    invalidation.start()
    serve(app, settings.host, settings.relations_port, stop)


def main() -> None:
    launch("relations", run)


if __name__ == "__main__":
    main()
