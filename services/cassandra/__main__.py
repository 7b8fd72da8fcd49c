"""The composition root of the Cassandra sink: a worker, its health and its metrics."""

from services.cassandra.api import create_app
from services.cassandra.metrics import MeteredTables
from services.cassandra.projection import CassandraProjection
from services.cassandra.reader import CurrentDocuments
from services.cassandra.schema import BESIDE, COLLECTIONS
from services.cassandra.store import CurrentStore
from services.cassandra.target import CassandraTarget
from shared.cassandra.address import parse
from shared.cassandra.store import CassandraTables
from shared.service.composition import Service
from shared.service.launch import launch
from shared.settings import Settings, cassandra_of, servers_of
from shared.sinks.restored import check_restored
from shared.sinks.store import SinkStore


def run(settings: Settings) -> None:
    """Serve until SIGTERM. Raises ConfigurationError, or the error that stopped the worker."""
    servers_of(settings)
    address = parse(cassandra_of(settings))
    with Service("cassandra", settings) as service:
        tables = MeteredTables(service.closing(CassandraTables(address)), service.metrics)
        relations = service.versions("relations")
        current = CurrentDocuments(service.database, relations, service.versions("analytics"))
        gate = service.erasure_gate(corrects=False)

        worker = service.worker(
            CassandraProjection(service.topics),
            COLLECTIONS,
            beside=BESIDE,
            wrap=lambda store: SinkStore(CurrentStore(store, current), CassandraTarget(tables)),
            check=lambda: check_restored(service.database, relations, gate.problems()),
        )
        app = create_app(worker.problems, access=service.access)
        service.serve(app, settings.cassandra_port, gate=gate)


def main() -> None:
    launch("cassandra", run)


if __name__ == "__main__":
    main()
