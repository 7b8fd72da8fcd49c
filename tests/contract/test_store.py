"""One suite for every Store: in memory and on a real MongoDB replica set."""

from collections.abc import Iterator
from typing import Any, Protocol

import pytest
from pymongo.database import Database

from services.rebuild.diff import same
from shared.contracts.collections import Collections, CollectionSpec
from shared.contracts.errors import Fenced, Stale
from shared.mongo.store import MongoStore, prepare
from shared.runtime.protocols import (
    Claim,
    Document,
    Get,
    GetByPrefix,
    GetMinMax,
    GetReduced,
    Message,
    OutboxBatch,
    Outcome,
    Progress,
    Slice,
    Store,
    Write,
)
from shared.testing.memory import MemoryStore

POSITION = "relations@1/kith.relations/0"
SPECS: Collections = {
    "things": CollectionSpec({}, guard="version"),
    "owned": CollectionSpec({}),
    "listed": CollectionSpec(
        {}, indexes=((("place.city", 1), ("_id", 1)),), guard="version", unique=True, partial={"gone": False}
    ),
}


class Contract(Protocol):
    @property
    def store(self) -> Store: ...

    def documents(self, collection: str) -> dict[str, Document]: ...


class InMemory:
    def __init__(self) -> None:
        self.store = MemoryStore(SPECS)

    def documents(self, collection: str) -> dict[str, Document]:
        return self.store.collections[collection]


class InMongo:
    def __init__(self, database: Database[Document]) -> None:
        prepare(database, SPECS)
        self._database = database
        self.store = MongoStore(database, SPECS)

    def documents(self, collection: str) -> dict[str, Document]:
        return {document["_id"]: document for document in self._database[collection].find()}


@pytest.fixture(params=["memory", "mongo"])
def world(request: pytest.FixtureRequest) -> Iterator[Contract]:
    if request.param == "memory":
        yield InMemory()
    else:
        yield InMongo(request.getfixturevalue("mongo_database"))


def thing(id: str, version: int = 1, **fields: Any) -> Document:
    return {"_id": id, "version": version, **fields}


def write(before: Document | None, after: Document | None, collection: str = "things") -> Write:
    id = (before or after or {})["_id"]
    return Write(collection, id, before, after)


def commit(
    store: Store, claim: Claim, before: Progress, next: int, *writes: Write, **more: Any
) -> list[OutboxBatch]:
    outcome = Outcome(list(writes), list(more.pop("messages", ())))
    return store.commit(Slice(claim, before, Progress(next, **more.pop("progress", {})), outcome, **more))


def test_a_slice_is_stored_whole(world: Contract) -> None:
    claim, progress = world.store.claim(POSITION, "me")
    assert progress == Progress(None, 0, {})
    commit(world.store, claim, progress, 3, write(None, thing("a")), write(None, thing("b")))
    first = Progress(3)
    after = thing("a", 2, name="x")
    commit(
        world.store, claim, first, 5, write(thing("a"), after), write(thing("b"), None), write(None, thing("c"))
    )
    assert world.documents("things") == {"a": after, "c": thing("c")}
    got = world.store.read(Get({"things": ["a", "b"], "owned": []}))
    assert got == {"things": {"a": after}, "owned": {}}


def test_a_question_may_name_more_ids_than_one_command_holds(world: Contract) -> None:
    """As many long ids as 2,000 events and erasures may ask for: together they are larger than 16 MB."""
    claim, progress = world.store.claim(POSITION, "me")
    ids = [f"{n:06}{'x' * 400}" for n in range(45_000)]
    some = [thing(id) for id in ids[::9_000]]
    commit(world.store, claim, progress, 1, *(write(None, one) for one in some))
    assert world.store.read(Get({"things": ids})) == {"things": {one["_id"]: one for one in some}}


def test_progress_comes_back_with_the_next_claim(world: Contract) -> None:
    claim, progress = world.store.claim(POSITION, "me")
    seen = {"relations@1/kith.relations/0": 7}
    commit(world.store, claim, progress, 9, progress={"emitted": 4, "seen": seen})
    _, progress = world.store.claim(POSITION, "other")
    assert progress == Progress(9, 4, seen)


