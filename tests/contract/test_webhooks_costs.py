"""What webhooks and applications cost MongoDB, by its own profile: no question reads what it is not about."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
from pymongo.database import Database

from services.apps.figures import Figures
from services.apps.key_pairs import MongoKeyPairs
from services.apps.signing import Signer
from services.webhooks.deliveries import DELIVERIES, ENDPOINTS, LOG
from services.webhooks.delivery.http_client import Answer
from services.webhooks.delivery.leases import Leases
from services.webhooks.delivery.queue import Changes, Settled, entry_of
from services.webhooks.fanout.feed import Feed
from services.webhooks.log_reader import LogReader
from services.webhooks.management.retries import Wanted
from services.webhooks.projection import WebhooksProjection
from services.webhooks.schema import COLLECTIONS, KEPT_SECONDS, MOST_KEPT
from shared.access.apps.notices import MongoNotices, registered
from shared.access.apps.schema import NOTICES, PUBLIC_KEYS, RECEIPTS
from shared.erasure.records import erasure_id
from shared.mongo.store import MongoStore
from shared.runtime.protocols import Document, Message, Partition
from shared.runtime.runner import Runner
from shared.runtime.sequence_numbers import assign_numbers
from shared.settings import Settings
from shared.testing.memory import MemoryLog, MemoryPublisher, MemoryReader
from tests.contract.test_telling import World
from tests.support.apps import ISSUER, new_app
from tests.support.builders import TOPICS

#: Documents of others in each of the collections that grow, and the most that a question may look at.
OTHERS, MOST = 300, 100
#: Read as a whole, because all of it is wanted: the endpoints that are sent to, and the keys that verify tokens.
WHOLE = {ENDPOINTS, PUBLIC_KEYS}


@contextmanager
def profile(database: Database[Document]) -> Iterator[list[Document]]:
    """What the server notes meanwhile of operations that choose a plan, once it is over."""
    database.create_collection("system.profile", capped=True, size=2**26)
    found: list[Document] = []
    database.command("profile", 2)
    try:
        yield found
    finally:
        database.command("profile", 0)
    found += database["system.profile"].find({"planSummary": {"$exists": True}})


def now() -> datetime:
    return datetime.now(UTC)


def others(world: World) -> None:
    """An application of somebody else, which has many of everything."""
    app = replace(new_app(tenant="other"), id="app_" + "o" * 16)
    world.apps.insert(app)
    world.database["consumers"].insert_many({"_id": f"other:c{n}", "consent": {}} for n in range(OTHERS))
    receipt = {"app": app.id, "tenant": "other", "topic": "consumer.erased", "at": now(), "attempts": 1}
    shown = [{**receipt, "_id": f"other:{n}", "state": "delivered", "settled": now()} for n in range(OTHERS)]
    world.database[RECEIPTS].insert_many(shown)
    stated = {"url": "http://127.0.0.1:9/", "types": ["relation.changed"], "purpose": app.id, "bound": True}
    endpoint = world.endpoints.create("other", stated, "hmac", [], app.id).endpoint["_id"]
    queued = {"endpoint": endpoint, "tenant": "other", "lane": "l", "subject": "s", "attempts": 0, "due": now()}
    change = {"id": "c", "type": "relation.changed", "time": "2026-11-29T10:00:00Z", "data": {}}
    made = [{**queued, "_id": f"d{n}", "at": n, "state": "queued", "change": change} for n in range(OTHERS)]
    world.database[DELIVERIES].insert_many(made)
    entries = [entry_of({**each, "attempts": 1}, Answer(1, 200), "delivered", now()) for each in made]
    world.database[LOG].insert_many(entries)


def tell(world: World, app: str) -> None:
    """Everything that comes of an erasure and an export."""
    world.erase("ada", app)
    MongoNotices(world.database).exported("default", "bob", [app], now())
    world.look()
    made = world.endpoint(app, "http://127.0.0.1:9/")
    world.unhurried().look(world.queue.endpoints())
    world.unhurried().look(world.queue.endpoints())
    disabled = world.endpoints.disable(made.endpoint)
    assert disabled is not None
    world.look()
    world.endpoints.enable(disabled)
    world.look()
    for state in (None, "queued"):
        [first, _] = world.receipts.page("default", app, state, 10, None)
        world.receipts.page("default", app, state, 10, (first["at"], first["_id"]))
    world.receipts.of_erasure("default", erasure_id("default", "ada"))
    registered(world.database, "default", "ada")


def send(world: World, endpoint: Document) -> None:
    """Everything that a sender and the API ask of an endpoint's queue."""
    id, queue = endpoint["_id"], world.queue
    world.endpoints.test(endpoint)
    for only_told in (False, True):
        queue.waiting(id, None, 10, only_told=only_told)
        queue.waiting(id, (1, "x"), 10, ["s"], only_told=only_told)
        queue.retrying(id, only_told=only_told)
    subjects = [each["subject"] for each in queue.waiting(id, None, 10)]
    firsts = queue.firsts(id, subjects)
    assert len(firsts) == 3
    for tried in (False, True):
        queue.length(id, 100, tried=tried)
    assert queue.lengths([id]) == {id: 3}
    assert queue.filled([id, "default:none"]) == {id}
    refused, long_ago = Answer(1, 500), now() - timedelta(seconds=2 * KEPT_SECONDS)
    [one, two, three] = sorted(firsts, key=lambda each: "receipt" in each)
    queue.settle([Settled(one, entry_of(one, refused, "given_up", long_ago), failed=True)])
    queue.settle([Settled(two, entry_of(two, refused, "failed", now()), due=now())])
    queue.settle([Settled(three, entry_of(three, refused, "given_up", now()), failed=True)])
    queue.change(id, Changes({"failures": 1}))
    world.look()
    for outcome in (None, "failed"):
        [first, *_] = world.endpoints.attempts(endpoint, outcome, 10, None)
        world.endpoints.attempts(endpoint, outcome, 10, (first["at"], first["_id"]), bound=True)
    world.database[DELIVERIES].update_one({"_id": one["_id"]}, {"$set": {"at": 1}})
    queue.purge(now())
    assert world.database[DELIVERIES].find_one({"_id": one["_id"]}) is None
    assert len(world.endpoints.attempts(endpoint, None, 10, None)) == 2
    for wanted in (Wanted(receipt=three["receipt"]), Wanted(two["_id"])):
        assert world.endpoints.retry(endpoint, wanted)
    world.endpoints.retry(endpoint, Wanted(waiting=True))
    feed = Feed(world.database, lambda: LogReader(Settings()), TOPICS)
    feed.parts(id)
    feed.unfed([id])
    feed.finished_ranges(id)
    world.endpoints.answer(endpoint)
    assert [each["_id"] for each in world.endpoints.all("default")] == [id]


