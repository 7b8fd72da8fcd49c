"""The composition root of the apps service: ``python -m services.apps``."""

from services.apps.api import create_app
from services.apps.figures import Figures
from services.apps.key_pairs import MongoKeyPairs
from services.apps.metrics import AppMetrics
from services.apps.portal.pages import NAMED, add_portal
from services.apps.registry import Registry
from services.apps.signing import Signer
from shared.access.apps.mongo import MongoApps
from shared.access.apps.notices import MongoReceipts
from shared.access.apps.schema import COLLECTIONS
from shared.runtime.clock import now
from shared.service.composition import Prepared, Service
from shared.service.launch import launch
from shared.settings import Settings, for_browsers, servers_of, urls_for_browsers
from shared.vault.open import key_problems


def run(settings: Settings) -> None:
    """Serve until SIGTERM. Raises ConfigurationError."""
    servers_of(settings)
    issuer = for_browsers(settings, settings.apps_url, settings.apps_port).rstrip("/")
    with Service("apps", settings) as service:
        database, vault = service.database, service.vault
        gate = service.erasure_gate(corrects=False)
        prepared = Prepared(database, COLLECTIONS)
        app = create_app(
            Registry(MongoApps(database), now),
            Signer(MongoKeyPairs(database), vault, issuer, now),
            Figures(database, service.names("relations")),
            MongoReceipts(database),
            lambda: prepared.problems() or key_problems(vault) or gate.problems(),
            AppMetrics(service.metrics).requested,
            access=service.access,
            issuer=issuer,
        )
        add_portal(app, issuer, urls_for_browsers(settings, NAMED))
        service.serve(app, settings.apps_port, gate=gate)


def main() -> None:
    launch("apps", run)


if __name__ == "__main__":
    main()
