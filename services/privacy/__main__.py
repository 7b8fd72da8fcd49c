"""The composition root of the privacy service: ``python -m services.privacy``."""

from services.privacy.api import create_app
from services.privacy.audit_routes import add_audit
from services.privacy.erasure_evidence import Stores
from services.privacy.erasure_list import ErasureList, add_erasure_list
from services.privacy.erasures import Erasures
from services.privacy.people import People
from services.privacy.receipts import Receipts
from services.privacy.schema import COLLECTIONS
from shared.access.apps.notices import MongoNotices, MongoReceipts
from shared.access.audit_reading import MongoAuditReader
from shared.erasure.ledger import Ledger
from shared.erasure.records import hashed
from shared.runtime.clock import now
from shared.runtime.outlet import Outlet
from shared.service.composition import Prepared, Service
from shared.service.launch import launch
from shared.settings import Settings, servers_of
from shared.vault.open import key_problems


def run(settings: Settings) -> None:
    """Serve until SIGTERM. Raises ConfigurationError."""
    servers_of(settings)
    with Service("privacy", settings) as service:
        database, vault, names = service.database, service.vault, service.names("relations")
        ledger, gate = service.background(Ledger(settings)), service.erasure_gate()
        outlet = service.closing(Outlet(service.publisher, 2 * settings.publish_timeout_ms / 1000))
        receipts = Receipts(database, vault, now)
        stores = Stores(
            database,
            names,
            service.versions("relations"),
            service.versions("analytics"),
            ledger.mode,
            hashed if vault is None else vault.pseudonym,
        )
        prepared = Prepared(database, COLLECTIONS)
        erasures = Erasures(stores, receipts, now, MongoReceipts(database).of_erasure)
        app = create_app(
            erasures,
            People(database, names, vault),
            receipts,
            outlet.publish,
            service.topics,
            lambda: prepared.problems() or key_problems(vault) or gate.problems() or ledger.problems(),
            now,
            access=service.access,
            vault=vault,
            notify=MongoNotices(database).exported,
        )
        add_audit(app, MongoAuditReader(database))
        add_erasure_list(app, ErasureList(database, names, erasures))
        service.serve(app, settings.privacy_port, gate=gate)


def main() -> None:
    launch("privacy", run)


if __name__ == "__main__":
    main()
