"""What applications are told without subscribing: on real MongoDB, with receivers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import orjson
import pytest
import standardwebhooks
from pymongo.database import Database

from services.apps.registry import Registered, Registry
from services.webhooks.applications import served
from services.webhooks.deliveries import DELIVERIES
from services.webhooks.delivery import retry_policy
from services.webhooks.delivery.addresses import networks
from services.webhooks.delivery.leases import Leases
from services.webhooks.delivery.queue import Queue, Settled
from services.webhooks.delivery.supervisor import Supervisor
from services.webhooks.fanout.feed import Feed
from services.webhooks.log_reader import LogReader
from services.webhooks.management.endpoints import Endpoints, Made
from services.webhooks.management.retries import Wanted
from services.webhooks.messages.notice import telling
from services.webhooks.messages.rendering import Renderer
from services.webhooks.metrics import SenderMetrics
from services.webhooks.receipts.assignment import DELETED, DISABLED, HIDDEN, NEVER_SENT, NO_ENDPOINT, STAYS_HIDDEN
from services.webhooks.receipts.dispatcher import BATCH as NOTICES_AT_ONCE
from services.webhooks.receipts.dispatcher import ReceiptDispatcher
from services.webhooks.schema import BESIDE, COLLECTIONS
from shared.access.apps.compliance import KEPT, erased
from shared.access.apps.mongo import MongoApps
from shared.access.apps.notices import MongoNotices, MongoReceipts
from shared.access.apps.schema import APPS, NOTICES, RECEIPTS, REGISTER
from shared.access.apps.schema import COLLECTIONS as APPLICATIONS
from shared.mongo.store import prepare
from shared.observability.metrics import new_registry
from shared.runtime.protocols import Document
from shared.settings import Settings
from tests.support.apps import new_app
from tests.support.builders import TOPICS
from tests.support.receiver import Receiver, receiver
from tests.support.waiting import PATIENCE_SECONDS, wait_for

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ALLOWED = networks(["127.0.0.0/8"])


class World:
    def __init__(self, database: Database[Document]) -> None:
        prepare(database, {**APPLICATIONS, **COLLECTIONS, **BESIDE})
        self.database, self.apps = database, MongoApps(database)
        self.registry = Registry(self.apps, lambda: datetime.now(UTC))
        self.renderer = Renderer(database, str, lambda _tenant, _consumer: "delete", None)
        reader = lambda: LogReader(Settings())  # noqa: E731
        clock = lambda: datetime.now(UTC)  # noqa: E731
        self.endpoints = Endpoints(database, self.renderer, None, TOPICS, reader, clock)
        self.queue, self.receipts = Queue(database), MongoReceipts(database)
        self.waiting: list[int] = []
        self.telling = self.unhurried(waiting=self.waiting.append)

    def unhurried(self, **more: Any) -> ReceiptDispatcher:
        """Its look reaches all that there is, on the slowest machine, too."""
        return ReceiptDispatcher(self.database, self.apps, seconds=PATIENCE_SECONDS, **more)

    def approved(self, **more: Any) -> Registered:
        made = self.registry.register(new_app("relations:read", "webhooks:manage", tenant="default"))
        app = self.registry.approve(made.app, made.app.requested, masks=more.get("masks"))
        return Registered(app, made.secret, made.secret_text, made.registration_token)

    def endpoint(self, app: str, url: str, **more: Any) -> Made:
        stated = {"url": url, "types": ["relation.changed"], "purpose": app, "bound": True, **more}
        return self.endpoints.create("default", stated, "hmac", [], app)

    def erase(self, consumer: str, *apps: str) -> None:
        """As fan-out does."""
        notice = erased("default", consumer, apps, NOW)
        self.database[NOTICES].insert_one(notice)

    def look(self) -> None:
        self.telling.look(self.queue.endpoints())

    def states(self, app: str) -> list[tuple[Any, ...]]:
        found = self.receipts.page("default", app, None, 100, None)
        return [(each.get("consumer_id"), each["state"], each.get("reason")) for each in reversed(found)]

    @contextmanager
    def sending(self) -> Iterator[None]:
        made = Supervisor(
            self.queue,
            Leases(self.database, "one"),
            lambda reader: Feed(self.database, reader, TOPICS),
            lambda: LogReader(Settings()),
            self.renderer,
            SenderMetrics(new_registry()),
            "one",
            ALLOWED,
            ready=list,
            served=partial(served, find=self.apps.find),
            tell=self.telling.look,
        )
        made.start()
        try:
            yield
        finally:
            made.stop()


@pytest.fixture
def world(mongo_database: Database[Document]) -> World:
    return World(mongo_database)


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def bodies(there: Receiver) -> list[tuple[str, Any]]:
    found = [orjson.loads(each.body) for each in there.received]
    return [(each["type"], each["data"].get("consumer_id")) for each in found]


def settled(world: World, app: str, count: int) -> bool:
    return [state for _, state, _ in world.states(app)].count("delivered") == count


def test_an_application_is_told_of_erasures_and_of_its_own_end_whatever_it_subscribes_to(
    world: World, there: Receiver
) -> None:
    one, other = world.approved(), world.approved()
    # A template and a purpose that nobody has granted: what must be told has its own form and asks for neither.
    made = world.endpoint(one.app.id, there.url, template="{text: type}", types=["webhook.disabled"])
    world.endpoint(other.app.id, there.url)
    world.erase("ada", one.app.id)
    suspended = world.registry.suspend(one.app, "it asked too often")
    with world.sending():
        wait_for("the erasure", lambda: settled(world, one.app.id, 1))
        world.registry.delete(suspended)
        wait_for("its end", lambda: settled(world, one.app.id, 2))
        wait_for("no endpoint", lambda: world.endpoints.find("default", made.endpoint["_id"][8:]) is None)
    assert bodies(there) == [("consumer.erased", "ada"), ("app.uninstalled", None)]
    body = standardwebhooks.Webhook(made.secret).verify(there.received[0].body, there.received[0].headers)
    assert set(body["data"]) == {"app", "consumer_id", "receipt"}
    assert world.states(other.app.id) == []
    [first, _] = world.receipts.page("default", one.app.id, "delivered", 10, None)[::-1]
    assert first["expires"] == first["settled"] + KEPT
    assert first["enqueued"] <= first["settled"]
    assert world.database[DELIVERIES].count_documents({}) == 0


def test_a_receipt_without_a_place_waits_visibly_and_follows_the_endpoints(world: World, there: Receiver) -> None:
    app = world.approved().app
    world.erase("ada", app.id)
    world.look()
    assert world.states(app.id) == [("ada", "waiting", NO_ENDPOINT)]
    assert world.waiting[-1] == 1
    first = world.endpoint(app.id, "http://127.0.0.1:9/")
    world.look()
    assert world.states(app.id) == [("ada", "queued", None)]
    # It may neither be disabled away nor deleted away.
    disabled = world.endpoints.disable(first.endpoint)
    world.look()
    assert world.states(app.id) == [("ada", "waiting", DISABLED)]
    assert world.database[DELIVERIES].count_documents({}) == 0
    assert disabled is not None
    world.endpoints.enable(disabled)
    world.look()
    masked = world.registry.approve(app, masks=["consumer_id"])
    world.look()
    world.look()
    assert world.states(app.id) == [("ada", "waiting", HIDDEN)]
    world.registry.approve(masked, masks=[])
    world.look()
    [queued] = world.database[DELIVERIES].find()
    world.endpoints.delete(first.endpoint)
    world.endpoint(app.id, there.url)
    with world.sending():
        wait_for("the erasure", lambda: settled(world, app.id, 1))
    assert there.ids == [there.received[0].headers["webhook-id"]]
    [receipt] = world.receipts.page("default", app.id, None, 10, None)
    assert queued["change"]["id"] == receipt["_id"], "its webhook-id is the same wherever it goes"
    assert world.waiting[-1] == 0


def test_many_processes_make_one_receipt_and_one_delivery_of_a_notice(world: World) -> None:
    app = world.approved().app
    world.endpoint(app.id, "http://127.0.0.1:9/")
    consumers = [f"c{n}" for n in range(20)]
    for consumer in consumers:
        world.erase(consumer, app.id, "app_" + "z" * 16)
    pending = world.registry.register(new_app(tenant="default")).app
    world.erase("seen by none", pending.id)
    others = [ReceiptDispatcher(world.database, world.apps) for _ in range(4)]

    def work(one: ReceiptDispatcher) -> None:
        for _ in range(20):
            try:
                one.look(world.queue.endpoints())
            except Exception:
                continue

    threads = [threading.Thread(target=work, args=(one,)) for one in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.look()
    assert sorted(consumer for consumer, state, _ in world.states(app.id) if state == "queued") == sorted(
        consumers
    )
    subjects = [each["subject"] for each in world.database[DELIVERIES].find()]
    assert len(subjects) == len(set(subjects)) == len(consumers)
    assert world.database[NOTICES].count_documents({}) == 0
    assert world.states(pending.id) == []
    # A dump of before is restored: the same notice makes no second receipt.
    world.erase(consumers[0], app.id)
    world.look()
    assert world.database[RECEIPTS].count_documents({}) == len(consumers)


def test_what_is_given_up_is_on_the_receipt_and_can_be_sent_again(
    world: World, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_policy, "DELAYS", (0.05,) * 9)
    monkeypatch.setattr(retry_policy, "_FIRST_PAUSE", 0.05)
    app = world.approved().app
    made = world.endpoint(app.id, there.url)
    there.rule = lambda _: 500
    world.erase("ada", app.id)
    with world.sending():
        wait_for("ten attempts", lambda: world.states(app.id) == [("ada", "failed", "the endpoint answered 500")])
        [failed] = world.receipts.page("default", app.id, "failed", 10, None)
        assert failed["attempts"] == retry_policy.MOST_ATTEMPTS
        wait_for("its delivery", lambda: world.database[DELIVERIES].find_one({"state": "failed"}))
        [delivery] = world.database[DELIVERIES].find()
        other = {name: value for name, value in delivery.items() if name != "receipt"} | {"_id": "no receipt"}
        world.database[DELIVERIES].insert_one(other)
        there.rule = lambda _: 200
        stored = world.endpoints.find("default", made.endpoint["_id"].partition(":")[2])
        assert stored is not None
        assert world.endpoints.retry(stored, Wanted(receipt=failed["_id"])) == 1
        wait_for("the erasure", lambda: world.states(app.id) == [("ada", "delivered", None)])
    assert len(set(there.ids)) == 1
    assert world.database[DELIVERIES].find_one({"_id": "no receipt"}) == other, "nobody has asked for it"


def test_a_crash_after_the_receipt_repeats_the_delivery_and_leaves_it_delivered(world: World) -> None:
    app = world.approved().app
    made = world.endpoint(app.id, "http://127.0.0.1:9/")
    world.erase("ada", app.id)
    world.look()
    [receipt] = world.database[RECEIPTS].find()
    ended = {"state": "delivered", "settled": NOW, "expires": NOW + KEPT}
    world.database[RECEIPTS].update_one({"_id": receipt["_id"]}, {"$set": ended})
    world.look()
    [left] = world.database[DELIVERIES].find()
    assert left["_id"] == telling(made.endpoint, receipt, NOW)["_id"], "it is sent again, under the same id"
    assert world.states(app.id) == [("ada", "delivered", None)]


def test_a_deleted_application_without_an_endpoint_leaves_a_receipt_that_says_so(world: World) -> None:
    app = world.approved().app
    world.erase("ada", app.id)
    world.look()
    world.registry.delete(app)
    world.look()
    assert {state[1:] for state in world.states(app.id)} == {("failed", DELETED)}
    assert {consumer for consumer, *_ in world.states(app.id)} == {"ada", None}


def test_what_was_hidden_from_an_application_stays_so_after_its_end(world: World) -> None:
    early, late = (world.approved(masks=["consumer_id"]).app for _ in range(2))
    for app in (early, late):
        world.endpoint(app.id, "http://127.0.0.1:9/")
        world.erase(f"known to {app.id}", app.id)
    world.look()
    assert world.states(late.id) == [(f"known to {late.id}", "waiting", HIDDEN)]
    given_up = {"state": "failed", "reason": NEVER_SENT[HIDDEN], "settled": NOW, "expires": NOW + KEPT}
    world.database[RECEIPTS].update_one({"app": early.id}, {"$set": given_up})
    for app in (early, late):
        world.registry.delete(app)
    world.unhurried().look(world.queue.endpoints())
    for app, reason in ((early, NEVER_SENT[HIDDEN]), (late, STAYS_HIDDEN)):
        ended = (f"known to {app.id}", "failed", reason)
        assert {*world.states(app.id)} == {ended, (None, "queued", None)}


def test_what_can_be_sent_nowhere_is_given_up_after_a_month_and_sent_once_there_is_a_way(world: World) -> None:
    app, masked = world.approved().app, world.approved(masks=["consumer_id"]).app
    met: list[int] = []
    world.endpoint(masked.id, "http://127.0.0.1:9/")
    world.erase("ada", app.id, masked.id)
    world.look()
    [receipt] = world.receipts.page("default", app.id, "waiting", 10, None)
    assert receipt["expires"] > datetime.now(UTC) + KEPT - timedelta(hours=1), "kept in any case, whoever looks"

    def later(days: int) -> None:
        clock = lambda: datetime.now(UTC) + timedelta(days=days)  # noqa: E731
        world.unhurried(given_up=met.append, clock=clock).look(world.queue.endpoints())

    later(29)
    assert met == []
    later(31)
    assert met == [1, 1]
    assert world.states(app.id) == [("ada", "failed", NEVER_SENT[NO_ENDPOINT])]
    assert world.states(masked.id) == [("ada", "failed", NEVER_SENT[HIDDEN])]
    [receipt] = world.receipts.page("default", app.id, "failed", 10, None)
    assert receipt["expires"] == receipt["settled"] + KEPT
    later(32)
    world.look()
    assert world.states(app.id) == [("ada", "failed", NEVER_SENT[NO_ENDPOINT])]
    # At the next look, not when the rest of what is given up is looked through.
    world.endpoint(app.id, "http://127.0.0.1:9/")
    world.look()
    assert world.states(app.id) == [("ada", "queued", None)]
    assert world.states(masked.id) == [("ada", "failed", NEVER_SENT[HIDDEN])]
    world.registry.approve(masked, masks=[])
    later(33)
    assert world.states(masked.id) == [("ada", "queued", None)]
    [receipt] = world.receipts.page("default", masked.id, None, 10, None)
    assert {"settled", "expires"} & {*receipt} == set()


def test_receipts_whose_deliveries_an_older_sender_has_settled_are_mended(world: World) -> None:
    app = world.approved().app
    made = world.endpoint(app.id, "http://127.0.0.1:9/")
    consumers = ("answered", "given up", "lost", "under way")
    for consumer in consumers:
        world.erase(consumer, app.id)
    world.look()
    deliveries = {each["change"]["data"]["consumer_id"]: each for each in world.database[DELIVERIES].find()}

    def older(consumer: str, outcome: str, due: datetime | None = None, **entry: Any) -> None:
        """As a sender does that knows no receipts."""
        delivery = {name: value for name, value in deliveries[consumer].items() if name != "receipt"}
        log = {"_id": f"{delivery['_id']}#3", "delivery": delivery["_id"], "webhook_id": "msg_x", "type": "t"}
        log |= {"endpoint": made.endpoint["_id"], "tenant": "default", "attempt": 3, "at": NOW, "outcome": outcome}
        log |= {"milliseconds": 3, **entry}
        world.queue.settle([Settled(delivery, log, due, failed=outcome == "given_up")])

    older("answered", "delivered", status=200)
    older("given up", "given_up", status=500)
    older("under way", "failed", datetime.now(UTC) + timedelta(days=1), status=500)
    world.database[DELIVERIES].delete_one({"_id": deliveries["lost"]["_id"]})
    first = min(each["enqueued"] for each in world.receipts.page("default", app.id, None, 10, None))

    def look_after(seconds: int) -> None:
        clock = lambda: first + timedelta(seconds=seconds)  # noqa: E731
        world.unhurried(clock=clock).look(world.queue.endpoints())

    look_after(59)
    assert {state for _, state, _ in world.states(app.id)} == {"queued"}, "they are young"
    look_after(120)
    found = {each["consumer_id"]: each for each in world.receipts.page("default", app.id, None, 10, None)}
    shown = ("state", "reason", "attempts", "settled", "expires", "endpoint")
    id = made.endpoint["_id"]
    assert [[found[consumer].get(name) for name in shown] for consumer in consumers] == [
        ["delivered", None, 3, NOW, NOW + KEPT, id],
        ["failed", "the endpoint answered 500", 3, NOW, NOW + KEPT, id],
        ["queued", None, 0, None, None, id],
        ["queued", None, 0, None, None, id],
    ]
    left = world.database[DELIVERIES].find({"state": "queued"})
    assert sorted(each["change"]["data"]["consumer_id"] for each in left) == ["lost", "under way"]


def test_a_tenant_with_much_to_tell_holds_up_no_other(world: World) -> None:
    busy, other = world.approved().app, world.approved().app
    for app in sorted((busy, other), key=lambda each: each.id):
        world.endpoint(app.id, "http://127.0.0.1:9/")
    notices = [erased("default", f"c{n}", [busy.id], NOW) for n in range(NOTICES_AT_ONCE * 3)]
    world.database[NOTICES].insert_many(notices)
    world.apps.replace(other, replace(other, tenant="zoo"))
    world.database[NOTICES].insert_one(erased("zoo", "ada", [other.id], NOW))
    hurried = ReceiptDispatcher(world.database, world.apps, seconds=0)
    for _ in range(2):
        hurried.look(world.queue.endpoints())
    assert world.database[NOTICES].count_documents({"tenant": "zoo"}) == 0
    assert world.database[NOTICES].count_documents({}) == NOTICES_AT_ONCE * 2
    while world.database[NOTICES].count_documents({}):
        hurried.look(world.queue.endpoints())
    world.look()
    assert {state for _, state, _ in world.states(busy.id)} == {"queued"}


def test_a_deletion_that_does_not_take_place_tells_nobody(world: World) -> None:
    app = world.approved().app
    world.registry.suspend(app, None)
    assert not world.apps.delete(app, {"_id": "x", "topic": "app.uninstalled"})
    assert world.database[NOTICES].count_documents({}) == 0


def test_an_export_tells_once_a_day_those_of_the_register_and_those_who_may_see_them_now(world: World) -> None:
    known, new = world.approved().app, world.approved().app
    world.database[REGISTER].insert_one({"_id": "default:ada", "apps": [known.id]})
    notices = MongoNotices(world.database)
    for hours in (0, 1, 24):
        notices.exported("default", "ada", [new.id], NOW + timedelta(hours=hours))
        world.look()
    notices.exported("default", "nobody", [], NOW)
    for app in (known, new):
        told = [each["topic"] for each in world.receipts.page("default", app.id, None, 10, None)]
        assert told == ["consumer.exported"] * 2
    assert world.database[NOTICES].count_documents({}) == 0


def test_receipts_of_a_tenant_are_paged_latest_first(world: World) -> None:
    app = world.approved().app
    for number in range(5):
        notice = erased("default", f"c{number}", [app.id], NOW + timedelta(seconds=number // 2))
        world.database[NOTICES].insert_one(notice)
    world.look()
    whole = world.receipts.page("default", app.id, None, 10, None)
    found, after = [], None
    while page := world.receipts.page("default", app.id, None, 2, after):
        found += page
        after = (page[-1]["at"], page[-1]["_id"])
    assert found == whole
    assert [each["at"] for each in whole] == sorted((each["at"] for each in whole), reverse=True)
    assert world.receipts.page("other", app.id, None, 10, None) == []
    assert len(world.receipts.page("default", app.id, "waiting", 10, None)) == 5


def test_an_application_that_cannot_be_read_holds_up_no_other(world: World, there: Receiver) -> None:
    broken, one = world.approved().app, world.approved().app
    for app in (broken, one):
        world.endpoint(app.id, f"{there.url}/{app.id}")
    # More than are looked at in a turn, before those of the other in the order of ids, or together with them.
    for number in range(NOTICES_AT_ONCE + 10):
        world.erase(f"b{number}", broken.id)
    world.erase("both", broken.id, one.id)
    world.erase("ada", one.id)
    stored = world.database[APPS].find_one({"_id": broken.id})
    assert stored is not None
    # As a version would store it that has other secrets.
    later = {**stored, "secrets": [{"key": "x"}]}
    world.database[APPS].replace_one({"_id": broken.id}, later)
    with world.sending():
        wait_for("the other's", lambda: settled(world, one.id, 2))
    assert {each.path for each in there.received} == {f"/hook/{one.id}"}
    assert world.states(broken.id) == []
    assert world.database[NOTICES].count_documents({"apps": [broken.id]}) == NOTICES_AT_ONCE + 11
    world.database[APPS].replace_one({"_id": broken.id}, stored)
    with world.sending():
        wait_for("its own", lambda: settled(world, broken.id, NOTICES_AT_ONCE + 11))
    assert world.database[NOTICES].count_documents({}) == 0
    assert settled(world, one.id, 2)
