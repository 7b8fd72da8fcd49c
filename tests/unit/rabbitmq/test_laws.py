"""Whatever breaks: every good event is in Kafka, in order, every bad one is a dead letter, and no message is left.
And the way out: what receivers have counted is what was published (tests/contract/test_sinks.py has more)."""

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.door import Door
from services.rabbitmq import inflow
from services.rabbitmq.inflow import Inflow, Kith
from services.rabbitmq.judging import Bad
from services.rabbitmq.metrics import BridgeMetrics
from services.rabbitmq.projection import outgoing, routing_key
from services.rabbitmq.protocols import Properties
from services.rabbitmq.topology import ASIDE, topology
from shared.access.audit import Act
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.contracts.events import EVENT_TYPES
from shared.contracts.topics import INPUTS, Topics
from shared.observability.metrics import new_registry
from shared.runtime.partition_state import InlineExecutor
from shared.runtime.protocols import Message, Partition, Record
from shared.testing.memory import MemoryLog, MemoryPublisher
from tests.support.rabbitmq import MemoryLink, MemoryRabbit

NOW = datetime(2026, 6, 1, tzinfo=UTC)
QUEUE = "orders"
STRUCTURED = Properties("application/cloudevents+json")


def event(number: int, type: str = "relation.recorded") -> bytes:
    data = {"consumer_id": f"c{number % 3}"}
    if type == "consumer.erased":
        data |= {"mode": "delete"}
    if type == "relation.recorded":
        data |= {"relation_id": f"r{number}", "provider_id": "p", "kind": "view"}
    fields = {"specversion": "1.0", "id": f"e{number}", "source": "s", "type": type, "data": data}
    return json.dumps({**fields, "time": "2026-05-01T00:00:00Z"}).encode()


class Letters:
    """Dead letters by what was sent. Fails as ``plan`` says."""

    def __init__(self, plan: list[bool]) -> None:
        self.found: set[bytes] = set()
        self._plan = plan

    def write(self, queue: str, tenant: str, bad: Sequence[Bad], arrived_ms: int) -> None:
        assert (queue, tenant) == (QUEUE, "acme")
        assert arrived_ms > 0
        if self._plan and self._plan.pop():
            raise Unavailable("MongoDB is away")
        self.found |= {each.body for each in bad}


class Broken(MemoryPublisher):
    """Publishes a part and fails, as ``plan`` says; -1: all, and the answer is lost."""

    def __init__(self, log: MemoryLog, plan: list[int]) -> None:
        super().__init__(log)
        self._plan = plan

    def send(self, messages: Sequence[Message]) -> "Future[None]":
        part = self._plan.pop() if self._plan else None
        sent = super().send(messages if part in (None, -1) else messages[:part])
        if part is not None:
            sent = Future()
            sent.set_exception(Unavailable("Kafka is away"))
        return sent


class World:
    """One queue, and bridges one after the other."""

    def __init__(self, kafka: list[int] | None = None, letters: list[bool] | None = None) -> None:
        self.rabbit = MemoryRabbit()
        topics = Topics()
        self.log = MemoryLog({topics.name(short): 1 for short in INPUTS})
        self.letters = Letters(letters or [])
        self.acts: list[Act] = []
        self.problems: list[str] = []
        self.connected = 0

        async def record(acts: Sequence[Act]) -> None:
            self.acts.extend(acts)

        self.kith = Kith(
            Door(topics, 86_400),
            Broken(self.log, kafka or []),
            self.letters,  # type: ignore[arg-type]
            None,
            record,
            lambda: self.problems,
            lambda: NOW,
            InlineExecutor(),
            InlineExecutor(),
        )
        self.inflow = Inflow(QUEUE, "acme", self.connect, self.kith, BridgeMetrics(new_registry()), 8)

    async def connect(self) -> MemoryLink:
        link = await self.rabbit.connect()
        await link.declare(topology([QUEUE], None))
        self.connected += 1
        return link

    def send(self, *bodies: bytes) -> None:
        for body in bodies:
            self.rabbit.send("", QUEUE, body, STRUCTURED)

    @property
    def left(self) -> int:
        unacknowledged = sum(
            len(each._unacknowledged) for link in self.rabbit.links for each in link._consumptions
        )
        return len(self.rabbit.queues[QUEUE].messages) + unacknowledged

    async def until_empty(self) -> None:
        async with asyncio.timeout(5):
            while self.left:
                await asyncio.sleep(0)

    def published(self) -> list[str]:
        """The ids in Kafka, of each the first."""
        records = [record for log in self.log.records.values() for record in log]
        return list(dict.fromkeys(json.loads(record.value or b"")["id"] for record in records))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflow, "_delay", lambda _: 0.0)
    monkeypatch.setattr(inflow, "_BATCH", 4)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["good", "good", "good", "bad", "no json"]), min_size=1, max_size=25),
    st.lists(st.integers(-1, 4), max_size=6),
    st.lists(st.booleans(), max_size=4),
    st.lists(st.integers(0, 30), max_size=5),
)
def test_nothing_is_lost_and_the_order_stays_whatever_breaks(
    kinds: list[str], kafka: list[int], letters: list[bool], breaks: list[int]
) -> None:
    bodies: dict[str, Callable[[int], bytes]] = {
        "good": event,
        "bad": lambda n: event(n, "nothing"),
        "no json": lambda n: b"{%d" % n,
    }
    sent = [bodies[kind](number) for number, kind in enumerate(kinds)]

    async def work() -> World:
        world = World(kafka, letters)
        await (await world.connect()).close()
        world.send(*sent)
        running = asyncio.create_task(world.inflow.run())
        for steps in breaks:
            for _ in range(steps):
                await asyncio.sleep(0)
            world.rabbit.end_connections()
        await world.until_empty()
        running.cancel()
        return world

    world = asyncio.run(work())
    good = [number for number, kind in enumerate(kinds) if kind == "good"]
    assert world.published() == [f"e{number}" for number in good]
    assert world.letters.found == {body for body, kind in zip(sent, kinds, strict=True) if kind != "good"}
    assert not world.rabbit.queues[ASIDE].messages