def test_an_older_claim_is_fenced(world: Contract) -> None:
    old, progress = world.store.claim(POSITION, "zombie")
    new, _ = world.store.claim(POSITION, "me")
    with pytest.raises(Fenced):
        commit(world.store, old, progress, 3, write(None, thing("a")))
    assert world.documents("things") == {}
    commit(world.store, new, progress, 3, write(None, thing("b")))
    assert world.documents("things") == {"b": thing("b")}


def test_a_slice_that_starts_elsewhere_is_fenced(world: Contract) -> None:
    claim, progress = world.store.claim(POSITION, "me")
    commit(world.store, claim, progress, 3)
    with pytest.raises(Fenced):
        commit(world.store, claim, Progress(2), 4, write(None, thing("a")))
    assert world.documents("things") == {}


@pytest.mark.parametrize(
    ("stored", "wrong"),
    [
        ([thing("a", 2)], write(thing("a", 1), thing("a", 3))),
        ([thing("a", 2)], write(thing("a", 1), None)),
        ([thing("a", 2)], write(None, thing("a", 3))),
        ([], write(thing("a", 1), thing("a", 2))),
        ([], write(thing("a", 1), None)),
    ],
    ids=["replace", "delete", "insert", "replace absent", "delete absent"],
)
def test_a_document_that_changed_meanwhile_is_stale(world: Contract, stored: list[Document], wrong: Write) -> None:
    claim, progress = world.store.claim(POSITION, "me")
    commit(world.store, claim, progress, 1, *(write(None, document) for document in stored))
    before = dict(world.documents("things"))
    with pytest.raises(Stale):
        commit(world.store, claim, Progress(1), 2, write(None, thing("other")), wrong)
    assert world.documents("things") == before, "half of a slice was stored"
    _, progress = world.store.claim(POSITION, "me")
    assert progress.next == 1


