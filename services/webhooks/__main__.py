"""The composition root of the webhooks service: fan-out, the senders and their API in one process."""

from functools import partial

from services.webhooks.api import create_app
from services.webhooks.applications import Unreadable, served
from services.webhooks.delivery.addresses import networks
from services.webhooks.delivery.leases import Leases
from services.webhooks.delivery.queue import Queue
from services.webhooks.delivery.supervisor import Supervisor
from services.webhooks.fanout.feed import Feed
from services.webhooks.fanout.observer import FanOutObserver
from services.webhooks.log_reader import LogReader
from services.webhooks.management.endpoints import Endpoints
from services.webhooks.messages.rendering import Renderer
from services.webhooks.metrics import SenderMetrics
from services.webhooks.projection import WebhooksProjection
from services.webhooks.receipts.dispatcher import ReceiptDispatcher
from services.webhooks.schema import BESIDE, COLLECTIONS
from shared.access.apps.mongo import MongoApps
from shared.erasure.ledger import Ledger
from shared.runtime.clock import now
from shared.runtime.worker import owner_name
from shared.service.composition import Prepared, Service
from shared.service.launch import launch
from shared.settings import Settings, portal_origins, servers_of
from shared.vault.open import key_problems


def run(settings: Settings) -> None:
    """Serve until SIGTERM. Raises ConfigurationError, or the error that stopped the worker."""
    servers_of(settings)
    allowed = networks(settings.webhook_allow)
    with Service("webhooks", settings) as service:
        database, vault, topics = service.database, service.vault, service.topics
        ledger, gate = service.background(Ledger(settings)), service.erasure_gate(corrects=False)
        prepared = Prepared(database, {**COLLECTIONS, **BESIDE})
        renderer = Renderer(database, service.names("relations"), ledger.mode, vault)
        owner, apps, metrics = owner_name(), MongoApps(database), SenderMetrics(service.metrics)
        dispatcher = ReceiptDispatcher(database, apps, metrics.waiting.set, partial(metrics.told, "given_up"))
        sending = Supervisor(
            Queue(database, vault),
            Leases(database, owner),
            lambda reader: Feed(database, reader, topics),
            lambda: LogReader(settings),
            renderer,
            metrics,
            owner,
            allowed,
            # A delivery of an erased consumer must not be sent because the ledger is unread.
            ready=lambda: prepared.problems() or ledger.problems(),
            served=partial(served, find=apps.find, unreadable=Unreadable(metrics.unreadable.set).note),
            tell=dispatcher.look,
        )
        observers = [FanOutObserver(sending.arrived)]
        worker = service.worker(WebhooksProjection(topics), COLLECTIONS, beside=BESIDE, observers=observers)
        service.background(sending)
        app = create_app(
            Endpoints(database, renderer, vault, topics, lambda: LogReader(settings), now),
            lambda: (
                prepared.problems()
                or key_problems(vault)
                or worker.problems()
                or ledger.problems()
                or sending.problems()
            ),
            allowed,
            access=service.access,
        )
        # The developer portal, which the apps service serves, and the dashboard manage endpoints from the browser.
        pages = (*settings.dashboard_origins, *portal_origins(settings))
        methods = ("GET", "POST", "PATCH", "DELETE")
        service.serve(app, settings.webhooks_port, gate=gate, origins=pages, methods=methods)


def main() -> None:
    launch("webhooks", run)


if __name__ == "__main__":
    main()
