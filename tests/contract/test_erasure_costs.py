"""What erasure costs those who are not erased: one more collection in a question that is asked anyway, and on an
empty collection that looks at nothing."""

from contextlib import suppress
from typing import Any

from services.relations.erasing import ERASED
from services.relations.facts import project_facts
from services.relations.schema import COLLECTIONS
from shared.memory import MemoryStore
from shared.mongo_io import prepare
from shared.protocols import Ask, Document, Get, Partition, Record
from tests.builders import STRENGTH, MemoryKith, event, recorded
from tests.relations_driver import Mongo

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
