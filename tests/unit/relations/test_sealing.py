"""The relations service with a vault: plain text past the door, dead letters, the blind index."""

import json
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.relations.fact_documents import digest
from shared.contracts.codec import encode
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import Event
from shared.runtime.dead_letters import KEPT_BYTES, MAX_BYTES, document
from shared.runtime.protocols import Document, GetKeys, Message, Partition, Record
from shared.vault.dead_letters import NOTHING, SEALED_FOR, opened, owner_of, sealed_for
from shared.vault.fields import seal_event
from shared.vault.keys import Vault
from shared.vault.memory_store import MemoryKeyStore
from shared.vault.tokens import DataKey, Unreadable, is_token
from tests.support.builders import TOPICS, MemoryKith, event, recorded
from tests.support.vault import memory_vault

TIME = "2026-05-02T09:00:00Z"
FACT = {"relation_id": "r1", "kind": "view", "consumer_id": "c1", "provider_id": "p1"}


def kith(**options: Any) -> MemoryKith:
    return MemoryKith(1, 100, lambda _: memory_vault(), **options)


def ada(id: str = "e1", time: str = TIME, **personal: str) -> Event:
    named = {"name": "MARKER Ada", "email": "Ada@Example.org", "phone": "+41 79 1", **personal}
    return event("consumer.upserted", id, time, {"consumer_id": "ada", "personal": named})


def sealed(world: MemoryKith, one: Event) -> Event:
    assert world.vault is not None
    consumer_id = one.data.consumer_id  # type: ignore[union-attr]
    key = world.vault.keys(one.tenant, [consumer_id])[consumer_id]
    assert isinstance(key, DataKey)
    return seal_event(one, key)


def stored(world: MemoryKith, id: str = "default:ada") -> Document:
    found: Document = world.documents()["consumers"][id]
    return found


def test_plain_text_past_the_door_is_stored_as_the_door_would_have_it() -> None:
    world = kith()
    world.publish([ada(), recorded("e2", TIME, text="MARKER")])
    world.drain()
    assert "MARKER" not in repr(world.documents())
    assert is_token(stored(world)["personal"]["name"])
    before = {name: dict(found) for name, found in world.documents().items()}
    (fact,) = before["relations"].values()
    assert "digest" not in fact["version"], "whoever guesses the bytes must not find that they were these"
    duplicates = [sealed(world, ada()), sealed(world, recorded("e2", TIME, text="MARKER"))]
    world.publish(duplicates)
    world.drain()
    known = {**fact, "version": {**fact["version"], "digest": digest(encode(duplicates[1]))}}
    before["relations"] = {fact["_id"]: known}
    assert world.documents() == before, "a duplicate by the other way changes nothing else"


@pytest.mark.parametrize(
    ("before", "after", "known"),
    [
        (b'"text":', b'"text":"MARKER","text":', None),
        (b'"subject":', b'"x":{"text":"MARKER"},"subject":', False),
        (b'"kind":', b'"reason":"x","kind":', None),
        (b'"subject":"s"', b'"subject":"\\u00e9"', False),
        (b'"subject":"s"', b'"subject":"t"', True),
    ],
)
def test_bytes_that_may_hold_plain_text_are_no_way_to_know_an_event(
    before: bytes, after: bytes, known: bool | None
) -> None:
    """Of members that do not count, a guess must not find itself confirmed."""
    world = kith()
    said = sealed(world, event("relation.recorded", "e2", TIME, {**FACT, "text": "MARKER"}, subject="s"))
    value = encode(said).replace(before, after)
    assert value != encode(said)
    world.log.append(Message(TOPICS.name("relations"), b"default:c1", value))
    world.drain()
    found = [("digest" in fact["version"]) for fact in world.documents()["relations"].values()]
    assert found == ([] if known is None else [known])


def test_a_slice_without_plain_text_asks_for_no_key() -> None:
    world = kith()
    events = (recorded("e1", TIME), sealed(world, recorded("e2", TIME, text="x")))
    items = [(record(encode(one), topic="relations"), one) for one in events]
    fold = world.projection.project(items)
    asks = []
    try:
        ask = next(fold)
        while True:
            asks.append(ask)
            ask = fold.send(world.store.read(ask))
    except StopIteration:
        pass
    assert asks
    assert not any(isinstance(ask, GetKeys) for ask in asks)


