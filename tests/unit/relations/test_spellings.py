"""A log and documents from before ids were put in NFC: keys and sealed values were bound to ids as they were
spelled."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.relations.schema import COLLECTIONS
from services.relations.spellings import FIELDS
from services.relations.wide import CELLS
from shared.contracts import codec
from shared.contracts.codec import encode
from shared.contracts.events import Event
from shared.runtime.protocols import Document, Message
from shared.vault.fields import change_document
from shared.vault.protocols import Destroyed
from shared.vault.schema import DATA_KEYS
from shared.vault.sealing import opener
from shared.vault.tokens import DataKey, is_token, seal
from shared.versions.generations import own_collections
from tests.support.builders import TOPICS, MemoryKith
from tests.support.strategies import consumer_events, relation_events
from tests.support.vault import SameKeys

WHOLE, PARTS = "jos\u00e9", "jose\u0301"
TIME = "2026-05-02T09:00:00Z"
PERSONAL = {"name": "MARKER Jos\u00e9", "email": "MARKER@example.org"}
FACT = {"relation_id": f"r-{PARTS}", "kind": "view", "provider_id": "p1", "text": "MARKER text"}


def kith() -> MemoryKith:
    world = MemoryKith(4, 3, SameKeys)
    for id in (WHOLE, PARTS):
        world.documents()[DATA_KEYS][f"default:{id}"] = {"_id": f"default:{id}", "wrapped": b"", "wrapping": 1}
    return world


def spelled(world: MemoryKith, fields: dict[str, Any], id: str) -> Message:
    """A message as the door made it before: the id as it came, and everything bound to that."""
    assert world.vault is not None
    tenant = fields.get("tenant", "default")
    key = world.vault.keys(tenant, [id])[id]
    if isinstance(key, Destroyed):  # of which the door published nothing personal
        key = DataKey(bytes(32))
    data = {**fields["data"], "consumer_id": id}

    def sealed(path: str, value: Any) -> Any:
        return seal(key, tenant, id, path, value)

    data = change_document({name: value for name, value in data.items() if value is not None}, sealed)
    raw = json.dumps({**fields, "data": data}, ensure_ascii=False).encode()
    return Message(TOPICS.name(fields["type"].split(".")[0] + "s"), f"{tenant}:{id}".encode(), raw)


def said(type: str, id: str, data: Document, time: str = TIME) -> dict[str, Any]:
    return {"specversion": "1.0", "id": id, "source": "s", "type": type, "time": time, "data": data}


def profile(id: str = "e1", time: str = TIME, **personal: str) -> dict[str, Any]:
    return said("consumer.upserted", id, {"personal": {**PERSONAL, **personal}, "traits": {"vip": True}}, time)


def erasure(world: MemoryKith, id: str, mode: str) -> Message:
    return spelled(world, said("consumer.erased", "x1", {"mode": mode}), id)


def run(world: MemoryKith, *messages: Message) -> None:
    for message in messages:
        world.log.append(message)
    world.drain()


@pytest.fixture
def as_before() -> Iterator[pytest.MonkeyPatch]:
    """Undone, ids are put in NFC again; until then they are as the version before had them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "with_ids_in_nfc", lambda event: event)
        yield patch


def opened(world: MemoryKith, collection: str) -> list[Document]:
    found = opener(world.vault)("default", world.documents()[collection].values())
    assert [paths for _, paths in found if paths] == [], "nothing is unreadable"
    return [document for document, _ in found]


@pytest.mark.parametrize("order", [1, -1])
def test_an_old_log_is_one_consumer_with_one_fact_and_all_of_it_can_be_read(order: int) -> None:
    world = kith()
    messages = [
        spelled(world, profile(), PARTS),
        spelled(world, said("relation.recorded", "f1", FACT), PARTS),
        spelled(world, profile("e2", "2026-05-03T09:00:00Z", email="MARKER2@example.org"), WHOLE),
        spelled(world, said("relation.recorded", "f2", FACT | {"relation_id": f"r-{WHOLE}", "rating": 4}), WHOLE),
    ]
    run(world, *messages[::order])
    [person] = opened(world, "consumers")
    assert person["personal"] == {"name": "MARKER Jos\u00e9", "email": "MARKER2@example.org"}
    assert (person["_id"], person["consumer_id"]) == (f"default:{WHOLE}", WHOLE)
    assert set(person["blind"]) == {"email"}
    [fact] = opened(world, "relations")
    assert (fact["text"], fact["rating"], fact["relation_id"]) == ("MARKER text", 4, f"r-{WHOLE}")
    assert [pair["count"] for pair in world.documents()["relationships"].values()] == [1]
    assert "MARKER" not in repr(world.documents())


