"""The laws of enqueueing: each change once, in order, whatever is enabled and disabled when, and repeated."""

from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.webhooks.deliveries import DELIVERIES, ENDPOINTS, FEEDS, LANES, delivery
from services.webhooks.fanout.expressions import MOST_WORK, evaluate
from services.webhooks.fanout.observer import FanOutObserver
from services.webhooks.fanout.subscription import matches
from services.webhooks.messages.body import body_of
from services.webhooks.projection import FILTER_WORK, MOST_ENDPOINTS, WebhooksProjection
from services.webhooks.schema import COLLECTIONS
from shared.access.apps.schema import APPS
from shared.access.apps.schema import COLLECTIONS as APPLICATIONS
from shared.contracts.changes import read_change
from shared.contracts.topics import Topics
from shared.runtime.protocols import Document, Message, Outcome, Partition, Write
from shared.runtime.runner import Runner
from shared.runtime.sequence_numbers import SequenceFilter, assign_numbers
from shared.testing.memory import MemoryLog, MemoryPublisher, MemoryReader, MemoryStore

TOPIC, LETTERS = "kith.relation-changes", "kith.dead-letters"
OTHERS = ("kith.consumer-changes", "kith.provider-changes")


def change(number: int, tenant: str, kind: str) -> bytes:
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"kith.relations/0/{number}",
            "source": "kith/relations",
            "type": "relation.changed",
            "time": "2026-11-29T10:00:00Z",
            "tenant": tenant,
            "data": {
                "relation_id": f"r{number}",
                "consumer_id": f"c{number % 3}",
                "before": None,
                "after": {"provider_id": "p", "kind": kind, "time": "2026-11-29T10:00:00Z"},
            },
        }
    )


class World:
    """The runner in memory, endpoints as the API changes them, and a feed that follows the rules of the real one
    (``tests/contract/test_webhooks.py`` holds that to the same)."""

    def __init__(self, jumps: list[int]) -> None:
        self._times = iter(jumps)
        self.log = MemoryLog({TOPIC: 1, **dict.fromkeys(OTHERS, 1), LETTERS: 1}, self._clock)
        self.store = MemoryStore({**COLLECTIONS, APPS: APPLICATIONS[APPS]})
        self._number = 0
        self.sent: list[Message] = []
        self._begin()

    def _clock(self) -> int:
        # The clocks of workers differ.
        return 1_000_000 + next(self._times, 0)

    def _begin(self) -> None:
        self._reader = MemoryReader(self.log)
        self._runner = Runner(
            self._reader,
            self.store,
            MemoryPublisher(self.log),
            WebhooksProjection(Topics()),
            owner="test",
            dead_letters=LETTERS,
            slice_events=3,
        )
        self._reader.assign([Partition(TOPIC, 0)])
        self._runner.step(0)

    def restart(self) -> None:
        self._begin()

    def endpoint(self, name: str, **changed: Any) -> None:
        stored = self.store.collections[ENDPOINTS]
        id = f"t1:{name}"
        stored[id] = {
            "_id": id,
            "tenant": "t1",
            "types": ["relation.changed"],
            "state": "enabled",
            "masks": [],
            "created_by": "dev12345",
            **stored.get(id, {}),
            **changed,
        }

    def publish(self, tenant: str, kind: str) -> None:
        self._number += 1
        message = Message(TOPIC, b"k", change(self._number, tenant, kind), 0)
        numbered, _ = assign_numbers([message], "relations@1/kith.relations/0", self._number - 1)
        self.sent += numbered
        self.log.append(numbered[0])

    def repeat(self, count: int) -> None:
        """A crash before the outbox was cleared."""
        for message in self.sent[-count:]:
            self.log.append(message)

    def fold(self) -> None:
        for _ in range(20):
            self._runner.step(0)

    def feed(self, name: str, most: int) -> None:
        """Enqueue at most so many records of a gap."""
        id = f"t1:{name}/relation-changes/0"
        lane = self.store.collections[LANES].get(id)
        if lane is None or "start" not in lane:
            return
        feed = self.store.collections[FEEDS].get(id)
        if feed is None or feed["start"] != lane["start"]:
            feed = {
                "start": lane["start"],
                "next": lane["start"],
                "at": max(lane["at"], feed["at"] if feed else 0),
            }
        if feed["next"] >= lane["end"]:
            return
        end = min(lane["end"], feed["next"] + most)
        endpoint, at = self.store.collections[ENDPOINTS][f"t1:{name}"], feed["at"]
        sequence = SequenceFilter({}, trimmed=True)
        for record in self.log.records[Partition(TOPIC, 0)][:end]:
            if not sequence.accept(record) or record.offset < feed["next"]:
                continue
            found = read_change(record.value)
            if found["tenant"] == "t1" and matches(endpoint, found, body_of(found, [])):
                at = max(at, record.timestamp)
                made = delivery(id, record, found, endpoint, at)
                assert made["_id"] not in self.store.collections[DELIVERIES], "enqueued twice"
                self.store.collections[DELIVERIES][made["_id"]] = made
        self.store.collections[FEEDS][id] = {"_id": id, "endpoint": endpoint["_id"], **feed, "next": end, "at": at}

    def queue(self, name: str) -> list[Document]:
        found = self.store.collections[DELIVERIES].values()
        own = [each for each in found if each["endpoint"] == f"t1:{name}"]
        return sorted(own, key=lambda each: (each["at"], each["_id"]))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from(["t1", "t2"]), st.sampled_from(["view", "purchase"])),
        st.tuples(st.just("publish"), st.just("t1"), st.just("purchase")),
        st.tuples(st.just("repeat"), st.integers(1, 3)),
        st.just(("fold",)),
        st.just(("restart",)),
        st.tuples(st.just("state"), st.sampled_from("ab"), st.sampled_from(["enabled", "disabled"])),
        st.tuples(st.just("full"), st.sampled_from("ab"), st.booleans()),
        st.tuples(st.just("feed"), st.sampled_from("ab"), st.integers(1, 4)),
    ),
    max_size=30,
)