def test_all_keys_of_a_slice_are_asked_for_at_once() -> None:
    store = MemoryKeyStore()
    world = MemoryKith(1, 100, lambda _: memory_vault(store))
    world.publish([recorded(f"e{n}", TIME, f"r{n}", consumer_id=f"c{n}", text="x") for n in range(50)])
    world.drain()
    assert store.finds == 1


def test_events_in_plain_text_are_counted_by_partition() -> None:
    world = kith()
    partition = Partition(TOPICS.name("relations"), 0)
    world.publish(
        [recorded("e1", TIME, "r1", text="x"), recorded("e2", TIME, "r2"), recorded("e3", TIME, "r3", text="y")]
    )
    world.runner.step(0)
    world.drain()
    assert world.projection.plaintext[partition] == 2


def test_plain_text_can_be_refused() -> None:
    world = kith(refuse=True)
    world.publish([ada(), sealed(world, ada("e2", name="Ada B.")), recorded("e3", TIME)])
    world.drain()
    assert is_token(stored(world)["personal"]["name"])
    [letter] = world.documents()["dead_letters"].values()
    assert (letter["reason"], letter["field"], letter["event_id"]) == ("plaintext", "data.personal.name", "e1")
    assert b"MARKER" not in letter["value"]


def test_nothing_personal_is_kept_of_a_consumer_whose_key_is_destroyed() -> None:
    world = kith()
    assert world.vault is not None
    world.vault.destroy("default", "c1")
    world.publish([recorded("e1", TIME, text="MARKER", rating=5)])
    world.drain()
    [fact] = world.documents()["relations"].values()
    assert (fact.get("text"), fact["rating"]) == (None, 5)


def test_the_slice_waits_while_the_keys_are_away() -> None:
    store = MemoryKeyStore()
    world = MemoryKith(1, 100, lambda _: memory_vault(store))
    store.available = False
    world.publish([ada()])
    for _ in range(20):
        world.now += 10
        world.runner.step(0)
    assert world.documents()["consumers"] == {}
    assert world.documents()["dead_letters"] == {}
    store.available = True
    world.drain()
    assert "MARKER" not in repr(stored(world))


# The blind index


def test_consumers_have_a_blind_index_however_they_came() -> None:
    world = kith()
    assert world.vault is not None
    wanted = {
        "email": world.vault.blind("default", "email", "ada@example.org"),
        "phone": world.vault.blind("default", "phone", "+41791"),
    }
    world.publish([ada()])
    world.drain()
    assert stored(world)["blind"] == wanted
    world.publish([sealed(world, ada("e2", "2026-05-03T00:00:00Z", name="A."))])
    world.drain()
    assert stored(world)["blind"] == wanted
    traits = {"consumer_id": "ada", "traits": {"n": 1}}
    world.publish([event("consumer.upserted", "e3", "2026-05-04T00:00:00Z", traits)])
    world.drain()
    assert stored(world)["blind"] == wanted


def test_the_index_moves_with_the_address_and_goes_with_it() -> None:
    world = kith()
    assert world.vault is not None
    world.publish([ada(), ada("e2", "2026-05-03T00:00:00Z", email="new@example.org")])
    world.drain()
    assert stored(world)["blind"]["email"] == world.vault.blind("default", "email", "NEW@example.org")
    world.publish([event("consumer.upserted", "e3", "2026-05-04T00:00:00Z", partial(name="Ada"))])
    world.drain()
    assert set(stored(world)["blind"]) == {"email", "phone"}, "a partial profile removes nothing"
    gone = partial(email=None, phone=None)
    world.publish([event("consumer.upserted", "e4", "2026-05-05T00:00:00Z", gone)])
    world.drain()
    assert "blind" not in stored(world)
    assert set(stored(world)["personal"]) == {"name"}


