"""The parts of webhooks on the real servers, with a receiver that fails in every way."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import standardwebhooks
from aiohttp import web
from pymongo.collection import Collection
from pymongo.database import Database

from services.webhooks.deliveries import DELIVERIES, ENDPOINTS, LANES, LOG
from services.webhooks.delivery import retry_policy
from services.webhooks.delivery.addresses import networks
from services.webhooks.delivery.http_client import Answer
from services.webhooks.delivery.leases import Leases
from services.webhooks.delivery.queue import Queue, entry_of
from services.webhooks.delivery.supervisor import Supervisor
from services.webhooks.fanout.feed import Feed
from services.webhooks.log_reader import LogReader
from services.webhooks.management.endpoints import Endpoints, Made, Since
from services.webhooks.management.retries import Wanted
from services.webhooks.messages.rendering import Renderer
from services.webhooks.metrics import SenderMetrics
from services.webhooks.projection import WebhooksProjection
from services.webhooks.schema import BESIDE, COLLECTIONS
from shared.contracts.topics import Topics
from shared.kafka.clients import open_publisher
from shared.mongo.store import MongoStore, connect, prepare
from shared.observability.metrics import new_registry
from shared.runtime.protocols import Document, Message, Partition
from shared.runtime.runner import Runner
from shared.runtime.sequence_numbers import assign_numbers
from shared.settings import Settings
from shared.testing.memory import MemoryLog, MemoryPublisher, MemoryReader
from tests.support.receiver import Received, Receiver, receiver
from tests.support.waiting import PATIENCE_SECONDS, wait_for

ALLOWED = networks(["127.0.0.0/8"])


class World:
    """Fan-out over the changes of one partition, as many senders as are started, and the API's endpoints."""

    def __init__(self, settings: Settings, database: Database[Document]) -> None:
        self.settings, self.database = settings, database
        self.topics = Topics(settings.topic_prefix)
        prepare(database, {**COLLECTIONS, **BESIDE})
        self.erased: set[str] = set()
        self.renderer = Renderer(
            database,
            lambda name: name,
            lambda _, consumer: "delete" if consumer in self.erased else None,
            None,
        )
        self.endpoints = Endpoints(
            database, self.renderer, None, self.topics, lambda: LogReader(settings), lambda: datetime.now(UTC)
        )
        self._publisher = open_publisher(settings)
        self._number = 0
        self.topic = self.topics.name("relation-changes")
        # The same clock as Kafka's, whose records the feed reads.
        partitions = {self.topic: 1, self.topics.name("dead-letters"): 1}
        self._log = MemoryLog(partitions, lambda: int(time.time() * 1000))
        self._store = MongoStore(database, COLLECTIONS)
        self.restart()

    def restart(self) -> None:
        reader = MemoryReader(self._log)
        self._runner = Runner(
            reader,
            self._store,
            MemoryPublisher(self._log),
            WebhooksProjection(self.topics),
            owner="test",
            dead_letters=self.topics.name("dead-letters"),
            slice_events=50,
        )
        reader.assign([Partition(self.topic, 0)])
        self._runner.step(0)

    def create(self, url: str, **stated: Any) -> Made:
        return self.endpoints.create(
            "default", {"url": url, "types": ["relation.changed"], **stated}, "hmac", [], "test"
        )

    def publish(self, *consumers: str, kind: str = "view") -> list[str]:
        """Changes of these consumers, in Kafka and in the log that fan-out folds. Returns their webhook-ids."""
        from services.webhooks.messages.signing import message_id

        messages, ids = [], []
        for consumer in consumers:
            self._number += 1
            id = f"kith.relations/0/{self._number}"
            ids.append(message_id(id))
            value = orjson.dumps(
                {
                    "specversion": "1.0",
                    "id": id,
                    "source": "kith/relations",
                    "type": "relation.changed",
                    "time": "2026-11-29T10:00:00Z",
                    "tenant": "default",
                    "data": {
                        "relation_id": f"r{self._number}",
                        "consumer_id": consumer,
                        "before": None,
                        "after": {"provider_id": "cafe", "kind": kind, "time": "2026-11-29T10:00:00Z"},
                    },
                }
            )
            messages += assign_numbers(
                [Message(self.topic, b"k", value, 0)], "relations@1/kith.relations/0", self._number - 1
            )[0]
        self._publisher.send(messages).result(PATIENCE_SECONDS)
        for message in messages:
            self._log.append(message)
        return ids

    def fold(self) -> None:
        while self._runner.partitions[Partition(self.topic, 0)].progress.next != self._log.end(
            Partition(self.topic, 0)
        ):
            self._runner.step(0)

    @contextmanager
    def sending(self, owner: str = "one") -> Iterator[Supervisor]:
        made = Supervisor(
            Queue(self.database),
            Leases(self.database, owner),
            lambda reader: Feed(self.database, reader, self.topics),
            lambda: LogReader(self.settings),
            self.renderer,
            SenderMetrics(new_registry()),
            owner,
            ALLOWED,
            ready=list,
            served=list,
        )
        made.start()
        try:
            yield made
        finally:
            made.stop()

    def state(self, made: Made) -> Document:
        found = self.database[ENDPOINTS].find_one({"_id": made.endpoint["_id"]}, max_time_ms=5000)
        assert found is not None
        return found

    def log(self) -> list[Document]:
        return list(self.database[LOG].find({}, max_time_ms=5000).sort([("at", 1), ("_id", 1)]))

    def queued(self) -> int:
        return self.database[DELIVERIES].count_documents({"state": "queued"}, maxTimeMS=5000)