def test_while_kafka_is_away_nothing_is_consumed_beyond_the_prefetch_or_given_back() -> None:
    async def work() -> None:
        world = World([0] * 50)
        await (await world.connect()).close()
        world.send(*(event(n) for n in range(30)))
        running = asyncio.create_task(world.inflow.run())
        while world.inflow.problem != "Kafka is away":
            await asyncio.sleep(0)
        for _ in range(40):
            await asyncio.sleep(0)
            assert len(world.rabbit.queues[QUEUE].messages) >= 30 - 8
        assert world.connected == 2, "the connection stays"
        await world.until_empty()
        assert world.inflow.problem is None
        assert world.published() == [f"e{n}" for n in range(30)]
        running.cancel()

    asyncio.run(work())


def test_before_kafka_answers_no_connection_is_made() -> None:
    async def work() -> None:
        world = World()
        await (await world.connect()).close()
        world.send(event(1))
        world.problems = ["the Kafka brokers cannot be reached"]
        running = asyncio.create_task(world.inflow.run())
        while world.inflow.problem != "the Kafka brokers cannot be reached":
            await asyncio.sleep(0)
        assert world.connected == 1
        world.problems = []
        await world.until_empty()
        running.cancel()

    asyncio.run(work())


def test_rabbitmq_may_be_away_at_the_start_and_a_wrong_queue_stops() -> None:
    async def work() -> None:
        world = World()
        world.rabbit.available = False
        running = asyncio.create_task(world.inflow.run())
        while world.inflow.problem != "RabbitMQ: nobody answers":
            await asyncio.sleep(0)
        world.rabbit.bind(QUEUE, "kith", "#")
        world.rabbit.available = True
        with pytest.raises(ConfigurationError, match="other arguments"):
            await running

    asyncio.run(work())


def test_an_erasure_is_audited_before_it_is_published() -> None:
    async def work() -> None:
        world = World([0])
        await (await world.connect()).close()
        world.send(event(1, "consumer.erased"))
        running = asyncio.create_task(world.inflow.run())
        await world.until_empty()
        running.cancel()
        [act] = world.acts
        assert (act.tenant, act.action, act.key) == ("acme", "consumer.erase", "rabbitmq:orders")
        assert act.subject == {"consumer_id": "c1"}
        assert world.published() == ["e1"]

    assert "consumer.erased" in EVENT_TYPES
    asyncio.run(work())


def test_an_error_that_no_retry_can_mend_stops_and_acknowledges_nothing() -> None:
    class Fatal(Exception):
        pass

    async def work() -> None:
        world = World()
        await (await world.connect()).close()
        world.send(event(1))

        async def fail(_: Sequence[Act]) -> None:
            raise Fatal

        world.inflow._kith = world.kith._replace(record=fail)
        with pytest.raises(Fatal):
            await world.inflow.run()
        assert world.left == 1

    asyncio.run(work())


@pytest.mark.parametrize(
    ("type", "data", "key"),
    [
        ("relation.changed", {"before": None, "after": {"kind": "purchase"}}, "acme.relation.changed.purchase"),
        ("relation.changed", {"before": {"kind": "view"}, "after": None}, "acme.relation.changed.view"),
        ("relation.changed", {"before": {"kind": "view"}, "after": {"kind": "buy"}}, "acme.relation.changed.buy"),
        ("consumer.changed", {"consumer_id": "c"}, "acme.consumer.changed.profile"),
        ("consumer.changed", {"consumer_id": "c", "erased": True}, "acme.consumer.changed.erased"),
        ("provider.changed", {"provider_id": "p", "closed": True}, "acme.provider.changed.closed"),
    ],
)
def test_the_routing_key_names_tenant_type_and_kind(type: str, data: dict[str, object], key: str) -> None:
    assert routing_key({"tenant": "acme", "type": type, "data": data}) == key


def test_a_change_goes_out_with_its_own_bytes_and_number() -> None:
    change = {"id": "kith.relations/0/3", "type": "relation.changed", "tenant": "acme", "data": {"after": None}}
    headers = (("kith-origin", b"relations@1/kith.relations/0"), ("kith-number", b"7"), ("traceparent", b"00-1"))
    for time, stamp in (("2026-05-01T10:00:00.5Z", True), ("1969-12-31T23:59:59Z", False)):
        raw = json.dumps({**change, "time": time}).encode()
        sent = outgoing(Record(Partition("kith.relation-changes", 0), 3, 0, b"k", raw, headers), json.loads(raw))
        assert sent.body == raw
        assert sent.properties.message_id == "kith.relations/0/3"
        assert sent.properties.headers == {"kith-origin": "relations@1/kith.relations/0", "kith-number": 7}
        assert (sent.properties.timestamp is not None) is stamp
