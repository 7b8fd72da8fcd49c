"""The composition root of the apps service: ``python -m services.apps``."""

from services.apps.api import create_app
from services.apps.figures import Figures
from services.apps.key_pairs import MongoKeyPairs
from services.apps.metrics import AppMetrics
from services.apps.registry import Registry
from services.apps.signing import Signer
from shared.access.apps.mongo import MongoApps
from shared.access.apps.notices import MongoReceipts
from shared.access.apps.schema import COLLECTIONS
from shared.service.composition import Prepared, Service, now
from shared.service.launch import launch
from shared.settings import Settings, servers_of
from shared.vault.open import key_problems


def issuer_of(settings: Settings) -> str:
    """The public address of this service."""
    if settings.apps_url is not None:
        return settings.apps_url.rstrip("/")
    scheme = "http" if settings.tls_cert_file is None else "https"
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    return f"{scheme}://{host}:{settings.apps_port}"


def run(settings: Settings) -> None:
    """Serve until SIGTERM. Raises ConfigurationError."""
    servers_of(settings)
    issuer = issuer_of(settings)
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
        service.serve(app, settings.apps_port, gate=gate)


def main() -> None:
    launch("apps", run)


if __name__ == "__main__":
    main()
