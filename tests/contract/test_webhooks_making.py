"""What is made of webhooks, and how much of it: whole or not at all, and never more than there may be."""

import asyncio
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from pymongo.database import Database

from services.webhooks.api import create_app
from services.webhooks.deliveries import DELIVERIES, ENDPOINTS, RANGES
from services.webhooks.delivery.queue import Queue
from services.webhooks.fanout.feed import Feed
from services.webhooks.fanout.queue_filler import QueueFiller
from services.webhooks.management import endpoints as module
from services.webhooks.management.endpoints import Endpoints, Since, TooMany
from services.webhooks.management.replays import MOST_REPLAYS, Unfinished
from services.webhooks.messages.rendering import Renderer
from services.webhooks.metrics import SenderMetrics
from services.webhooks.schema import BESIDE, COLLECTIONS
from shared.contracts.errors import Unavailable
from shared.mongo.store import prepare
from shared.observability.metrics import new_registry
from shared.runtime.protocols import Document, Partition
from shared.vault.keys import TENANT, Vault
from tests.support.builders import OPEN, TOPICS
from tests.support.vault import memory_vault

NOW = datetime(2026, 11, 29, tzinfo=UTC)
LIST = "/v1/webhooks/endpoints"
NEW = {"url": "https://app.example/", "types": ["relation.changed"]}
TOPIC = TOPICS.name("relation-changes")
BEYOND = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")


@dataclass
class Log:
    """Of two partitions, which may be away."""

    away: bool = False
    opened: int = 0

    def offsets(self, topics: Iterable[str], since: datetime | None) -> Mapping[Partition, int]:  # noqa: ARG002
        self.opened += 1
        if self.away:
            raise Unavailable("Kafka is away")
        return {Partition(topic, number): 0 for topic in topics for number in range(2)}

    def close(self) -> None: ...


class World:
    def __init__(self, database: Database[Document], vault: Vault | None = None) -> None:
        prepare(database, {**COLLECTIONS, **BESIDE})
        self.database, self.log, self.now = database, Log(), NOW
        self.renderer = renderer = Renderer(database, str, lambda _tenant, _consumer: None, vault)
        open_log: Any = lambda: self.log  # noqa: E731
        self.endpoints = Endpoints(database, renderer, vault, TOPICS, open_log, lambda: self.now)
        self.app = create_app(self.endpoints, list, [], access=OPEN)

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        async def answer() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://kith") as client:
                return await client.request(method, path, json=body)

        return asyncio.run(answer())

    def made(self, **more: Any) -> str:
        answer = self.ask("POST", LIST, {**NEW, **more})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["endpoint"])

    def count(self, collection: str) -> int:
        return self.database[collection].count_documents({}, maxTimeMS=5000)


@pytest.fixture
def world(mongo_database: Database[Document]) -> World:
    return World(mongo_database)


@pytest.mark.parametrize("since", BEYOND)
def test_a_time_beyond_all_times_makes_nothing(world: World, since: str) -> None:
    refused = world.ask("POST", LIST, {**NEW, "since": since})
    assert (refused.status_code, "since" in refused.json()["detail"]) == (422, True)
    assert world.count(ENDPOINTS) == 0
    name = world.made()
    assert world.ask("POST", f"{LIST}/{name}/replay", {"since": since}).status_code == 422
    assert world.count(RANGES) == 0


def test_an_endpoint_that_begins_in_the_past_is_made_whole_or_not_at_all(world: World) -> None:
    world.log.away = True
    assert world.ask("POST", LIST, {**NEW, "since": "beginning"}).status_code == 503
    assert world.count(ENDPOINTS) == 0
    world.log.away = False
    world.made(since="2026-11-01T00:00:00Z")
    assert (world.count(ENDPOINTS), world.count(RANGES)) == (1, 2)


