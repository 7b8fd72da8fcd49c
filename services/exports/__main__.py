"""The composition root of the exports service: an API over the database, which it only reads."""

from pymongo.errors import PyMongoError

from services.exports.api import create_app
from services.exports.decryption import decryptor
from services.exports.measures import MeasureServices
from services.exports.source import Exports
from shared.service.composition import Service
from shared.service.launch import launch
from shared.settings import Settings
from shared.vault.open import key_problems


def run(settings: Settings) -> None:
    """Serve until SIGTERM. Raises ConfigurationError."""
    with Service("exports", settings) as service:
        # Without Kafka there is no ledger, so consumers in a restored database cannot be held back.
        gate = None if settings.kafka is None else service.erasure_gate(corrects=False)

        def problems() -> list[str]:
            try:
                service.database.command("ping")
            except PyMongoError as error:
                return [f"waiting for MongoDB: {type(error).__name__}"]
            return key_problems(service.vault) or ([] if gate is None else gate.problems())

        measures = MeasureServices(
            _address(settings.exports_analytics, settings.host, settings.analytics_port),
            _address(settings.exports_relations, settings.host, settings.relations_port),
            settings.measure_seconds,
        )
        app = create_app(
            Exports(service.database, decryptor(service.vault)),
            problems,
            measures,
            access=service.access,
            public_url=settings.exports_url,
        )
        service.serve(app, settings.exports_port, gate=gate)


def _address(given: str | None, host: str, port: int) -> str:
    """The given service's address, else that of the service on this machine that listens on ``host``."""
    if given is None:
        host = "127.0.0.1" if host in ("", "0.0.0.0", "::") else host
        given = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return given.rstrip("/") if "://" in given else f"http://{given}"


def main() -> None:
    launch("exports", run)


if __name__ == "__main__":
    main()