@pytest.mark.parametrize("collection", SPECS)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": 1, "b": "x"}, {"a": 2, "b": "x"}),
        ({"a": 1}, {"a": 1, "b": [1, {"c": None}]}),
        ({"a": 1, "b": 2}, {"c": 3}),
        ({"a": 1, "traits": {"x": 1, "y": True}}, {"a": True, "traits": {"y": 1, "x": 1.0}}),
        ({"place": {"city": "Lyon"}, "gone": False}, {"place": {"city": "Brno"}, "gone": False}),
        ({"place": {"city": "Lyon"}, "gone": False}, {"gone": True}),
        ({"gone": True}, {"place": {"city": "Lyon"}, "gone": False}),
        ({"text": "$set", "cost": "$1"}, {"text": "$unset", "cost": "$text"}),
    ],
)
def test_a_replacement_leaves_nothing_of_what_was_there(
    world: Contract, collection: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    old, new, other = thing("a", 1, **before), thing("a", 2, **after), thing("b", 1, **before)
    claim, progress = world.store.claim(POSITION, "me")
    commit(world.store, claim, progress, 1, write(None, old, collection), write(None, other, collection))
    commit(world.store, claim, Progress(1), 2, write(old, new, collection))
    stored = world.documents(collection)
    assert same(stored, {"a": new, "b": other}), stored
    assert list(stored["a"]) == list(new)
    if SPECS[collection].guard is None:
        return
    with pytest.raises(Stale):
        commit(world.store, claim, Progress(2), 3, write(old, thing("a", 3, **after), collection))
    assert same(world.documents(collection), {"a": new, "b": other})


@pytest.mark.parametrize("collection", SPECS)
def test_a_replacement_leaves_nothing_of_what_its_guard_cannot_tell(world: Contract, collection: str) -> None:
    old, other, new = thing("a", 1, gone=False), thing("a", 1, gone=False, more=1), thing("a", 1, gone=False, b=2)
    claim, progress = world.store.claim(POSITION, "me")
    commit(world.store, claim, progress, 1, write(None, old, collection))
    elsewhere, beginning = world.store.claim("relations@1/kith.relations/1", "you")
    commit(world.store, elsewhere, beginning, 1, write(old, other, collection))
    commit(world.store, claim, Progress(1), 2, write(old, new, collection))
    assert world.documents(collection) == {"a": new}


def test_a_blind_write_sets_its_fields_whatever_is_there(world: Contract) -> None:
    claim, progress = world.store.claim(POSITION, "me")
    first: Document = {"_id": "a", "n": 1, "done": {"by": "someone"}}
    commit(world.store, claim, progress, 1, Write("owned", "a", None, first, blind=True))
    commit(world.store, claim, Progress(1), 2, Write("owned", "a", None, {"_id": "a", "n": 2}, blind=True))
    assert world.documents("owned") == {"a": {"_id": "a", "n": 2, "done": {"by": "someone"}}}


def test_messages_lie_in_the_outbox_until_they_are_cleared(world: Contract) -> None:
    claim, progress = world.store.claim(POSITION, "me")
    one = Message("t", b"k", b"v\0", 1, (("kith-number", b"1"),))
    two = Message("t", None, b"w")
    sent = commit(world.store, claim, progress, 1, messages=[one, two])
    more = commit(world.store, claim, Progress(1), 12, messages=[two])
    assert [m for batch in sent for m in batch.messages] == [one, two]
    assert world.store.unpublished(POSITION) == [*sent, *more], "the oldest come first"
    assert world.store.unpublished("relations@1/kith.relations/01") == []
    world.store.clear([batch.id for batch in sent])
    assert world.store.unpublished(POSITION) == more
    commit(world.store, claim, Progress(12), 13, published=[batch.id for batch in more])
    assert world.store.unpublished(POSITION) == []


def test_a_fenced_slice_leaves_no_message(world: Contract) -> None:
    old, progress = world.store.claim(POSITION, "zombie")
    world.store.claim(POSITION, "me")
    with pytest.raises(Fenced):
        commit(world.store, old, progress, 1, messages=[Message("t", b"k", b"v", 0)])
    assert world.store.unpublished(POSITION) == []


def test_a_repeated_commit_whose_answer_was_lost_is_no_error(world: Contract) -> None:
    if isinstance(world.store, MemoryStore):
        return  # its answers do not get lost
    claim, progress = world.store.claim(POSITION, "me")
    message = Message("t", b"k", b"v", 0)
    sent = commit(world.store, claim, progress, 4, write(None, thing("a")), messages=[message])
    again = commit(world.store, claim, progress, 4, write(None, thing("a")), messages=[message])
    assert again == sent
    assert world.store.unpublished(POSITION) == sent


def test_extremes_leave_out_what_does_not_match(world: Contract) -> None:
    claim, progress = world.store.claim(POSITION, "me")
    documents = [thing(str(n), n, pair="x" if n < 7 else "y", live=n != 1) for n in range(1, 10)]
    commit(world.store, claim, progress, 1, *(write(None, document) for document in documents))
    filters: list[dict[str, Any]] = [{"pair": "x", "live": True}, {"pair": "y", "live": True}, {"pair": "z"}]
    assert world.store.read(GetMinMax("things", "version", filters, {"2", "9"})) == [[3, 6], [7, 8], []]


def test_documents_whose_ids_begin_alike_come_lowest_first(world: Contract) -> None:
    claim, progress = world.store.claim(POSITION, "me")
    ids = ["a:c:2", "a:c:10", "a:c:é", "a:c", "a:cc:1", "a:d:1", "a:c%3A:1", "b:c:1"]
    commit(world.store, claim, progress, 1, *(write(None, thing(id)) for id in ids))
    found = world.store.read(GetByPrefix("things", ["a:c:", "b:", "z:"], 2))
    assert [[document["_id"] for document in some] for some in found] == [["a:c:10", "a:c:2"], ["b:c:1"], []]
    [every] = world.store.read(GetByPrefix("things", ["a:c:"], 9))
    assert [document["_id"] for document in every] == ["a:c:10", "a:c:2", "a:c:é"]
    reduced = GetReduced("things", ["a:c:", "z:"], list, lambda found, document: [*found, document["_id"]])
    assert world.store.read(reduced) == [["a:c:10", "a:c:2", "a:c:é"], []]