def run(world: World, history: list[tuple[Any, ...]]) -> None:
    for step, *arguments in history:
        if step == "state":
            world.endpoint(arguments[0], state=arguments[1])
        elif step == "full":
            world.endpoint(arguments[0], full=arguments[1])
        else:
            getattr(world, step)(*arguments)


@settings(max_examples=150)
@given(steps, st.lists(st.integers(-50, 50), max_size=60))
def test_each_change_is_enqueued_once_and_in_order(history: list[tuple[Any, ...]], jumps: list[int]) -> None:
    world = World(jumps)
    world.endpoint("a")
    world.endpoint("b", kinds=["purchase"])
    run(world, history)
    for name in "ab":
        world.endpoint(name, state="enabled", full=False)
    world.fold()
    for _ in range(200):
        for name in "ab":
            world.feed(name, 2)
    world.publish("t1", "purchase")
    world.fold()
    for _ in range(5):
        for name in "ab":
            world.feed(name, 1000)
    expected = list(_of_tenant(world.sent))
    assert [each["change"]["id"] for each in world.queue("a")] == expected
    kept = [each["change"]["id"] for each in world.queue("b")]
    assert kept == [id for id in expected if id in _purchases(world.sent)]


@settings(max_examples=60)
@given(
    steps,
    st.lists(st.integers(-50, 50), max_size=60),
    st.sampled_from([1, 100, 300]),
    st.sampled_from([1, 3, 1_000]),
)
def test_what_there_is_no_room_for_comes_later_and_once(
    history: list[tuple[Any, ...]], jumps: list[int], work: int, most: int
) -> None:
    world = World(jumps)
    for name in "ab":
        world.endpoint(name, filter="data.after.kind == 'purchase'")
    with (
        patch("services.webhooks.projection.FILTER_WORK", work),
        patch("services.webhooks.projection.MOST_DELIVERIES", most),
    ):
        run(world, history)
        for name in "ab":
            world.endpoint(name, state="enabled", full=False)
        for _ in range(100):
            world.fold()
            for name in "ab":
                world.feed(name, 2)
    expected = [id for id in _of_tenant(world.sent) if id in _purchases(world.sent)]
    for name in "ab":
        assert [each["change"]["id"] for each in world.queue(name)] == expected


def test_the_filters_of_one_tenant_take_a_bounded_part_of_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated = Counter[str]()

    def counted(expression: str, *arguments: Any) -> Any:
        evaluated[expression] += 1
        return evaluate(expression, *arguments)

    monkeypatch.setattr("services.webhooks.fanout.subscription.evaluate", counted)
    heavy = " | ".join(["[@,@]"] * 12)
    world, light = World([]), "data.after.kind == 'purchase'"
    for number in range(MOST_ENDPOINTS):
        world.endpoint(f"e{number:03}", filter=heavy)
    world.store.collections[ENDPOINTS]["t2:a"] = {
        **world.store.collections[ENDPOINTS]["t1:e000"],
        "_id": "t2:a",
        "tenant": "t2",
        "filter": light,
    }
    for _ in range(3):
        world.publish("t1", "purchase")
        world.publish("t2", "purchase")
    world.fold()
    [other] = {each["endpoint"] for each in world.store.collections[DELIVERIES].values()}
    assert (other, evaluated[light]) == ("t2:a", 3)
    # Of each slice as many as there is work for, and in a gap none: its feed does them.
    assert evaluated[heavy] <= 2 * FILTER_WORK // MOST_WORK + 2
    assert sum("start" in lane for lane in world.store.collections[LANES].values()) == MOST_ENDPOINTS