def test_replays_that_are_not_finished_are_few(world: World) -> None:
    path = f"{LIST}/{world.made()}/replay"
    for _ in range(MOST_REPLAYS):
        assert world.ask("POST", path, {"since": "beginning"}).status_code == 202
    ranges, opened = world.count(RANGES), world.log.opened
    refused = world.ask("POST", path, {"since": "beginning"})
    assert (refused.status_code, "not finished" in refused.json()["detail"]) == (409, True)
    assert (world.count(RANGES), world.log.opened) == (ranges, opened)
    first = world.database[RANGES].find_one({}, max_time_ms=5000)
    assert first is not None
    name = first["_id"].rpartition("~")[2]
    world.database[RANGES].delete_many({"_id": {"$regex": f"{name}$"}})
    assert world.ask("POST", path, {"since": "beginning"}).status_code == 202


def test_tests_wait_in_small_numbers_and_not_for_a_disabled_endpoint(world: World) -> None:
    name = world.made()
    for _ in range(module.MOST_TESTS):
        assert world.ask("POST", f"{LIST}/{name}/test").status_code == 202
    refused = world.ask("POST", f"{LIST}/{name}/test")
    assert (refused.status_code, "not sent yet" in refused.json()["detail"]) == (409, True)
    world.database[DELIVERIES].delete_many({})
    assert world.ask("POST", f"{LIST}/{name}/disable").status_code == 200
    refused = world.ask("POST", f"{LIST}/{name}/test")
    assert (refused.status_code, "disabled" in refused.json()["detail"]) == (409, True)
    assert world.count(DELIVERIES) == 0


@pytest.mark.parametrize("of_credential", [True, False])
def test_no_race_makes_more_endpoints_than_there_may_be(
    world: World, monkeypatch: pytest.MonkeyPatch, of_credential: bool
) -> None:
    monkeypatch.setattr(module, "MOST_ENDPOINTS", 100 if of_credential else 3)
    together, refused = Barrier(6), []

    def create(number: int) -> None:
        together.wait()
        try:
            by = "one" if of_credential else f"key{number}"
            world.endpoints.create("acme", NEW, "hmac", [], by, 3 if of_credential else None)
        except TooMany as error:
            refused.append(str(error))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(create, range(6)))
    assert (world.count(ENDPOINTS), len(refused)) == (3, 3)


def test_no_race_begins_more_replays_than_there_may_be(world: World) -> None:
    made = world.endpoints.create("acme", NEW, "hmac", [], "one").endpoint
    together = Barrier(6)

    def replay(_: int) -> bool:
        together.wait()
        try:
            world.endpoints.replay(made, Since())
        except Unfinished:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(replay, range(6))) == MOST_REPLAYS
    assert world.count(RANGES) == 2 * MOST_REPLAYS


def test_no_race_makes_more_tests_wait_than_there_may_be(world: World) -> None:
    made = world.endpoints.create("acme", NEW, "hmac", [], "one").endpoint
    together = Barrier(module.MOST_TESTS + 4)

    def test(_: int) -> bool:
        together.wait()
        try:
            world.endpoints.test(made)
        except TooMany:
            return False
        return True

    with ThreadPoolExecutor(module.MOST_TESTS + 4) as pool:
        assert sum(pool.map(test, range(module.MOST_TESTS + 4))) == module.MOST_TESTS
    assert world.count(DELIVERIES) == module.MOST_TESTS


def test_each_former_secret_is_valid_until_its_own_end(world: World) -> None:
    def valid(name: str) -> list[str]:
        stored = world.endpoints.find("default", name)
        assert stored is not None
        return world.endpoints._renderer.secrets(stored, world.now)

    first = world.ask("POST", LIST, NEW).json()
    path, secrets = f"{LIST}/{first['endpoint']}/secret", [first["secret"]]
    for _ in range(2):
        secrets.append(world.ask("POST", path, {"overlap_hours": 24}).json()["secret"])
        world.now += timedelta(hours=1)
    assert valid(first["endpoint"]) == secrets[::-1]
    world.now += timedelta(hours=22, minutes=30)
    assert valid(first["endpoint"]) == secrets[:0:-1], "the first has ended a day after it was replaced"
    while (answer := world.ask("POST", path, {"overlap_hours": 24})).status_code == 200:
        secrets.append(answer.json()["secret"])
    assert (answer.status_code, "overlap of 0 hours" in answer.json()["detail"]) == (409, True)
    assert len(valid(first["endpoint"])) == module.MOST_SECRETS
    # Somebody has stolen them.
    last = world.ask("POST", path, {"overlap_hours": 0}).json()["secret"]
    assert valid(first["endpoint"]) == [last]