@pytest.fixture
def world(real_settings: Settings) -> Iterator[World]:
    assert real_settings.mongo is not None
    with connect(real_settings.mongo) as client:
        yield World(real_settings, client[real_settings.database])


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other within the test."""
    monkeypatch.setattr(retry_policy, "DELAYS", (0.1,) * 9)
    monkeypatch.setattr(retry_policy, "_FIRST_PAUSE", 0.1)


def arrived(there: Receiver, ids: list[str]) -> Callable[[], bool]:
    return lambda: set(ids) <= set(there.ids)


def test_a_change_arrives_signed_and_numbered(world: World, there: Receiver) -> None:
    made = world.create(there.url)
    ids = world.publish("ada", "bob", "ada")
    world.fold()
    with world.sending():
        wait_for("deliveries", arrived(there, ids))
        wait_for("an empty queue", lambda: world.queued() == 0)
    assert sorted(there.ids) == sorted(ids), "each once"
    of_ada = [each for each in there.received if b'"ada"' in each.body]
    assert [each.headers["kith-number"] for each in of_ada] == ["1", "3"]
    for each in there.received:
        body = standardwebhooks.Webhook(made.secret).verify(each.body, each.headers)
        assert body["type"] == "relation.changed"
    assert [entry["outcome"] for entry in world.log()] == ["delivered"] * 3
    assert world.log()[0]["answer"] == "heard"


def fails_for(consumer: str, status: Any) -> Callable[[Received], Any]:
    return lambda found: status if f'"{consumer}"'.encode() in found.body else 200


@pytest.mark.parametrize("way", [500, 400, 302, "reset"])
@pytest.mark.usefixtures("quick")
def test_a_subject_that_fails_waits_in_order_and_holds_up_no_other(
    world: World, there: Receiver, way: Any
) -> None:
    world.create(there.url)
    there.rule = fails_for("ada", way)
    bad, good = world.publish("ada", "ada", "ada"), world.publish(*[f"c{n}" for n in range(20)])
    world.fold()
    with world.sending():
        wait_for("the others", arrived(there, good))
        wait_for("a second attempt", lambda: there.ids.count(bad[0]) >= 2)
        assert bad[1] not in there.ids
        there.rule = lambda _: 200
        wait_for("all", arrived(there, bad))
        wait_for("an empty queue", lambda: world.queued() == 0)
    last = [id for id in there.ids if id in bad]
    assert last[-3:] == bad
    assert all(there.ids.count(id) == 1 for id in (*good, *bad[1:]))


@pytest.mark.usefixtures("quick")
def test_what_is_given_up_lets_the_subject_go_on_and_can_be_retried(world: World, there: Receiver) -> None:
    made = world.create(there.url)
    [first, second] = world.publish("ada", "ada")
    there.rule = lambda found: 500 if found.headers["webhook-id"] == first else 200
    world.fold()
    with world.sending():
        wait_for("the second", arrived(there, [second]))
        assert there.ids.count(first) == retry_policy.MOST_ATTEMPTS
        wait_for("the list of failures", lambda: world.endpoints.answer(world.state(made))["failed"] == 1)
        # One attempt more, and not the schedule again, in which it would hold up the later ones once more.
        assert world.endpoints.retry(made.endpoint, Wanted()) == 1
        wait_for("the first again", lambda: there.ids.count(first) == retry_policy.MOST_ATTEMPTS + 1)
        wait_for("the list of failures", lambda: world.endpoints.answer(world.state(made))["failed"] == 1)
        assert [each["attempt"] for each in world.log() if each["outcome"] == "given_up"] == [10, 11]
        there.rule = lambda _: 200
        assert world.endpoints.retry(made.endpoint, Wanted()) == 1
        wait_for("the first", lambda: there.ids.count(first) == retry_policy.MOST_ATTEMPTS + 2)
        wait_for("an empty queue", lambda: world.queued() == 0)
    assert world.endpoints.answer(world.state(made))["failed"] == 0


def test_what_has_failed_once_is_sent_again_on_demand(
    world: World, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By itself nothing is tried again while the test lasts.
    monkeypatch.setattr(retry_policy, "DELAYS", (86_400.0,) * 9)
    made = world.create(there.url)
    [first, behind, other, last] = world.publish("ada", "ada", "bob", "eve")
    there.rule = lambda _: 500
    world.fold()
    with world.sending():
        tried = {"attempts": 1, "state": "queued"}
        wait_for("three failures", lambda: world.database[DELIVERIES].count_documents(tried) == 3)
        there.rule = lambda _: 200
        [failed] = world.database[DELIVERIES].find({**tried, "subject": "consumer:ada"})
        assert world.endpoints.retry(made.endpoint, Wanted()) == 0, "it was not given up"
        assert world.endpoints.retry(made.endpoint, Wanted(failed["_id"])) == 1
        wait_for("the subject", arrived(there, [first, behind]))
        assert there.ids.count(first) == 2
        assert there.ids.count(other) == there.ids.count(last) == 1
        # As a process leaves it that ends before its sender is told.
        [crashed] = world.database[DELIVERIES].find({**tried, "subject": "consumer:eve"})
        due = {"$set": {"due": datetime.fromtimestamp(0, UTC)}}
        world.database[DELIVERIES].update_one({"_id": crashed["_id"]}, due)
        assert world.endpoints.retry(made.endpoint, Wanted(crashed["_id"])) == 0
        wait_for("what was not told", lambda: there.ids.count(last) == 2)
        assert world.endpoints.retry(made.endpoint, Wanted(waiting=True)) == 1
        wait_for("an empty queue", lambda: world.queued() == 0)
    assert there.ids.count(other) == 2
    assert world.endpoints.retry(made.endpoint, Wanted(failed["_id"], waiting=True)) == 0


def test_gone_disables_and_enabling_sends_what_was_missed(world: World, there: Receiver) -> None:
    made = world.create(there.url)
    other = world.create(there.url + "/notices", types=["webhook.disabled"])
    there.rule = lambda found: 410 if found.path == "/hook" else 200
    [first] = world.publish("ada")
    world.fold()
    with world.sending():
        wait_for("the end", lambda: world.state(made)["state"] == "disabled")
        assert "410" in world.state(made)["reason"]
        wait_for("the notice", lambda: any(each.path == "/hook/notices" for each in there.received))
        wait_for("its end", lambda: world.queued() == 1)
        missed = world.publish("ada", "bob", "ada")
        world.fold()
        assert world.queued() == 1, "a cursor, no queue"
        there.rule = lambda _: 200
        there.received.clear()
        assert world.endpoints.enable(world.state(made)) is not None
        later = world.publish("ada")
        world.fold()
        wait_for("what was missed", arrived(there, [first, *missed, *later]))
        wait_for("an empty queue", lambda: world.queued() == 0)
    assert there.ids.count(missed[0]) == 1
    of_ada = [each for each in there.ids if each in (first, missed[0], missed[2], *later)]
    assert of_ada == [first, missed[0], missed[2], *later]
    assert world.state(other)["state"] == "enabled"


def test_a_replay_comes_before_what_is_new(world: World, there: Receiver) -> None:
    made = world.create(there.url)
    ids = world.publish("ada", "bob", "ada")
    world.fold()
    with world.sending():
        wait_for("deliveries", arrived(there, ids))
        wait_for("an empty queue", lambda: world.queued() == 0)
    there.received.clear()
    name, count = world.endpoints.replay(made.endpoint, Since())
    later = world.publish("ada")
    world.fold()
    assert count == 3
    with world.sending():
        wait_for("all again", arrived(there, [*ids, *later]))
        wait_for("an empty queue", lambda: world.queued() == 0)
    assert sorted(there.ids) == sorted([*ids, *later])
    assert [each for each in there.ids if each in (ids[0], ids[2], *later)] == [ids[0], ids[2], *later]
    marked = {each.headers["webhook-id"] for each in there.received if each.headers.get("kith-replay") == name}
    assert marked == set(ids)


def test_a_replay_after_a_place_sends_what_follows_it_and_leaves_what_is_queued(
    world: World, there: Receiver
) -> None:
    made = world.create(there.url)
    ids = world.publish("ada", "bob", "ada", "bob")
    world.fold()
    with world.sending():
        wait_for("deliveries", arrived(there, ids))
        wait_for("an empty queue", lambda: world.queued() == 0)
    third = there.received[there.ids.index(ids[2])].headers
    there.received.clear()
    later = world.publish("ada")
    world.fold()
    place = {third["kith-origin"]: int(third["kith-number"])}
    name, _ = world.endpoints.replay(made.endpoint, Since(after=place))
    world.endpoints.replay(made.endpoint, Since(after={"relations@1/kith.relations/9": 1}))
    with world.sending():
        wait_for("what follows", arrived(there, [ids[3], *later]))
        wait_for("an empty queue", lambda: world.queued() == 0)
    assert sorted(there.ids) == sorted([ids[3], *later]), "once"
    assert {each.headers.get("kith-replay") for each in there.received} == {name}


def missed(world: World, there: Receiver, *consumers: str) -> tuple[Made, list[str]]:
    """An endpoint that was sent one change, and disabled during as many more as there are ``consumers``."""
    made = world.create(there.url)
    ids = world.publish("ada")
    world.fold()
    with world.sending():
        wait_for("a delivery", arrived(there, ids))
        wait_for("an empty queue", lambda: world.queued() == 0)
    assert world.endpoints.disable(world.state(made)) is not None
    ids += world.publish(*consumers)
    world.fold()
    assert world.endpoints.enable(world.state(made)) is not None
    return made, ids


def test_a_replay_sends_what_was_missed_and_has_been_sent_since_again(world: World, there: Receiver) -> None:
    """Also while nothing has changed since, so that fan-out has not gone on behind the gap."""
    made, ids = missed(world, there, "ada", "bob", "ada", "bob")
    with world.sending():
        wait_for("what was missed", arrived(there, ids))
        wait_for("an empty queue", lambda: world.queued() == 0)
    there.received.clear()
    assert world.endpoints.replay(world.state(made), Since())[1] == len(ids)
    with world.sending():
        wait_for("all again", arrived(there, ids))
        wait_for("an empty queue", lambda: world.queued() == 0)
    assert sorted(there.ids) == sorted(ids)


def test_a_replay_ends_where_the_rest_of_a_gap_begins(
    world: World, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, ids = missed(world, there, "ada", "bob", "ada", "bob")
    monkeypatch.setattr("services.webhooks.fanout.feed.PIECE", 2)
    reader = LogReader(world.settings)
    try:
        feed = Feed(world.database, lambda: reader, world.topics)
        [part] = feed.parts(made.endpoint["_id"])
        feed.enqueue(world.state(made), part)
    finally:
        reader.close()
    there.received.clear()
    assert world.endpoints.replay(world.state(made), Since())[1] == 3
    with world.sending():
        wait_for("everything", arrived(there, ids))
        wait_for("an empty queue", lambda: world.queued() == 0)
    assert sorted(there.ids) == sorted(ids), "what was queued of the gap is part of the replay"


def test_an_endpoint_may_begin_in_the_past(world: World, there: Receiver) -> None:
    ids = world.publish("ada", "bob")
    world.fold()
    made = world.create(there.url)
    world.endpoints.replay(made.endpoint, Since())
    later = world.publish("ada")
    with world.sending():
        wait_for("the past", arrived(there, ids))
        world.fold()
        wait_for("the present", arrived(there, later))
        wait_for("an empty queue", lambda: world.queued() == 0)
    assert sorted(there.ids) == sorted([*ids, *later])


def test_bodies_are_made_when_they_are_sent(world: World, there: Receiver) -> None:
    world.database["consumers"].insert_many(
        [
            {"_id": "default:ada", "consent": {"news": True}},
            {"_id": "default:bob", "consent": {"news": False}},
            {"_id": "default:eve", "consent": {"news": True}},
        ]
    )
    world.create(there.url, purpose="news")
    ids = world.publish("ada", "bob", "eve", "unknown")
    world.fold()
    world.erased.add("eve")
    with world.sending():
        wait_for("an empty queue", lambda: world.queued() == 0)
    assert sorted(there.ids) == sorted([ids[0], ids[2]])
    [erased] = [orjson.loads(each.body)["data"] for each in there.received if b"eve" in each.body]
    assert erased == {"relation_id": "r3", "consumer_id": "eve", "erased": True}
    assert sorted(entry["outcome"] for entry in world.log()) == ["delivered", "delivered", "dropped", "dropped"]


@pytest.mark.usefixtures("quick")
def test_a_huge_answer_and_a_slow_one_are_cut(world: World, there: Receiver, monkeypatch: Any) -> None:
    monkeypatch.setattr("services.webhooks.delivery.http_client.TIMEOUT_SECONDS", 1.0)

    async def slow(_: Received) -> web.Response:
        await asyncio.sleep(3)
        return web.Response()

    world.create(there.url)
    there.rule = lambda found: slow(found) if b'"ada"' in found.body else web.Response(body=b"x" * 5_000_000)
    world.publish("ada", "bob")
    world.fold()
    with world.sending():
        # On a machine that stalls the other one comes too late as well, and once more.
        wait_for("both", lambda: {("ada", "failed"), ("bob", "delivered")} <= outcomes(world))
    late = [entry for entry in world.log() if entry["subject"] == "consumer:ada"]
    assert all(entry["error"].startswith("no answer within") for entry in late)
    [cut] = [entry for entry in world.log() if entry["outcome"] == "delivered"]
    assert cut["answer"] == "x" * 1024


def outcomes(world: World) -> set[tuple[str, str]]:
    return {(entry["subject"].removeprefix("consumer:"), entry["outcome"]) for entry in world.log()}


def test_a_dead_endpoint_gets_one_attempt_at_a_time_and_costs_others_nothing(
    world: World, there: Receiver, monkeypatch: Any
) -> None:
    # Longer than the test takes, on whatever machine.
    monkeypatch.setattr(retry_policy, "_FIRST_PAUSE", 300.0)
    dead = world.create("http://127.0.0.1:1/hook")
    world.create(there.url)
    ids = world.publish(*[f"c{n}" for n in range(60)])
    world.fold()
    with world.sending():
        wait_for("the living", arrived(there, ids))
        wait_for("failures", lambda: "failing_since" in world.state(dead))
        time.sleep(1.5)
        attempts = [entry for entry in world.log() if entry["endpoint"] == dead.endpoint["_id"]]
    # The first ones were under way together; then the endpoint paused.
    assert len(attempts) <= 17
    assert all("Connect" in entry["error"] for entry in attempts)


def test_two_processes_share_endpoints_and_one_takes_over(world: World, there: Receiver) -> None:
    for number in range(4):
        world.create(f"{there.url}/{number}")
    with world.sending("one") as first, world.sending("two") as second:
        wait_for("equal shares", lambda: [len(first._running), len(second._running)] == [2, 2])
        ids = world.publish(*[f"c{n}" for n in range(10)])
        world.fold()
        wait_for("all four", lambda: len(there.received) >= 40)
        second.stop()
        wait_for("the other takes over", lambda: len(first._running) == 4)
        world.publish("last")
        world.fold()
        wait_for("all four again", lambda: len(there.received) >= 44)
    assert all(there.ids.count(id) == 4 for id in ids)


def test_a_full_queue_becomes_a_cursor(world: World, there: Receiver, monkeypatch: Any) -> None:
    for name in ("MOST_QUEUED", "_LEAST_QUEUED"):
        monkeypatch.setattr(f"services.webhooks.fanout.queue_filler.{name}", 20)
    made = world.create(there.url)
    there.rule = lambda _: 500
    ids = world.publish(*[f"c{n}" for n in range(30)])
    world.fold()
    with world.sending():
        wait_for("full", lambda: world.state(made).get("full") is True)
        more = world.publish(*[f"d{n}" for n in range(40)])
        world.fold()
        assert world.queued() <= 30
        assert world.endpoints.answer(world.state(made))["behind"] == 40
        there.rule = lambda _: 200
        monkeypatch.setattr(retry_policy, "_LONGEST_PAUSE", 0.1)
        world.endpoints.enable(world.state(made))
        wait_for("everything", arrived(there, [*ids, *more]))
        wait_for("an empty queue", lambda: world.queued() == 0)
    assert all(there.ids.count(id) == 1 for id in more)


def test_a_feed_that_has_no_time_for_a_filter_goes_on_where_it_has_ended(
    world: World, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.webhooks.fanout.feed.FILTER_WORK", 1)
    made = world.create(there.url, filter="data.after.kind == 'purchase'")
    world.endpoints.disable(made.endpoint)
    ids, _ = world.publish(*[f"c{n}" for n in range(6)], kind="purchase"), world.publish("other")
    ids += world.publish("last", kind="purchase")
    world.fold()
    world.endpoints.enable(world.state(made))
    with world.sending():
        wait_for("all", arrived(there, ids))
        wait_for("an empty queue", lambda: world.queued() == 0)
    assert sorted(there.ids) == sorted(ids)


def test_what_is_left_of_a_deleted_endpoint_goes(world: World, there: Receiver) -> None:
    made = world.create(there.url)
    world.publish("ada")
    world.fold()
    world.endpoints.delete(made.endpoint)
    Queue(world.database).purge(datetime.now(UTC))
    assert world.queued() == 0
    assert world.database[LANES].count_documents({}, maxTimeMS=5000) == 0


def test_of_each_endpoint_the_latest_attempts_are_kept(
    world: World, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.webhooks.delivery.queue.MOST_KEPT", 2)
    made, other = world.create(there.url), world.create(there.url)
    tried = datetime.now(UTC).replace(microsecond=0)
    given_up = {"tenant": "default", "state": "failed", "lane": "l", "subject": "s", "change": {}, "attempts": 10}
    for endpoint, count in ((made, 5), (other, 2)):
        id = endpoint.endpoint["_id"]
        for number in range(count):
            failed = {
                **given_up,
                "_id": f"{id}/{number}",
                "endpoint": id,
                "at": 1,
                "due": tried,
                "failed": tried,
            }
            world.database[DELIVERIES].insert_one(failed)
            entry = entry_of(
                {**failed, "change": {"id": "c", "type": "t"}},
                Answer(1, 500),
                "given_up",
                tried + timedelta(seconds=number),
            )
            world.database[LOG].insert_one(entry)
    Queue(world.database).purge(tried)
    for name in (DELIVERIES, LOG):
        kept = {each["_id"].split("@")[0] for each in world.database[name].find({}, max_time_ms=5000)}
        made_id, other_id = made.endpoint["_id"], other.endpoint["_id"]
        assert kept == {f"{made_id}/3", f"{made_id}/4", f"{other_id}/0", f"{other_id}/1"}


def test_what_an_endpoint_has_that_is_created_during_a_purge_stays(
    world: World, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Made] = []
    read = Collection.distinct

    def then_created(collection: Collection[Document], key: str, *more: Any, **options: Any) -> list[Any]:
        found = read(collection, key, *more, **options)
        if collection.name == ENDPOINTS and not made:
            made.append(world.create(there.url))
            world.publish("ada")
            world.fold()
        return found

    monkeypatch.setattr(Collection, "distinct", then_created)
    Queue(world.database).purge(datetime.now(UTC))
    assert made
    assert world.queued() == 1
    assert world.database[LANES].count_documents({}, maxTimeMS=5000) == 1


def failing(world: World, made: Made, last: timedelta) -> None:
    """An endpoint that has failed since more than five days, the last time so long ago."""
    now = datetime.now(UTC)
    since = {"failing_since": now - timedelta(days=5, minutes=1), "failed": [now - last]}
    world.database[ENDPOINTS].update_one({"_id": made.endpoint["_id"]}, {"$set": since})
    world.publish("ada")
    world.fold()


def test_five_days_without_a_success_disable(world: World) -> None:
    """The log, which is trimmed, has nothing of the failure that was before."""
    made = world.create("http://127.0.0.1:1/hook")
    failing(world, made, timedelta(days=3))
    with world.sending():
        wait_for("the end", lambda: world.state(made)["state"] == "disabled")
    assert "five days" in world.state(made)["reason"]
    assert len(world.state(made)["failed"]) == 2
    enabled = world.endpoints.enable(world.state(made))
    assert enabled is not None
    assert not enabled.keys() & {"failed", "failing_since", "failures", "reason"}


@pytest.mark.usefixtures("quick")
def test_days_without_anything_to_send_do_not_disable(world: World) -> None:
    made = world.create("http://127.0.0.1:1/hook")
    failing(world, made, timedelta(days=5, minutes=1))
    with world.sending():
        wait_for("failures", lambda: sum(entry["outcome"] == "failed" for entry in world.log()) >= 4)
    assert world.state(made)["state"] == "enabled"
