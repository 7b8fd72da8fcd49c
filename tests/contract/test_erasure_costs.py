"""What erasure costs those who are not erased: one more collection in a question that is asked anyway, and on an
empty collection that looks at nothing. And what many erasures cost that come together."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

import services.relations.fact_erasure as erasing
from services.relations.fact_erasure import ERASED, weight
from services.relations.fact_fold import FactFold
from services.relations.facts import project_facts
from services.relations.schema import COLLECTIONS
from shared.contracts.codec import encode
from shared.contracts.events import SubjectErased, SubjectErasedData
from shared.erasure.records import hashed
from shared.mongo.store import prepare
from shared.runtime.protocols import Ask, Document, Get, GetByPrefix, Partition, Record
from shared.testing.memory import MemoryStore
from tests.support.builders import STRENGTH, MemoryKith, event, recorded
from tests.support.relations_driver import Mongo

PLACE = Partition("kith.relations", 0)


def asked(store: MemoryStore, events: list[Any]) -> list[Ask]:
    """What a slice of these events asks the store for."""
    items = [(Record(PLACE, n, 0, None, b""), one) for n, one in enumerate(events)]
    fold = project_facts(items, change_topic="changes", strength=STRENGTH)
    asks: list[Ask] = [next(fold)]
    with suppress(StopIteration):
        while True:
            asks.append(fold.send(store.read(asks[-1])))
    return asks


def test_a_slice_without_erasures_asks_once_and_for_each_consumer_once() -> None:
    events = [
        recorded(f"e{n}", "2026-01-01T00:00:00Z", f"r{n}", consumer_id=f"c{n % 3}", provider_id=f"p{n % 2}")
        for n in range(60)
    ]
    [ask] = asked(MemoryStore(COLLECTIONS), events)
    assert isinstance(ask, Get)
    assert {name: len(ids) for name, ids in ask.ids.items()} == {"relations": 60, "relationships": 6, ERASED: 3}


def test_only_a_slice_with_somebody_who_is_erased_asks_more() -> None:
    kith = MemoryKith(partitions=1)
    kith.publish(
        [event("consumer.erased", "x", "2026-01-01T00:00:00Z", {"consumer_id": "c1", "mode": "anonymise"})]
    )
    kith.drain()
    assert len(asked(kith.store, [recorded("e", "2026-01-01T00:00:00Z", consumer_id="c2")])) == 1
    assert len(asked(kith.store, [recorded("e", "2026-01-01T00:00:00Z", consumer_id="c1")])) == 3


def test_mongod_looks_at_nothing_for_markers_that_are_not_there(mongo_database: Mongo) -> None:
    prepare(mongo_database, COLLECTIONS)
    wanted = {"_id": {"$in": [f"default:customer-{n}" for n in range(2_000)]}}
    command: Document = {"find": ERASED, "filter": wanted}
    stats = mongo_database.command("explain", command, verbosity="executionStats")["executionStats"]
    assert (stats["totalDocsExamined"], stats["nReturned"]) == (0, 0)
    assert stats["totalKeysExamined"] <= 1


def order(consumer_id: str, mode: str = "delete") -> SubjectErased:
    return SubjectErased(
        specversion="1.0",
        id=f"order/{consumer_id}/{mode}",
        source="kith/relations",
        time=datetime(2026, 2, 1, tzinfo=UTC),
        tenant="default",
        type="relation.subject_erased",
        data=SubjectErasedData(consumer_id=consumer_id, mode=mode),  # type: ignore[arg-type]
    )


def known(consumers: int, facts: int) -> MemoryStore:
    """A store that has so many facts of each consumer c0, c1 …"""
    kith = MemoryKith(partitions=1, slice_events=1000)
    kith.publish(
        recorded(f"e{c}-{f}", "2026-01-01T00:00:00Z", f"r{f}", consumer_id=f"c{c}", provider_id=f"p{f}")
        for c in range(consumers)
        for f in range(facts)
    )
    kith.drain()
    return kith.store


class Counting(dict[str, Any]):
    """A dictionary that counts how many entries have been looked at."""

    looks = 0

    def get(self, *args: Any) -> Any:
        Counting.looks += 1
        return super().get(*args)

    def __getitem__(self, key: str) -> Any:
        Counting.looks += 1
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[str]:
        Counting.looks += len(self)
        return super().__iter__()

    def items(self) -> Any:
        Counting.looks += len(self)
        return super().items()


class CountingWorld(FactFold):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.facts = Counting(self.facts)


@pytest.mark.parametrize("mode", ["delete", "anonymise"])
def test_erasing_many_at_once_looks_at_each_fact_a_few_times(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "FactFold", CountingWorld)
    counts = []
    for consumers in (10, 40):
        store = known(consumers, 5)
        Counting.looks = 0
        asked(store, [order(f"c{c}", mode) for c in range(consumers)])
        counts.append(Counting.looks)
    assert 0 < counts[1] < 5 * counts[0], "four times as many erasures cost more than four times as much each"


def test_deleting_asks_for_no_pseudonym_that_will_not_be_written() -> None:
    store = known(3, 5)
    asks = asked(store, [order(f"c{c}") for c in range(3)])
    assert [ids for ask in asks if isinstance(ask, Get) for ids in [ask.ids.get("relations")] if ids] == []
    moved = asked(store, [order("c0", "anonymise"), order("c1"), order("c2")])
    assert [len(ids) for ask in moved if isinstance(ask, Get) for ids in [ask.ids.get("relations")] if ids] == [5]
    names = [ask.prefixes for ask in moved if isinstance(ask, GetByPrefix)]
    other = f"default:{hashed('default', 'c0')}:"
    assert [other in prefixes for prefixes in names] == [False], "read what only a deletion moves"


def test_orders_for_one_do_not_load_more_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "AT_ONCE", 2)
    asks = asked(known(2, 9), [order("c0"), order("c0"), order("c0"), order("c1")])
    most = {prefix: ask.most for ask in asks if isinstance(ask, GetByPrefix) for prefix in ask.prefixes}
    assert (most["default:c0:"], most["default:c1:"]) == (7, 3)


def test_an_order_weighs_more_than_another_event() -> None:
    plain = encode(recorded("e", "2026-01-01T00:00:00Z", text="relation.subject_erased"))
    assert weight(Record(PLACE, 0, 0, None, encode(order("c1")))) >= 100
    assert weight(Record(PLACE, 0, 0, None, plain)) == weight(Record(PLACE, 0, 0, None, None)) == 1
