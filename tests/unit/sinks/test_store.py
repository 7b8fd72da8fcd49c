"""The documents that a sink reads are those of the live version of relations."""

import pytest

from shared.contracts.collections import CollectionSpec
from shared.contracts.errors import Stale
from shared.runtime.protocols import Answer, Ask, Get, GetByPrefix
from shared.sinks.store import SinkStore
from shared.testing.memory import MemoryStore
from shared.testing.memory_sink import MemoryTables, NumberedTarget


def store_of(live: list[int]) -> tuple[SinkStore, MemoryStore]:
    """A sink whose relations are live in each version of ``live``, one after the other, the last one for ever."""
    beneath = MemoryStore({name: CollectionSpec({}) for name in ("relationships", "relationships@2")})
    beneath.collections["relationships"]["a"] = {"_id": "a", "count": 1}
    beneath.collections["relationships@2"]["a"] = {"_id": "a", "count": 2}
    sink = SinkStore(beneath, NumberedTarget(MemoryTables()), lambda: live.pop(0) if len(live) > 1 else live[0])
    return sink, beneath


@pytest.mark.parametrize(("live", "count"), [(1, 1), (2, 2)])
def test_documents_are_read_from_the_live_version(live: int, count: int) -> None:
    sink, _ = store_of([live])
    questions: list[Ask] = [Get({"relationships": ["a"]}), GetByPrefix("relationships", ["a"], 5)]
    answers: list[Answer] = [sink.read(ask) for ask in questions]
    document = {"_id": "a", "count": count}
    assert answers == [{"relationships": {"a": document}}, [[document]]]


def test_a_switch_during_the_read_repeats_the_slice() -> None:
    """The old version may be deleted at any moment after it, and its documents with it."""
    sink, _ = store_of([1, 2])
    with pytest.raises(Stale):
        sink.read(Get({"relationships": ["a"]}))
    assert sink.read(Get({"relationships": ["a"]}))["relationships"]["a"]["count"] == 2