def test_a_value_sealed_under_the_old_key_is_stored_as_if_it_had_been_under_the_new_one() -> None:
    worlds = kith(), kith()
    for world, id in zip(worlds, (PARTS, WHOLE), strict=True):
        run(world, spelled(world, profile(), id))
    assert worlds[0].documents()["consumers"] == worlds[1].documents()["consumers"]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("mode", ["anonymise", "delete"])
@pytest.mark.parametrize("id", [WHOLE, PARTS])
def test_an_erasure_of_either_spelling_erases_both(id: str, mode: str, first: bool) -> None:
    world = kith()
    messages = [
        spelled(world, each, by)
        for by in (PARTS, WHOLE)
        for each in (profile(f"e-{by}"), said("relation.recorded", f"f-{by}", FACT))
    ]
    erased = erasure(world, id, mode)
    run(world, *([erased, *messages] if first else [*messages, erased]))
    _gone(world, mode)


@pytest.mark.parametrize("mode", ["anonymise", "delete"])
@pytest.mark.parametrize("id", [WHOLE, PARTS])
def test_an_erasure_takes_what_was_stored_under_the_other_spelling(
    id: str, mode: str, as_before: pytest.MonkeyPatch
) -> None:
    world = kith()
    run(world, spelled(world, profile(), PARTS), spelled(world, said("relation.recorded", "f1", FACT), PARTS))
    assert set(world.documents()["consumers"]) == {f"default:{PARTS}"}
    as_before.undo()
    run(world, erasure(world, id, mode))
    _gone(world, mode)


def _gone(world: MemoryKith, mode: str) -> None:
    documents = world.documents()
    assert list(documents["consumers"].values()) == [
        {"_id": f"default:{WHOLE}", "tenant": "default", "consumer_id": WHOLE, "erased": mode}
    ]
    assert world.vault is not None
    assert all(isinstance(key, Destroyed) for key in world.vault.keys("default", [WHOLE, PARTS]).values())
    facts = list(documents["relations"].values())
    assert len(facts) == (mode == "anonymise")
    assert len(documents["relationships"]) == (mode == "anonymise")
    assert all(fact["consumer_id"] == world.vault.pseudonym("default", WHOLE) for fact in facts)
    left = repr({name: found for name, found in documents.items() if name in ("relations", "consumers")})
    assert "MARKER" not in left
    assert "kith1." not in left
    assert PARTS not in left


def _of_one(history: list[Event]) -> list[dict[str, Any]]:
    return [json.loads(encode(event)) for event in history]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.one_of(relation_events(), consumer_events()), st.booleans()), max_size=12))
def test_whatever_the_spellings_the_same_is_stored(history: list[tuple[Event, bool]]) -> None:
    """Also of what comes after an erasure, and with both spellings in different partitions."""
    events = _of_one([event for event, _ in history])
    old, new = kith(), kith()
    run(
        old,
        *(spelled(old, each, PARTS if parts else WHOLE) for each, (_, parts) in zip(events, history, strict=True)),
    )
    run(new, *(spelled(new, each, WHOLE) for each in events))
    assert _stored(old) == _stored(new)


def _stored(world: MemoryKith) -> dict[str, Any]:
    found = {}
    for name in ("consumers", "relations", "relationships", "erased", "erasures"):
        documents = {}
        for id, document in world.documents()[name].items():
            kept = dict(document)
            if "version" in kept:
                kept["version"] = {name: value for name, value in kept["version"].items() if name != "digest"}
            documents[id] = kept
        found[name] = documents
    return found


def test_what_only_looks_sealed_stays_unreadable() -> None:
    world = kith()
    message = spelled(world, profile(), PARTS)
    fields = json.loads(message.value)
    fields["data"]["personal"]["name"] = "kith1." + "A" * 60
    run(world, message._replace(value=json.dumps(fields).encode()))
    [stored] = world.documents()["consumers"].values()
    assert is_token(stored["personal"]["name"])
    [(_, unreadable)] = opener(world.vault)("default", [stored])
    assert unreadable == ["personal.name"]


def test_every_collection_with_ids_is_counted() -> None:
    """Parts of a relationship, which its own document counts, are not; nor are keys, which stay on purpose."""
    assert set(FIELDS) == set(own_collections(COLLECTIONS)) - {CELLS}
