"""The composition root of the bridge to RabbitMQ: ``python -m services.rabbitmq``."""

from concurrent.futures import ThreadPoolExecutor

from services.ingest.door import Door
from services.ingest.late import LatePublisher
from services.rabbitmq.api import create_app
from services.rabbitmq.bridge import Bridge, connecting
from services.rabbitmq.given_up import LOOK_SECONDS, GivenUp
from services.rabbitmq.inflow import Inflow, Kith
from services.rabbitmq.letters import DeadLetters
from services.rabbitmq.metrics import BridgeMetrics
from services.rabbitmq.outflow import Outflow
from services.rabbitmq.projection import RabbitProjection
from services.rabbitmq.schema import COLLECTIONS
from services.rabbitmq.topology import topology
from services.rabbitmq.undeliverable import Undeliverable
from shared.contracts.errors import ConfigurationError
from shared.contracts.topics import INPUTS
from shared.erasure.ledger import Ledger
from shared.kafka.python_client.watch import KafkaProbe
from shared.observability.worker_revisions import WorkerRevisions
from shared.runtime.clock import now
from shared.runtime.periodic import Periodic
from shared.runtime.tuning import tune_gc
from shared.service.composition import Prepared, Service
from shared.service.launch import launch
from shared.settings import Settings, servers_of
from shared.sinks.store import SinkStore
from shared.vault.open import key_problems


def run(settings: Settings) -> None:
    """Serve until SIGTERM. Raises ConfigurationError, or the error that stopped the bridge."""
    servers_of(settings)
    if settings.amqp is None or not settings.amqp.get_secret_value():
        raise ConfigurationError(
            "KITH_AMQP is not set; set it to RabbitMQ's address, as in amqp://user:password@host:5672/"
        )
    out, declare = settings.rabbitmq_out == "on", settings.rabbitmq_declare == "on"
    exchange, queues = settings.rabbitmq_exchange, settings.rabbitmq_queues
    if not out and not queues:
        raise ConfigurationError(
            "KITH_RABBITMQ_OUT is off and KITH_RABBITMQ_QUEUES names no queue: nothing to do. So that "
            "erasures do not wait for changes that never go out: in MongoDB, "
            "db.positions.deleteMany({_id: /^rabbitmq@/})"
        )
    with Service("rabbitmq", settings) as service:
        metrics, bridge = BridgeMetrics(service.metrics), service.background(Bridge())
        ledger, gate = service.background(Ledger(settings)), service.erasure_gate(corrects=False)
        connect = connecting(settings.amqp, topology(queues, exchange if out else None), declare=declare)
        kith = _kith(service, ledger)
        inflows = [
            Inflow(queue, tenant, connect, kith, metrics, settings.rabbitmq_prefetch)
            for queue, tenant in queues.items()
        ]
        undeliverable = Undeliverable(connect, metrics) if queues else None
        worker = None
        if out:
            outflow = Outflow(exchange, connect, bridge.loop, metrics)
            worker = service.worker(
                RabbitProjection(service.topics), COLLECTIONS, wrap=lambda store: SinkStore(store, outflow)
            )
            bridge.add(inflows, outflow, undeliverable)
        else:
            bridge.add(inflows, None, undeliverable)
            service.background(Periodic("rabbitmq-given-up", GivenUp(service.database), LOOK_SECONDS))
        app = create_app(
            lambda: bridge.problems() or (worker.problems() if worker is not None else []), access=service.access
        )
        tune_gc()
        service.serve(app, settings.rabbitmq_port, gate=gate)


def _kith(service: Service, ledger: Ledger) -> Kith:
    """What events pass on their way into Kafka."""
    settings, topics, vault = service.settings, service.topics, service.vault
    probe = service.closing(KafkaProbe(settings))
    revisions = service.background(WorkerRevisions(service.database))
    prepared = Prepared(service.database, COLLECTIONS)
    late = service.closing(LatePublisher(service.publisher))
    inputs = [topics.name(short) for short in INPUTS]
    door = Door(
        topics,
        settings.max_future_seconds,
        sealing=vault is not None,
        erased=ledger.mode,
        understood=lambda: revisions.lowest,
    )
    return Kith(
        door,
        late,
        DeadLetters(service.database, late, topics.name("dead-letters"), vault),
        vault,
        service.access.record_all,
        lambda: (
            prepared.problems()
            or key_problems(vault)
            or late.problems()
            or probe.problems(inputs)
            or ledger.problems()
        ),
        now,
        service.entered(ThreadPoolExecutor(4, thread_name_prefix="rabbitmq-blocking")),
        service.entered(ThreadPoolExecutor(1, thread_name_prefix="rabbitmq-publish")),
    )


def main() -> None:
    launch("rabbitmq", run)


if __name__ == "__main__":
    main()
