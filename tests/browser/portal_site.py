"""The developer portal over real servers: the apps, webhooks and relations APIs, with one application's data."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from playwright.sync_api import Page
from pymongo.database import Database

from services.analytics.api import create_app as analytics_app
from services.analytics.dashboard.pages import add_pages
from services.apps.api import create_app as apps_app
from services.apps.figures import Figures
from services.apps.key_pairs import MongoKeyPairs
from services.apps.portal.pages import NAMED, add_portal
from services.apps.registry import Registered, Registry
from services.apps.signing import Signer
from services.relations.api import create_app as relations_app
from services.webhooks.api import create_app as webhooks_app
from services.webhooks.applications import served
from services.webhooks.deliveries import DELIVERIES, LOG
from services.webhooks.delivery.addresses import networks
from services.webhooks.delivery.leases import Leases
from services.webhooks.delivery.queue import Queue
from services.webhooks.delivery.supervisor import Supervisor
from services.webhooks.fanout.feed import Feed
from services.webhooks.log_reader import LogReader
from services.webhooks.management.endpoints import Endpoints
from services.webhooks.messages.rendering import Renderer
from services.webhooks.metrics import SenderMetrics
from services.webhooks.receipts.dispatcher import ReceiptDispatcher
from services.webhooks.schema import BESIDE
from services.webhooks.schema import COLLECTIONS as WEBHOOKS
from shared.access.apps.compliance import erased
from shared.access.apps.credentials import BearerTokens
from shared.access.apps.model import Limits
from shared.access.apps.mongo import MongoApps, MongoPublicKeys
from shared.access.apps.notices import MongoReceipts
from shared.access.apps.schema import COLLECTIONS as APPS
from shared.access.apps.schema import NOTICES
from shared.access.apps.tokens import AppTokens
from shared.access.event_days import MongoCounts
from shared.access.guard import Access
from shared.access.quota import Quotas
from shared.http.cors import allow_origins
from shared.mongo.store import prepare
from shared.observability.metrics import new_registry
from shared.runtime.protocols import Document
from shared.service.composition import Background
from shared.settings import Settings
from tests.conftest import Addresses
from tests.support.apps import ISSUER, new_app
from tests.support.builders import STRENGTH, TOPICS, event
from tests.support.credentials import Journal, Keys
from tests.support.databases import fresh_database
from tests.support.relations_driver import MongoKith, uncached
from tests.support.serving import Server

ALLOWED = networks(["127.0.0.0/8"])
#: A test presses faster than a person, and the page's questions count with those of the application's own code.
FAST = Limits(requests="1000/second")


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Portal:
    database: Database[Document]
    registry: Registry
    url: str
    #: The tenant's own page about webhooks, with a key.
    operators: str
    kith: MongoKith

    def registered(self, *scopes: str, name: str = "Bonus") -> Registered:
        return self.registry.register(new_app(*scopes, tenant="default", name=name))

    def approved(self, *scopes: str, name: str = "Bonus", limits: Limits = FAST) -> Registered:
        made = self.registered(*(scopes or ("relations:read", "webhooks:manage")), name=name)
        after = self.registry.approve(made.app, limits=limits)
        return Registered(after, made.secret, made.secret_text, made.registration_token)

    def agreed(self, made: Registered, *consumers: str) -> None:
        """These consumers have granted the application its purpose, and have done something."""
        events = []
        for number, consumer in enumerate(consumers):
            data: dict[str, Any] = {"consumer_id": consumer, "consent": {made.app.purpose: True}}
            id = f"{made.app.id}-{consumer}"
            events.append(event("consumer.upserted", f"{id}-c", "2026-11-01T10:00:00Z", data))
            data = {
                "consumer_id": consumer,
                "relation_id": f"{id}-{number}",
                "provider_id": "cafe",
                "kind": "view",
            }
            events.append(event("relation.recorded", f"{id}-r", "2026-11-02T10:00:00Z", data))
        self.kith.store(events)

    def erased(self, made: Registered, consumer: str, at: datetime | None = None) -> None:
        """A consumer who had agreed to the application was erased, as fan-out stores it."""
        self.database[NOTICES].insert_one(erased("default", consumer, [made.app.id], at or now()))

    def sent_events(self, made: Registered, count: int) -> None:
        MongoCounts(self.database).claim(f"default/{made.app.id}", now().date().isoformat(), count, count, count)

    def gave_up(self, endpoint: str) -> str:
        """A delivery to the endpoint has failed ten times, as its sender stores it."""
        stored = self.database["webhook_endpoints"].find_one({"_id": f"default:{endpoint}"})
        assert stored is not None
        id = f"{stored['_id']}/relation-changes/0/{7:019d}"
        both: Document = {"endpoint": stored["_id"], "tenant": "default", "subject": "provider:cafe"}
        change: Document = {"id": "kith.providers/0/7", "type": "webhook.test", "time": "2026-11-02T10:00:00Z"}
        delivery = {"_id": id, **both, "lane": "l", "at": 1, "attempts": 10, "due": now(), "state": "failed"}
        self.database[DELIVERIES].insert_one({**delivery, "change": {**change, "data": {"message": "late"}}})
        entry = {"_id": f"{id}#10", **both, "delivery": id, "webhook_id": "msg_late", "type": "provider.changed"}
        tried = {"attempt": 10, "at": now(), "milliseconds": 31, "outcome": "given_up", "status": 500}
        self.database[LOG].insert_one({**entry, **tried, "answer": "<b>it is</b> broken"})
        return id

    def attempted(self, endpoint: str, number: int, at: datetime) -> None:
        """A delivery about the provider ``p{number}`` was taken by the endpoint, as its sender stores it."""
        id, delivery = f"default:{endpoint}", f"default:{endpoint}/relation-changes/0/{number:019d}"
        entry = {"_id": f"{delivery}#1", "endpoint": id, "tenant": "default", "delivery": delivery}
        entry |= {"subject": f"provider:p{number}", "webhook_id": f"msg_{number}", "type": "provider.changed"}
        tried = {"attempt": 1, "at": at, "milliseconds": 3, "outcome": "delivered", "status": 200}
        self.database[LOG].insert_one({**entry, **tried, "answer": "heard"})


@contextmanager
def portal(database: Database[Document], settings: Settings) -> Iterator[Portal]:
    """The three services on free ports of this machine, and a sender of webhooks."""
    prepare(database, {**APPS, **WEBHOOKS, **BESIDE})
    store = MongoApps(database)

    def access() -> Access:
        tokens = BearerTokens(AppTokens(store, MongoPublicKeys(database)), None)
        return Access(Keys(), tokens, Quotas("none"), Journal())

    registry = Registry(store, now)
    renderer = Renderer(database, str, lambda _tenant, _consumer: None, None)
    endpoints = Endpoints(database, renderer, None, TOPICS, lambda: LogReader(settings), now)
    queue = Queue(database)
    sending = Supervisor(
        queue,
        Leases(database, "portal"),
        lambda reader: Feed(database, reader, TOPICS),
        lambda: LogReader(settings),
        renderer,
        SenderMetrics(new_registry()),
        "portal",
        ALLOWED,
        ready=list,
        served=partial(served, find=store.find),
        tell=ReceiptDispatcher(database, store).look,
    )
    webhooks = webhooks_app(endpoints, list, ALLOWED, access=access())
    relations = relations_app(uncached(database), STRENGTH, list, now, access=access())
    signer = Signer(MongoKeyPairs(database), None, ISSUER, now)
    figures, receipts = Figures(database, str), MongoReceipts(database)
    app = apps_app(registry, signer, figures, receipts, list, access=access(), issuer=ISSUER)
    dashboard = analytics_app(cast(Any, None), list, access=access())
    served_by = {"relations": relations, "webhooks": webhooks, "apps": app, "analytics": dashboard}
    servers = {name: Server(each) for name, each in served_by.items()}
    urls = {name: server.url for name, server in servers.items()}
    add_portal(app, urls["apps"], {name: urls[name] for name in NAMED})
    add_pages(dashboard, webhooks=urls["webhooks"])
    allow_origins(webhooks, [urls["apps"], urls["analytics"]], ("GET", "POST", "PATCH", "DELETE"))
    with ExitStack() as stack:
        parts: list[Background] = [*servers.values(), sending]
        for part in parts:
            part.start()
            stack.callback(part.stop)
        operators = f"{urls['analytics']}/dashboard/?view=webhooks#key=kith_webhooks:manage,relations:read"
        yield Portal(database, registry, f"{urls['apps']}/portal/", operators, MongoKith(database))


@contextmanager
def over(servers: Addresses) -> Iterator[Portal]:
    """The same in a database of its own."""
    with fresh_database(servers) as database:
        settings = Settings(kafka=servers.kafka, mongo=servers.mongo, database=database.name, encryption="off")
        with portal(database, settings) as opened:
            yield opened


def sign_in(page: Page, site: Portal, token: str) -> None:
    page.goto(site.url)
    page.get_by_label("Registration token").fill(token)
    page.keyboard.press("Enter")


def added(page: Page, url: str) -> str:
    """Add an endpoint. Its signing secret, which the page shows once."""
    page.get_by_text("Add an endpoint").first.click()
    page.get_by_label("Address").fill(url)
    page.keyboard.press("Enter")
    secret = page.locator("#endpoint-secret .code").inner_text()
    page.get_by_role("button", name="I have kept it").click()
    return secret
