"""The composition root of the analytics service: the worker and the report API in one process."""

from concurrent.futures import ThreadPoolExecutor

from services.analytics.api import create_app
from services.analytics.projection import AnalyticsProjection
from services.analytics.queries import AnalyticsQueries
from services.analytics.schema import COLLECTIONS
from shared.errors import ConfigurationError
from shared.http import serve
from shared.kafka_clients import open_publisher, open_reader
from shared.launch import launch
from shared.mongo_io import MongoStore, connect, prepare, translated
from shared.runner import Runner
from shared.settings import Settings
from shared.topics import Topics
from shared.worker import Worker, owner_name


def run(settings: Settings) -> None:
    """Serve until SIGTERM. Raises ConfigurationError, and whatever stopped the worker."""
    if settings.kafka is None or settings.mongo is None:
        raise ConfigurationError("KITH_KAFKA and KITH_MONGO say where the servers are; one is not set")
    topics = Topics(settings.topic_prefix)
    projection = AnalyticsProjection(topics)
    client = connect(settings.mongo)
    database = client[settings.database]

    def build() -> Runner:
        with translated():
            prepare(database, COLLECTIONS)
        return Runner(
            open_reader(settings, projection.name, projection.topics),
            MongoStore(database, COLLECTIONS),
            open_publisher(settings),
            projection,
            owner=owner_name(),
            dead_letters=topics.name("dead-letters"),
            slice_events=settings.slice_events,
            committer=ThreadPoolExecutor(2, thread_name_prefix="commit"),
        )

    worker = Worker(build)

    def stop() -> None:
        try:
            worker.stop()
        finally:
            client.close()

    worker.start()
    serve(create_app(AnalyticsQueries(database), worker.problems), settings.host, settings.analytics_port, stop)


def main() -> None:
    launch("analytics", run)


if __name__ == "__main__":
    main()