def partial(**personal: str | None) -> dict[str, Any]:
    return {"consumer_id": "ada", "personal": personal}


def test_a_forged_token_is_found_by_nothing_and_stops_nothing() -> None:
    world = kith()
    world.publish([ada(email="kith1." + "A" * 60)])
    world.drain()
    assert set(stored(world)["blind"]) == {"phone"}


def test_what_is_no_number_is_not_found() -> None:
    world = kith()
    world.publish([ada(phone="unknown", email=" ")])
    world.drain()
    assert "blind" not in stored(world)


def test_profiles_without_address_ask_for_no_key() -> None:
    store = MemoryKeyStore()
    world = MemoryKith(1, 100, lambda _: memory_vault(store))
    world.publish([event("consumer.upserted", "e1", TIME, {"consumer_id": "ada", "traits": {"n": 1}})])
    world.drain()
    assert store.finds == 0


# Dead letters

BROKEN = (
    b'{"specversion":"1.0","id":"e1","source":"s","type":"consumer.upserted","time":"2026-05-02T09:00:00Z",'
    + (b'"tenant":"acme","data":{"consumer_id":"ada","persnal":{"name":"MARKER"}}}')
)


def record(value: bytes | None, key: bytes | None = None, topic: str = "consumers") -> Record:
    return Record(Partition(TOPICS.name(topic), 0), 0, 0, key, value)


@pytest.mark.parametrize(
    ("value", "key", "topic", "owner"),
    [
        (BROKEN, None, "consumers", ("acme", "ada")),
        (BROKEN.replace(b'"ada"', b"5"), b"acme:bob", "consumers", ("acme", "bob")),
        (BROKEN.replace(b'"ada"', b"5"), b"acme:a:b", "relations", ("acme", "a:b")),
        (b"MARKER", b"acme:bob", "providers", ("acme", "")),
        (b"MARKER", b"no tenant", "consumers", ("default", "")),
        (b"MARKER", b"ACME:bob", "consumers", ("default", "")),
        (b'{"tenant":"acme","x":"MARKER"}', None, "consumers", ("acme", "")),
        (b'{"tenant":{},"x":"MARKER"}', None, "consumers", ("default", "")),
        (b'["MARKER"]', b"\xff\xfe", "consumers", ("default", "")),
        (b"", b"", "consumers", ("default", "")),
        # Half an emoji, which JavaScript sends, and NaN: what is no JSON, and can be read all the same.
        (BROKEN.replace(b"MARKER", rb"MARKER \ud83d"), None, "consumers", ("acme", "ada")),
        (BROKEN.replace(b'"MARKER"', b"NaN"), b"other:bob", "consumers", ("acme", "ada")),
    ],
)
def test_under_whose_key_a_letter_is_sealed(
    value: bytes, key: bytes | None, topic: str, owner: tuple[str, str]
) -> None:
    assert owner_of(record(value, key, topic)) == owner


@given(
    st.sampled_from(["tenant", "type", "id", "consumer_id"]), st.text(st.characters(), max_size=4), st.booleans()
)
def test_what_a_letter_says_of_a_broken_event_can_be_stored(name: str, text: str, half: bool) -> None:
    """Half an emoji is no text for MongoDB. A letter that cannot be stored would stop the worker."""
    fields = json.loads(BROKEN) | {name: text + ("\ud83d" if half else "")}
    fields["data"] |= {"consumer_id": fields.pop("consumer_id", "ada"), "half": "\ud83d"}
    letter = document(record(json.dumps(fields).encode()), InvalidEvent("invalid", "is wrong"), "relations")
    assert bson.decode(bson.encode(letter))["reason"] == "invalid"
    owner = owner_of(record(json.dumps(fields).encode()))
    assert all(each.encode() is not None for each in owner)


@pytest.fixture
def buried() -> tuple[MemoryKith, Vault]:
    world = kith()
    assert world.vault is not None
    topic = TOPICS.name("consumers")
    world.log.append(Message(topic, b"acme:ada", BROKEN, headers=(("h", b"1"),)))
    world.log.append(Message(topic, b"\xff", b"MARKER no event"))
    world.publish([ada()])
    world.drain()
    return world, world.vault


