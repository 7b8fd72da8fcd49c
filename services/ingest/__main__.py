"""The composition root of the ingest service: ``python -m services.ingest``."""

from services.ingest.api import create_app
from services.ingest.congestion import LOOK_SECONDS, TenantRate, WorkersBehind
from services.ingest.late import LatePublisher
from services.ingest.metrics import DoorMetrics
from shared.contracts.errors import ConfigurationError
from shared.contracts.topics import INPUTS
from shared.erasure.ledger import Ledger
from shared.kafka.python_client.watch import KafkaProbe
from shared.observability.metered import PublisherMeter
from shared.observability.worker_revisions import WorkerRevisions
from shared.runtime.clock import now
from shared.runtime.periodic import Periodic
from shared.runtime.tuning import shorten_switch_interval, tune_gc
from shared.service.composition import Service
from shared.service.launch import launch
from shared.settings import Settings
from shared.vault.open import key_problems, open_vault


def run(settings: Settings) -> None:
    """Publish events received over HTTP to Kafka, until SIGTERM or SIGINT."""
    if settings.kafka is None:
        raise ConfigurationError("KITH_KAFKA is not set; set it to the brokers' addresses, as in localhost:9092")
    with Service("ingest", settings) as service:
        inputs = [service.topics.name(short) for short in INPUTS]
        # With encryption off and access open, the door needs no MongoDB.
        vault = service.entered(open_vault(settings))
        probe = service.closing(KafkaProbe(settings))
        ledger = service.background(Ledger(settings))
        # Without a MongoDB the order of an upgrade is the operator's alone: docs/how-to/upgrade.md.
        revisions = None if settings.mongo is None else service.background(WorkerRevisions(service.database))
        late = service.closing(LatePublisher(service.publisher))
        metrics = DoorMetrics(service.metrics)
        rate = None
        if settings.mongo is not None and settings.most_behind_seconds:
            rate = TenantRate(settings.most_behind_seconds, refused=metrics.slowed)
            metrics.watch(lambda: rate.most)
            service.background(Periodic("behind", WorkersBehind(service.database, rate), LOOK_SECONDS))
        app = create_app(
            PublisherMeter(service.metrics).on(late),
            service.topics,
            settings,
            now,
            ready=lambda: key_problems(vault) or late.problems() or probe.problems(inputs) or ledger.problems(),
            answered=metrics.answered,
            tracing=service.tracing,
            vault=vault,
            access=service.access,
            ledger=ledger,
            rate=rate,
            **({} if revisions is None else {"understood": lambda: revisions.lowest}),
        )
        tune_gc()
        # Large batches are judged and published by threads that compute, beside the loop that answers everybody.
        shorten_switch_interval()
        service.serve(app, settings.ingest_port)


def main() -> None:
    launch("ingest", run)


if __name__ == "__main__":
    main()
