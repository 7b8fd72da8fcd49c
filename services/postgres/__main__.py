"""The composition root of the Postgres sink: the worker, and the API of its health."""

from services.postgres.api import create_app
from services.postgres.connections import Connections, prepare
from services.postgres.projection import PostgresProjection
from services.postgres.schema import COLLECTIONS
from services.postgres.target import PostgresTarget
from shared.service.composition import Service
from shared.service.launch import launch
from shared.settings import Settings, postgres_of, servers_of
from shared.sinks.restored import check_restored
from shared.sinks.store import SinkStore


def run(settings: Settings) -> None:
    """Serve until SIGTERM. Raises ConfigurationError, or the error that stopped the worker."""
    servers_of(settings)
    dsn = postgres_of(settings)
    with Service("postgres", settings) as service:
        gate, relations = service.erasure_gate(corrects=False), service.versions("relations")
        connections = service.closing(Connections(dsn, settings.postgres_schema))

        def check() -> None:
            check_restored(service.database, relations, gate.problems())
            prepare(connections)

        target = PostgresTarget(connections)
        worker = service.worker(
            PostgresProjection(service.topics),
            COLLECTIONS,
            wrap=lambda store: SinkStore(store, target, lambda: relations.read().live),
            check=check,
        )
        app = create_app(worker.problems, access=service.access)
        service.serve(app, settings.postgres_port, gate=gate)


def main() -> None:
    launch("postgres", run)


if __name__ == "__main__":
    main()