def fan_out(world: World, app: str) -> None:
    """Changes of consumers become deliveries, the register, and notices."""
    topic = TOPICS.name("consumer-changes")
    log = MemoryLog({topic: 1, TOPICS.name("dead-letters"): 1})
    for number, erased in enumerate((False, True)):
        change = {"specversion": "1.0", "id": f"kith.consumers/0/{number}", "source": "kith/relations"}
        data: Document = {"consumer_id": "eve", "applications": [app], "erased": erased}
        change |= {"type": "consumer.changed", "time": "2026-11-29T10:00:00Z", "tenant": "default"}
        message = Message(topic, b"k", orjson.dumps({**change, "data": data}), 0)
        log.append(assign_numbers([message], "relations@1/kith.consumers/0", number)[0][0])
    reader = MemoryReader(log)
    runner = Runner(
        reader,
        MongoStore(world.database, COLLECTIONS),
        MemoryPublisher(log),
        WebhooksProjection(TOPICS),
        owner="test",
        dead_letters=TOPICS.name("dead-letters"),
    )
    reader.assign([Partition(topic, 0)])
    runner.step(0)
    while runner.partitions[Partition(topic, 0)].progress.next != log.end(Partition(topic, 0)):
        runner.step(0)


def manage(world: World) -> None:
    """An application from its registration to its end, with keys for its tokens."""
    made = world.registry.register(new_app("relations:read", tenant="default"))
    app = world.registry.approve(made.app)
    assert app.id in {each.id for each in world.apps.all("default")}
    Figures(world.database, str).consented("default", app.id)
    Figures(world.database, str).events("default", app.id, "2026-11-29")
    pairs = MongoKeyPairs(world.database)
    Signer(pairs, None, ISSUER, now).token(app, made.secret, app.scopes, "j1")
    [key] = pairs.public()
    pairs.end(key.kid, now())
    pairs.remove(key.kid)
    world.registry.delete(world.registry.suspend(app, None))


def test_no_question_reads_what_it_is_not_about(mongo_database: Database[Document]) -> None:
    world = World(mongo_database)
    others(world)
    app = world.approved().app
    with profile(mongo_database) as noted:
        tell(world, app.id)
        [endpoint] = [each for each in world.queue.endpoints() if each["purpose"] == app.id]
        send(world, endpoint)
        fan_out(world, app.id)
        manage(world)
        leases = Leases(mongo_database, "one")
        assert leases.take(["process/one", endpoint["_id"]]) == {"process/one", endpoint["_id"]}
        assert leases.owners() == {"one"}
        leases.release([endpoint["_id"]])
        world.look()
        world.registry.delete(app)
        world.look()
        assert mongo_database[NOTICES].count_documents({"apps": app.id}) == 0
    asked = {each["ns"].partition(".")[2] for each in noted}
    assert {*COLLECTIONS, LOG, "webhook_leases", "webhook_ranges", "apps"} - {"dead_letters"} <= asked
    whole = [each["ns"].partition(".")[2] for each in noted if "COLLSCAN" in each["planSummary"]]
    assert {*whole} <= WHOLE, whole
    many = [
        each
        for each in noted
        # A purge counts what is kept of an endpoint, in an index.
        if each.get("docsExamined", 0) > MOST
        or (each.get("keysExamined", 0) > MOST and each["command"].get("skip") != MOST_KEPT - 1)
    ]
    assert [(each["planSummary"], each["command"]) for each in many] == []
