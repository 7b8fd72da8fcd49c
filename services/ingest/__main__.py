"""The composition root of the ingest service: ``python -m services.ingest``."""

from contextlib import ExitStack
from datetime import UTC, datetime

from services.ingest.api import create_app
from services.ingest.late import LatePublisher
from services.ingest.metrics import DoorMetrics
from shared.access.factory import open_access
from shared.contracts.errors import ConfigurationError
from shared.contracts.topics import INPUTS, Topics
from shared.erasure.ledger import Ledger
from shared.http.metrics import add_metrics
from shared.http.server import serve
from shared.http.tls import tls_of
from shared.kafka.clients import open_publisher
from shared.kafka.python_client.watch import KafkaProbe
from shared.mongo.store import connect
from shared.observability.metered import PublisherMeter
from shared.observability.metrics import new_registry
from shared.observability.tracing_setup import open_tracing
from shared.runtime.tuning import tune_gc
from shared.service.launch import launch
from shared.settings import Settings
from shared.vault.open import open_vault


def run(settings: Settings) -> None:
    """Publish to Kafka what comes in over HTTP, until SIGTERM or SIGINT."""
    if settings.kafka is None:
        raise ConfigurationError("KITH_KAFKA is not set; it holds the brokers' addresses, as in localhost:9092")
    topics = Topics(settings.topic_prefix)
    inputs = [topics.name(short) for short in INPUTS]
    registry, tls = new_registry(), tls_of(settings)
    with ExitStack() as stop:
        vault = stop.enter_context(open_vault(settings))
        tracing = open_tracing("ingest")
        stop.callback(tracing.close)
        probe = KafkaProbe(settings)
        stop.callback(probe.close)
        ledger = Ledger(settings)
        ledger.start()
        stop.callback(ledger.stop)
        late = LatePublisher(lambda: open_publisher(settings))
        stop.callback(late.close)
        client = None if settings.mongo is None else stop.enter_context(connect(settings.mongo))
        database = None if client is None else client[settings.database]
        access = stop.enter_context(open_access(settings, database))
        app = create_app(
            PublisherMeter(registry).on(late),
            topics,
            settings,
            lambda: datetime.now(UTC),
            ready=lambda: late.problems() or probe.problems(inputs) or ledger.problems(),
            answered=DoorMetrics(registry).answered,
            tracing=tracing,
            vault=vault,
            access=access,
            ledger=ledger,
        )
        add_metrics(app, registry)
        tune_gc()
        serve(app, settings.host, settings.ingest_port, stop.close, tls=tls)


def main() -> None:
    launch("ingest", run)


if __name__ == "__main__":
    main()
