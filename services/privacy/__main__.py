"""The composition root of the privacy service: ``python -m services.privacy``."""

from contextlib import ExitStack
from datetime import UTC, datetime

from services.privacy.api import create_app
from services.privacy.erasures import Erasures, Stores
from services.privacy.outlet import Outlet
from services.privacy.people import People
from services.privacy.receipts import Receipts
from services.privacy.schema import COLLECTIONS
from shared.access.factory import open_access
from shared.contracts.errors import Unavailable
from shared.contracts.topics import Topics
from shared.erasure.gate import ErasureGate
from shared.erasure.ledger import Ledger, read_ledger
from shared.erasure.records import hashed
from shared.http.gating import add_gate
from shared.http.metrics import add_metrics
from shared.http.server import serve
from shared.http.tls import tls_of
from shared.kafka.clients import open_publisher
from shared.mongo.errors import translated
from shared.mongo.store import connect, prepare
from shared.observability.metrics import new_registry
from shared.service.launch import launch
from shared.settings import Settings, servers_of
from shared.vault.open import vault_in
from shared.versions.live import LiveNames
from shared.versions.mongo_registry import MongoRegistry


def now() -> datetime:
    return datetime.now(UTC)


def run(settings: Settings) -> None:
    """Serve until SIGTERM. Raises ConfigurationError."""
    _, mongo = servers_of(settings)
    topics, tls = Topics(settings.topic_prefix), tls_of(settings)
    with ExitStack() as closing:
        client = closing.enter_context(connect(mongo))
        database = client[settings.database]
        vault = vault_in(settings, database)
        relations = MongoRegistry(database, "relations")
        names = LiveNames(relations)
        ledger = Ledger(settings)
        gate = ErasureGate(
            database, names, lambda: read_ledger(settings), lambda: open_publisher(settings), topics
        )
        outlet = Outlet(lambda: open_publisher(settings), 2 * settings.publish_timeout_ms / 1000)
        closing.callback(outlet.close)
        receipts = Receipts(database, vault, now)
        pseudonym = hashed if vault is None else vault.pseudonym
        stores = Stores(database, names, relations, MongoRegistry(database, "analytics"), ledger.mode, pseudonym)
        prepared = False

        def problems() -> list[str]:
            nonlocal prepared
            try:
                if not prepared:
                    with translated():
                        prepare(database, COLLECTIONS)
                    prepared = True
            except Unavailable as error:
                return [str(error)]
            return gate.problems() or ledger.problems()

        app = create_app(
            Erasures(stores, receipts, now),
            People(database, names, vault),
            receipts,
            outlet.publish,
            topics,
            problems,
            now,
            access=closing.enter_context(open_access(settings, database)),
            vault=vault,
        )
        add_gate(app, gate)
        add_metrics(app, new_registry())
        ledger.start()
        closing.callback(ledger.stop)
        gate.start()
        closing.callback(gate.stop)
        serve(app, settings.host, settings.privacy_port, closing.close, tls=tls)


def main() -> None:
    launch("privacy", run)


if __name__ == "__main__":
    main()
