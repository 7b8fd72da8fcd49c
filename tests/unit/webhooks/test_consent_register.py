"""Of every erased consumer there is one notice, for the applications that they ever agreed to, and no others."""

from collections import defaultdict
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.webhooks.projection import WebhooksProjection
from services.webhooks.schema import COLLECTIONS
from shared.access.apps.schema import APPS, NOTICES, REGISTER
from shared.access.apps.schema import COLLECTIONS as APPLICATIONS
from shared.contracts.topics import Topics
from shared.erasure.records import erasure_id
from shared.runtime.protocols import Document, Message, Partition
from shared.runtime.runner import Runner
from shared.runtime.sequence_numbers import assign_numbers
from shared.testing.memory import MemoryLog, MemoryPublisher, MemoryReader, MemoryStore

TOPIC, LETTERS = "kith.consumer-changes", "kith.dead-letters"
ONE, TWO, OTHERS, UNKNOWN = (f"app_{letter * 16}" for letter in "abcd")


def change(
    number: int, consumer: str, data: Document, tenant: str = "t1", time: str = "2026-11-29T10:00:00Z"
) -> bytes:
    told = {"consumer_id": consumer, "erased": False, **data}
    named = {"specversion": "1.0", "id": f"kith.consumers/0/{number}", "source": "kith/relations"}
    return orjson.dumps({**named, "type": "consumer.changed", "time": time, "tenant": tenant, "data": told})


class World:
    def __init__(self) -> None:
        self.log = MemoryLog({TOPIC: 1, LETTERS: 1}, lambda: 1_000_000)
        self.store = MemoryStore({**COLLECTIONS, APPS: APPLICATIONS[APPS]})
        # Another tenant's application, and one that does not exist, may be named in a consent as well.
        for id, tenant in ((ONE, "t1"), (TWO, "t1"), (OTHERS, "t2")):
            self.store.collections[APPS][id] = {"_id": id, "tenant": tenant, "masks": []}
        self._sent: list[Message] = []
        self.start()

    def start(self) -> None:
        reader = MemoryReader(self.log)
        self._runner = Runner(
            reader,
            self.store,
            MemoryPublisher(self.log),
            WebhooksProjection(Topics()),
            owner="test",
            dead_letters=LETTERS,
            slice_events=3,
        )
        reader.assign([Partition(TOPIC, 0)])
        self._runner.step(0)

    def publish(self, consumer: str, **data: Any) -> None:
        value = change(len(self._sent), consumer, data)
        numbered, _ = assign_numbers([Message(TOPIC, b"k", value, 0)], "relations@1/x/0", len(self._sent))
        self._sent += numbered
        self.log.append(numbered[0])

    def repeat(self) -> None:
        for message in self._sent[-2:]:
            self.log.append(message)

    def fold(self) -> None:
        for _ in range(30):
            self._runner.step(0)

    def stored(self, collection: str) -> dict[str, Document]:
        return dict(self.store.collections[collection])


steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("states"), st.sampled_from("xyz"), st.sets(st.sampled_from([ONE, TWO, OTHERS, UNKNOWN]))
        ),
        st.tuples(st.just("erases"), st.sampled_from("xyz")),
        st.sampled_from([("repeat",), ("fold",), ("start",)]),
    ),
    max_size=25,
)


@given(steps)
@settings(max_examples=150, deadline=None)
def test_the_notices_of_any_history(history: list[tuple[Any, ...]]) -> None:
    world = World()
    ever: dict[str, set[str]] = defaultdict(set)
    gone: dict[str, set[str]] = {}
    for step, *named in history:
        if step == "states" and named[0] not in gone:
            consumer, granted = named
            world.publish(consumer, **({"applications": sorted(granted)} if granted else {}))
            ever[consumer] |= granted & {ONE, TWO}
        elif step == "erases":
            world.publish(named[0], erased=True)
            gone.setdefault(named[0], ever.pop(named[0], set()))
        elif step in ("repeat", "fold", "start"):
            getattr(world, step)()
    world.fold()
    notices = {each["consumer_id"]: each for each in world.stored(NOTICES).values()}
    assert {consumer: set(each["apps"]) for consumer, each in notices.items()} == {
        consumer: apps for consumer, apps in gone.items() if apps
    }
    for consumer, each in notices.items():
        assert each["_id"] == f"t1:consumer.erased/{erasure_id('t1', consumer)}"
    known = {id: set(each["apps"]) for id, each in world.stored(REGISTER).items()}
    assert known == {f"t1:{consumer}": apps for consumer, apps in ever.items() if apps}, "nothing of the erased"


def test_a_consent_from_before_the_register_is_told_by_the_change_of_the_erasure() -> None:
    world = World()
    world.publish("x", erased=True, applications=[ONE, OTHERS, UNKNOWN])
    world.publish("x", erased=True)
    world.fold()
    [notice] = world.stored(NOTICES).values()
    assert (notice["consumer_id"], notice["apps"]) == ("x", [ONE])
    assert world.stored(REGISTER) == {}


@pytest.mark.parametrize(
    "time", ["soon", "2026-11-29T10:00:00", "0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"]
)
def test_a_change_without_a_time_holds_up_nothing(time: str) -> None:
    world = World()
    world.log.append(Message(TOPIC, b"k", change(0, "x", {"erased": True, "applications": [ONE]}, time=time), 0))
    world.publish("y", erased=True, applications=[ONE])
    world.fold()
    assert [each["consumer_id"] for each in world.stored(NOTICES).values()] == ["y"]
