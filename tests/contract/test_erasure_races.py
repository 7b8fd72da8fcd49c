"""Two partitions that have to do with one consumer when it is erased, as while partitions are added, or where a
message bears another key: in memory and on a real MongoDB."""

from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any

import pytest

from services.relations.facts import project_facts
from services.relations.profile_erasure import ErasureMessages
from services.relations.profiles import project_profiles
from services.relations.schema import COLLECTIONS
from shared.contracts.errors import Stale
from shared.contracts.events import Event, SubjectErased, SubjectErasedData
from shared.mongo.store import MongoStore, prepare
from shared.runtime.protocols import Answer, Ask, Document, Get, Outcome, Partition, Progress, Record, Slice, Store
from shared.testing.memory import MemoryStore
from tests.support.builders import STRENGTH, event, recorded

ERASURE = ErasureMessages("kith.erasures", "kith.relations")
ORDER = SubjectErased(
    specversion="1.0",
    id="order",
    source="kith/relations",
    time=datetime(2026, 2, 1, tzinfo=UTC),
    tenant="default",
    type="relation.subject_erased",
    data=SubjectErasedData(consumer_id="c1", mode="delete"),
)


@pytest.fixture(params=["memory", "mongo"])
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "memory":
        return MemoryStore(COLLECTIONS)
    database = request.getfixturevalue("mongo_database")
    prepare(database, COLLECTIONS)
    return MongoStore(database, COLLECTIONS)


def folded(store: Store, fold: Generator[Ask, Answer, Outcome]) -> Outcome:
    """What a fold makes of what is stored now."""
    answer = None
    while True:
        try:
            answer = store.read(fold.send(answer))
        except StopIteration as done:
            outcome: Outcome = done.value
            return outcome


def profiled(store: Store, partition: int, one: Event) -> Outcome:
    record = Record(Partition("kith.consumers", partition), 0, 0, None, b"")
    items: list[tuple[Record, Any]] = [(record, one)]
    return folded(store, project_profiles(items, collection="consumers", change_topic="changes", erasure=ERASURE))


def related(store: Store, partition: int, one: Any) -> Outcome:
    record = Record(Partition("kith.relations", partition), 0, 0, None, b"")
    return folded(store, project_facts([(record, one)], change_topic="changes", strength=STRENGTH))


def commit(store: Store, topic: str, partition: int, outcome: Outcome) -> None:
    claim, before = store.claim(f"relations@1/kith.{topic}/{partition}", "me")
    store.commit(Slice(claim, before, Progress((before.next or 0) + 1), outcome))


def stored(store: Store, collection: str, *ids: str) -> dict[str, Document]:
    found: dict[str, Document] = store.read(Get({collection: ids}))[collection]
    return found


@pytest.mark.parametrize("mode", ["anonymise", "delete"])
def test_what_was_read_of_a_profile_before_its_erasure_is_not_stored_after_it(store: Store, mode: str) -> None:
    bare = event("consumer.upserted", "e0", "2026-01-01T00:00:00Z", {"consumer_id": "c1"})
    named = {"consumer_id": "c1", "personal": {"name": "Ada"}}
    full = event("consumer.upserted", "e1", "2026-01-02T00:00:00Z", named)
    erased = event("consumer.erased", "e2", "2026-01-03T00:00:00Z", {"consumer_id": "c1", "mode": mode})
    commit(store, "consumers", 0, profiled(store, 0, bare))
    late = profiled(store, 1, full)
    commit(store, "consumers", 0, profiled(store, 0, erased))
    with pytest.raises(Stale):
        commit(store, "consumers", 1, late)
    commit(store, "consumers", 1, profiled(store, 1, full))
    [profile] = stored(store, "consumers", "default:c1").values()
    assert profile == {"_id": "default:c1", "tenant": "default", "consumer_id": "c1", "erased": mode}


def test_deleting_outranks_also_at_the_same_moment(store: Store) -> None:
    def erasure(mode: str) -> Event:
        return event("consumer.erased", mode, "2026-01-03T00:00:00Z", {"consumer_id": "c1", "mode": mode})

    bare = event("consumer.upserted", "e0", "2026-01-01T00:00:00Z", {"consumer_id": "c1"})
    commit(store, "consumers", 0, profiled(store, 0, bare))
    late = profiled(store, 1, erasure("anonymise"))
    commit(store, "consumers", 0, profiled(store, 0, erasure("delete")))
    with pytest.raises(Stale):
        commit(store, "consumers", 1, late)
    commit(store, "consumers", 1, profiled(store, 1, erasure("anonymise")))
    assert stored(store, "consumers", "default:c1")["default:c1"]["erased"] == "delete"


def test_asking_again_ends_what_another_partition_stored_meanwhile(store: Store) -> None:
    """A known limit (docs/why/limits.md): that there is no marker yet is guarded by nothing."""
    fact = recorded("e1", "2026-01-01T00:00:00Z")
    late = related(store, 1, fact)
    commit(store, "relations", 0, related(store, 0, ORDER))
    commit(store, "relations", 1, late)
    assert list(stored(store, "relations", "default:c1:r1")) == ["default:c1:r1"]
    commit(store, "relations", 0, related(store, 0, ORDER))
    assert stored(store, "relations", "default:c1:r1") == {}
    assert stored(store, "relationships", "default:c1:p1") == {}


def test_what_another_partition_reads_after_an_erasure_is_suppressed(store: Store) -> None:
    commit(store, "relations", 0, related(store, 0, ORDER))
    commit(store, "relations", 1, related(store, 1, recorded("e1", "2026-01-01T00:00:00Z")))
    assert stored(store, "relations", "default:c1:r1") == {}