SECRET = "Bearer s3cret"  # of a receiver


@pytest.mark.parametrize("sealed", [True, False])
def test_the_headers_of_an_endpoint_are_sealed_where_secrets_are(
    mongo_database: Database[Document], sealed: bool
) -> None:
    world = World(mongo_database, memory_vault() if sealed else None)

    def stored(name: str) -> Document:
        found = world.endpoints.find("default", name)
        assert found is not None
        return found

    def sent(name: str) -> Mapping[str, str]:
        return world.renderer.opened_all(stored(name), NOW).headers

    name = world.made(headers={"Authorization": SECRET, "x-plan": "b"})
    assert ("s3cret" in str(stored(name))) is not sealed
    assert sent(name) == {"authorization": SECRET, "x-plan": "b"}
    shown = world.ask("GET", f"{LIST}/{name}").json()
    assert (shown["headers"], "s3cret" in str(shown)) == (["authorization", "x-plan"], False)
    for headers in ({"authorization": "other"}, None):
        changed = world.ask("PATCH", f"{LIST}/{name}", {"headers": headers})
        assert changed.json().get("headers") == (None if headers is None else ["authorization"])
        assert sent(name) == (headers or {})
    assert not {"headers", "sealed_headers"} & stored(name).keys()


def test_headers_of_the_version_before_are_sent_as_they_are_and_sealed_later(
    mongo_database: Database[Document],
) -> None:
    vault = memory_vault()
    world = World(mongo_database, vault)
    name = world.made(headers={"authorization": "new"})
    # It knows nothing of those that are sealed.
    id = {"_id": f"default:{name}"}
    world.database[ENDPOINTS].update_one(id, {"$set": {"headers": {"authorization": SECRET}}})
    for _ in range(2):
        found = world.endpoints.find("default", name)
        assert found is not None
        assert world.renderer.opened_all(found, NOW).headers == {"authorization": SECRET}
        Queue(world.database, vault).seal_headers()
    assert "s3cret" not in str(found)


def test_headers_that_cannot_be_sealed_hold_up_no_others(
    mongo_database: Database[Document], caplog: pytest.LogCaptureFixture
) -> None:
    vault = memory_vault()
    world = World(mongo_database, vault)
    made = [world.endpoints.create(tenant, NEW, "hmac", [], "k").endpoint for tenant in ("acme", "zoo")]
    world.database[ENDPOINTS].update_many({}, {"$set": {"headers": {"authorization": SECRET}}})
    vault.destroy("acme", TENANT)
    queue = Queue(world.database, vault)
    for _ in range(2):
        queue.seal_headers()
    plain = [each["_id"] for each in queue.endpoints() if "headers" in each]
    assert plain == [made[0]["_id"]]
    [said] = [each.getMessage() for each in caplog.records if "plain text" in each.getMessage()]
    assert made[0]["_id"] in said
    assert "s3cret" not in caplog.text


def test_why_an_endpoint_is_disabled_reads_after_that_it_is(world: World) -> None:
    path = f"{LIST}/{world.made()}"
    assert world.ask("POST", f"{path}/disable").status_code == 200
    shown = world.ask("GET", path).json()
    assert f"{shown['state']}: {shown['reason']}" == "disabled: by request"


def test_a_tenant_with_much_to_read_holds_up_no_other_one(world: World) -> None:
    fed: list[str] = []
    made = [world.endpoints.create(t, NEW, "hmac", [], "k").endpoint for t in ("acme", "acme", "acme", "zoo")]
    feed = Mock(spec=Feed)
    feed.finished_ranges.side_effect = fed.append
    feed.parts.return_value = []
    feed.replayed.return_value = {each["_id"] for each in made}
    feed.unfed.return_value = set()
    queue, metrics = Queue(world.database), SenderMetrics(new_registry())
    feeding = QueueFiller(queue, lambda _: feed, Mock(), metrics, seconds=0.0, rounds_seconds=0.0)
    for _ in range(3):
        feeding.fill(made)
    assert fed.count(made[3]["_id"]) == 3, "each time"
    assert sorted(fed) == sorted(each["_id"] for each in made for _ in range(3 if each is made[3] else 1))