def test_dead_letters_show_nothing_and_open_again(buried: tuple[MemoryKith, Vault]) -> None:
    world, vault = buried
    letters = list(world.documents()["dead_letters"].values())
    assert "MARKER" not in repr(letters)
    assert not any(b"MARKER" in value for value in world.values("dead-letters"))
    found = []
    for letter in letters:
        headers = tuple((each["name"], each["value"]) for each in letter["headers"])
        owner = sealed_for(letter["value"], headers)
        assert owner is not None
        found.append(opened(letter["value"], owner, vault.keys(owner[0], [owner[1]])[owner[1]]))
    assert found == [BROKEN, b"MARKER no event"]
    assert (letters[0]["tenant"], letters[0]["type"], letters[0]["event_id"]) == (
        "acme",
        "consumer.upserted",
        "e1",
    )
    assert letters[0]["headers"][0] == {"name": "h", "value": b"1"}


def test_the_message_of_a_dead_letter_says_for_whom_it_is_sealed(buried: tuple[MemoryKith, Vault]) -> None:
    world, vault = buried
    [one, *_] = [r for p, log in world.log.records.items() if p.topic == TOPICS.name("dead-letters") for r in log]
    assert dict(one.headers)["kith-reason"] == b"invalid"
    assert dict(one.headers)[SEALED_FOR] == b'["acme", "ada"]'
    assert opened(one.value or b"", ("acme", "ada"), vault.keys("acme", ["ada"])["ada"]) == BROKEN
    with pytest.raises(Unreadable):
        opened(one.value or b"", ("acme", "bob"), vault.keys("acme", ["ada"])["ada"])


def test_a_letter_of_what_is_too_large_is_cut_and_then_sealed() -> None:
    world = kith()
    assert world.vault is not None
    large = BROKEN.replace(b"MARKER", b"MARKER" * MAX_BYTES)
    world.log.append(Message(TOPICS.name("consumers"), b"k", large, headers=(("h", b"MARKER"),)))
    world.drain()
    [letter] = world.documents()["dead_letters"].values()
    assert letter["tenant"] == "acme"
    assert letter["cut"] == {"key_bytes": 1, "value_bytes": len(large), "headers": 1}, (
        "no hash to try guesses with"
    )
    [owner] = letter["headers"]
    assert owner == {"name": SEALED_FOR, "value": b'["acme", "ada"]'}, "told by the whole of it"
    [message] = [r for p, log in world.log.records.items() if p.topic == TOPICS.name("dead-letters") for r in log]
    headers = dict(message.headers)
    assert headers["kith-value-bytes"] == str(len(large)).encode()
    assert "kith-value-sha256" not in headers
    assert headers[SEALED_FOR] == owner["value"]
    assert message.value == letter["value"]
    assert "MARKER" not in repr((letter, message))
    assert opened(letter["value"], ("acme", "ada"), world.vault.keys("acme", ["ada"])["ada"]) == large[:KEPT_BYTES]


def test_of_a_letter_of_who_is_erased_nothing_is_kept() -> None:
    world = kith()
    assert world.vault is not None
    world.vault.destroy("acme", "ada")
    world.log.append(Message(TOPICS.name("consumers"), b"acme:ada", BROKEN))
    world.drain()
    [letter] = world.documents()["dead_letters"].values()
    assert letter["value"] == NOTHING


def test_destroying_a_key_takes_the_letters_with_it(buried: tuple[MemoryKith, Vault]) -> None:
    world, vault = buried
    vault.destroy("acme", "ada")
    letter = next(iter(world.documents()["dead_letters"].values()))
    assert opened(letter["value"], ("acme", "ada"), vault.keys("acme", ["ada"])["ada"]) is None


def test_without_a_vault_letters_are_as_they_came() -> None:
    world = MemoryKith(1, 100)
    world.log.append(Message(TOPICS.name("consumers"), b"acme:ada", BROKEN))
    world.drain()
    [letter] = world.documents()["dead_letters"].values()
    assert letter["value"] == BROKEN
