"""The composition root of the Postgres sink: the worker, and the API of its health."""

from services.postgres.api import create_app
from services.postgres.connections import Connections, prepare
from services.postgres.projection import PostgresProjection
from services.postgres.schema import COLLECTIONS
from services.postgres.target import PostgresTarget
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.service.composition import Service
from shared.service.launch import launch
from shared.settings import Settings, servers_of
from shared.sinks.store import SinkStore


def run(settings: Settings) -> None:
    """Serve until SIGTERM. Raises ConfigurationError, or the error that stopped the worker."""
    servers_of(settings)
    if settings.postgres is None:
        raise ConfigurationError("KITH_POSTGRES is not set; set it to postgresql://USER:PASSWORD@HOST/DATABASE")
    with Service("postgres", settings) as service:
        gate, relations = service.erasure_gate(corrects=False), service.versions("relations")
        connections = service.closing(Connections(settings.postgres.get_secret_value(), settings.postgres_schema))

        def check() -> None:
            """Erased consumers of a restored MongoDB come into no row: the worker waits until they are gone."""
            if waiting := gate.problems():
                raise Unavailable("; ".join(waiting))
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
