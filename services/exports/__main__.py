"""The composition root of the exports service: an API over the database, which it only reads."""

from contextlib import ExitStack

from pymongo.database import Database
from pymongo.errors import PyMongoError

from services.exports.api import create_app
from services.exports.decryption import decryptor
from services.exports.measures import MeasureServices
from services.exports.source import Exports
from shared.access.factory import open_access
from shared.contracts.errors import ConfigurationError
from shared.contracts.topics import Topics
from shared.erasure.gate import ErasureGate
from shared.erasure.ledger import read_ledger
from shared.http.gating import add_gate
from shared.http.metrics import add_metrics
from shared.http.server import serve
from shared.http.tls import tls_of
from shared.mongo.store import connect
from shared.observability.metrics import new_registry
from shared.observability.tracing_setup import open_tracing
from shared.runtime.protocols import Document
from shared.service.launch import launch
from shared.settings import Settings
from shared.vault.open import vault_in
from shared.versions.live import LiveNames
from shared.versions.mongo_registry import MongoRegistry


def run(settings: Settings) -> None:
    """Serve until SIGTERM. Raises ConfigurationError."""
    if settings.mongo is None:
        raise ConfigurationError("KITH_MONGO says where the database is; it is not set")
    tls = tls_of(settings)
    registry, tracing = new_registry(), open_tracing("exports")
    client = connect(settings.mongo)
    database = client[settings.database]

    gate = gate_in(settings, database)

    def problems() -> list[str]:
        try:
            database.command("ping")
        except PyMongoError as error:
            return [f"waiting for MongoDB: {type(error).__name__}"]
        return [] if gate is None else gate.problems()

    def stop() -> None:
        closing.close()
        client.close()
        tracing.close()

    measures = MeasureServices(
        _address(settings.exports_analytics, settings.host, settings.analytics_port),
        _address(settings.exports_relations, settings.host, settings.relations_port),
    )
    vault = vault_in(settings, database)
    closing = ExitStack()
    access = closing.enter_context(open_access(settings, database))
    exports = Exports(database, decryptor(vault))
    app = create_app(exports, problems, measures, access=access, public_url=settings.exports_url)
    if gate is not None:
        add_gate(app, gate)
        gate.start()
        closing.callback(gate.stop)
    add_metrics(app, registry)
    serve(app, settings.host, settings.exports_port, stop, tls=tls)


def gate_in(settings: Settings, database: Database[Document]) -> ErasureGate | None:
    """What keeps erased consumers of a restored database back; None without Kafka, where the ledger is."""
    if settings.kafka is None:
        return None
    names = LiveNames(MongoRegistry(database, "relations"))
    return ErasureGate(database, names, lambda: read_ledger(settings), None, Topics(settings.topic_prefix))


def _address(given: str | None, host: str, port: int) -> str:
    """The service that is named, else the one of this machine, as it is reached where it listens on ``host``."""
    if given is None:
        host = "127.0.0.1" if host in ("", "0.0.0.0", "::") else host
        given = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return given.rstrip("/") if "://" in given else f"http://{given}"


def main() -> None:
    launch("exports", run)


if __name__ == "__main__":
    main()