@pytest.mark.parametrize(("most", "live"), [(1, ""), (3, "a"), (6, "ab"), (8, "ab"), (9, "abc")])
def test_a_slice_enqueues_a_bounded_number_of_deliveries_for_a_tenant(most: int, live: str) -> None:
    world = World([])
    for name in "abc":
        world.endpoint(name)
    for _ in range(3):
        world.publish("t1", "purchase")
    with patch("services.webhooks.projection.MOST_DELIVERIES", most):
        world.fold()
    gaps = {each["endpoint"] for each in world.store.collections[LANES].values() if "start" in each}
    assert gaps == {f"t1:{name}" for name in {*"abc"} - {*live}}
    assert [len(world.queue(name)) for name in "abc"] == [3 * (name in live) for name in "abc"]
    for name in "abc":
        world.feed(name, 10)
    assert [len(world.queue(name)) for name in "abc"] == [3, 3, 3]


@pytest.mark.parametrize("shared", [False, True])
def test_one_endpoint_gets_all_of_a_slice_unless_another_tenant_waits_for_it(shared: bool) -> None:
    world = World([])
    world.endpoint("a")
    if shared:
        world.store.collections[ENDPOINTS]["t2:a"] = {
            **world.store.collections[ENDPOINTS]["t1:a"],
            "_id": "t2:a",
            "tenant": "t2",
        }
    for tenant in ("t1", "t1", "t2"):
        world.publish(tenant, "purchase")
    with patch("services.webhooks.projection.MOST_DELIVERIES", 1):
        world.fold()
    assert len(world.queue("a")) == (0 if shared else 2)
    queued = Counter(each["endpoint"] for each in world.store.collections[DELIVERIES].values())
    assert queued["t2:a"] == shared
    world.feed("a", 10)
    assert len(world.queue("a")) == 2


def test_an_endpoint_uses_the_work_that_the_filters_of_others_leave() -> None:
    world, light = World([]), "data.after.kind == 'purchase'"
    world.endpoint("a", filter=light)
    world.endpoint("b", filter=light, kinds=["view"])
    world.endpoint("c", filter=light, state="disabled")
    for _ in range(3):
        world.publish("t1", "purchase")
    # 26 steps each.
    with patch("services.webhooks.projection.FILTER_WORK", 3 * 26):
        world.fold()
    lanes = {each["endpoint"]: each for each in world.store.collections[LANES].values()}
    assert [id for id, lane in lanes.items() if "start" in lane] == ["t1:c"]
    assert len(world.queue("a")) == 3


def _of_tenant(sent: list[Message]) -> Iterator[str]:
    for message in sent:
        found = orjson.loads(message.value)
        if found["tenant"] == "t1":
            yield found["id"]


def _purchases(sent: list[Message]) -> set[str]:
    found = [orjson.loads(message.value) for message in sent]
    return {each["id"] for each in found if each["data"]["after"]["kind"] == "purchase"}


def test_nothing_is_enqueued_for_another_tenant() -> None:
    world = World([])
    world.endpoint("a")
    world.publish("t2", "purchase")
    world.fold()
    assert world.queue("a") == []


def test_a_bad_change_is_a_dead_letter_and_holds_nobody_up() -> None:
    world = World([])
    world.endpoint("a")
    world.log.append(Message(TOPIC, b"k", b"no json", 0))
    world.publish("t1", "view")
    world.fold()
    assert len(world.queue("a")) == 1
    assert len(world.log.records[Partition(LETTERS, 0)]) == 1


def test_a_filter_does_not_search_what_is_hidden_from_its_application_by_now() -> None:
    world, app = World([]), "app_" + "a" * 16
    world.endpoint("a", created_by=app, bound=True, purpose=app, filter="data.after.kind == 'purchase'")
    for masks in ([], ["kind"], []):
        world.store.collections[APPS][app] = {"_id": app, "tenant": "t1", "masks": masks}
        world.publish("t1", "purchase")
        world.fold()
    assert [each["change"]["data"]["relation_id"] for each in world.queue("a")] == ["r1", "r3"]


def test_no_endpoint_is_left_out_where_there_are_more_than_there_may_be() -> None:
    world = World([])
    for number in range(MOST_ENDPOINTS + 3):
        world.endpoint(f"e{number:03}")
    world.publish("t1", "view")
    world.fold()
    assert len(world.store.collections[DELIVERIES]) == MOST_ENDPOINTS + 3


def test_the_senders_are_told_of_whom_something_was_enqueued_for_which_endpoint() -> None:
    told: list[Any] = []
    queued = [("t1:a", "ada"), ("t1:a", "bob"), ("t1:b", "ada"), ("t1:a", "ada")]
    writes = [
        Write(DELIVERIES, str(number), None, {"endpoint": endpoint, "subject": subject})
        for number, (endpoint, subject) in enumerate(queued)
    ]
    outcome = Outcome([*writes, Write(LANES, "l", None, {"endpoint": "t1:c"})])
    FanOutObserver(told.append).committed(Partition(TOPIC, 0), [], outcome)
    assert told == [{"t1:a": {"ada", "bob"}, "t1:b": {"ada"}}]
