"""Erasure and the laws of exact state: with ``delete`` a consumer's facts have never been, with ``anonymise`` they
were the pseudonym's from the start, wherever in the order the erasure comes and however often."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import services.relations.fact_erasure as erasing
from services.demo.comparison import compare_documents
from services.demo.oracle import Oracle
from services.relations.fact_documents import without_digest
from shared.contracts.codec import decode, decode_fields, decode_internal
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import (
    ConsumerErased,
    Event,
    RelationRecorded,
    RelationRetracted,
    Version,
    document_id,
)
from shared.erasure.records import erasure_id, hashed
from shared.runtime.protocols import Message, Partition
from tests.support import builders
from tests.support.builders import TOPICS, MemoryKith, recorded, renamed, retracted, stored_state
from tests.support.builders import event as event_of
from tests.support.paths import EXAMPLES
from tests.support.strategies import TENANTS, consumer_events, relation_events


@st.composite
def erasures(draw: st.DrawFn) -> Event:
    """An erasure of somebody whom the other strategies know."""
    consumer, mode = draw(st.sampled_from(["ann", "c:1"])), draw(st.sampled_from(["anonymise", "delete"]))
    number, tenant = draw(st.integers(0, 99)), draw(TENANTS)
    data = {"consumer_id": consumer, "mode": mode}
    return event_of("consumer.erased", f"erase-{number}", "2026-03-01T00:00:00Z", data, tenant=tenant)


HISTORIES = st.lists(st.one_of(relation_events(), relation_events(), consumer_events(), erasures()), max_size=25)


@pytest.fixture(autouse=True, params=[1, 1000])
def at_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """How many facts one event moves: the least there can be, and all. And how many cells of a relationship one
    document holds: a few, and all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(erasing, "AT_ONCE", request.param)
        patch.setattr(builders, "MOST_CELLS", max(request.param, 2))
        yield


def modes_of(history: list[Event]) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for one in history:
        if isinstance(one, ConsumerErased):
            who = (one.tenant, one.data.consumer_id)
            found[who] = max(found.get(who, ""), one.data.mode)  # "delete" comes after "anonymise", here too
    return found


def without_the_erased(history: list[Event]) -> list[Event]:
    """The same history as if the deleted had never been, and the anonymised had always been called otherwise."""
    modes, found = modes_of(history), []
    for one in history:
        if not isinstance(one, RelationRecorded | RelationRetracted):
            continue
        mode = modes.get((one.tenant, one.data.consumer_id))
        if mode == "anonymise":
            changed = one.model_dump(mode="json", exclude_none=True)
            data = changed["data"]
            data["relation_id"] = renamed(one.tenant, data["consumer_id"], data["relation_id"])
            data["consumer_id"] = hashed(one.tenant, data["consumer_id"])
            changed["data"] = {name: value for name, value in data.items() if name not in ("text", "reason")}
            found.append(decode_fields(changed))
        elif mode is None:
            found.append(one)
    return found


def facts_of(state: dict[str, Any]) -> dict[str, Any]:
    """Facts and relationships; of the facts of pseudonyms not by what their events are known."""
    facts = {id: without_digest(fact) if _anonymous(fact) else fact for id, fact in state["relations"].items()}
    return {"relations": facts, "relationships": state["relationships"]}


def _anonymous(fact: dict[str, Any]) -> bool:
    return bool(fact["consumer_id"].startswith("p-"))


@given(HISTORIES, st.integers(1, 10))
@settings(max_examples=150)
def test_the_facts_are_those_of_a_world_without_the_erased(history: list[Event], slice_events: int) -> None:
    stored = stored_state(history, slice_events=slice_events)
    assert not any("digest" in fact["version"] for fact in stored["relations"].values() if _anonymous(fact))
    assert facts_of(stored) == facts_of(stored_state(without_the_erased(history)))
    assert {(d["tenant"], d["consumer_id"]): d["mode"] for d in stored["erased"].values()} == modes_of(history)
    assert {(d["tenant"], d["consumer_id"]): d["mode"] for d in stored["erasures"].values()} == modes_of(history)
    firsts: dict[tuple[str, str, str], Any] = {}
    for one in history:
        if isinstance(one, ConsumerErased):
            place = (one.tenant, one.data.consumer_id, one.data.mode)
            firsts[place] = min(firsts.get(place, one.version), one.version)
    assert firsts == {
        (d["tenant"], d["consumer_id"], mode): Version.stored(version)
        for d in stored["erasures"].values()
        for mode, version in d["asked"].items()
    }
    destroyed = {id for id, key in stored["data_keys"].items() if key["destroyed"]}
    assert destroyed == {document_id(*who) for who in modes_of(history)}


@given(HISTORIES, st.randoms(use_true_random=False), st.integers(1, 10))
@settings(max_examples=150)
def test_neither_order_nor_repetition_nor_slices_show(
    history: list[Event], chance: random.Random, slice_events: int
) -> None:
    shuffled = [*history, *chance.sample(history, len(history) // 2)]
    chance.shuffle(shuffled)
    assert stored_state(shuffled, slice_events=slice_events) == stored_state(history)


@given(HISTORIES, st.booleans())
@settings(max_examples=100)
def test_it_does_not_matter_which_topic_is_ahead(history: list[Event], facts_first: bool) -> None:
    kith = MemoryKith()
    kith.reader.revoke(kith.inputs)
    kith.publish(history)
    first = [p for p in kith.inputs if (TOPICS.short(p.topic) == "relations") == facts_first]
    kith.reader.assign(first)
    for _ in range(60):
        kith.now += 10.0
        kith.runner.step(0)
    kith.reader.assign([p for p in kith.inputs if p not in first])
    kith.drain()
    assert kith.documents() == stored_state(history)


@given(HISTORIES)
@settings(max_examples=60)
def test_a_replay_brings_nothing_back(history: list[Event]) -> None:
    kith = MemoryKith()
    kith.publish(history)
    kith.drain()
    live = {name: dict(documents) for name, documents in kith.documents().items()}
    changes = kith.values("relation-changes"), kith.values("consumer-changes")
    kith.store.positions.clear()
    kith.reader.revoke(kith.inputs)
    kith.runner.step(0)
    kith.reader.assign(kith.inputs)
    kith.drain()
    assert kith.documents() == live
    assert (kith.values("relation-changes"), kith.values("consumer-changes")) == changes


@given(HISTORIES, st.integers(1, 10), st.data())
@settings(max_examples=100)
def test_a_rebuild_holds_the_same_at_every_place_of_the_log(
    history: list[Event], slice_events: int, data: st.DataObject
) -> None:
    """Also while an erasure is half done: a rebuild reads the repetitions in the log and sends none."""
    live = MemoryKith()
    live.publish(history)
    live.drain()
    ends = {p: data.draw(st.integers(0, live.log.end(p))) for p in live.inputs}
    found = []
    for size in (1, slice_events):
        kith = MemoryKith(slice_events=size)
        for partition, end in ends.items():
            for record in live.log.records[partition][:end]:
                kith.log.append(Message(partition.topic, record.key, record.value or b"", partition.number))
        kith.publisher = Mute(kith)  # type: ignore[assignment]
        kith.reader, kith.runner = kith.worker(size)
        kith.reader.assign(kith.inputs)
        kith.drain()
        found.append(kith.documents())
    assert found[0] == found[1]
    assert_nothing_counts_twice(found[0])
    if all(end == live.log.end(p) for p, end in ends.items()):
        assert found[0] == live.documents()


def assert_nothing_counts_twice(state: dict[str, Any]) -> None:
    live = [fact for fact in state["relations"].values() if not fact["retracted"]]
    names = [(fact["tenant"], fact["relation_id"]) for fact in live if fact["consumer_id"].startswith("p-")]
    others = [fact for fact in live if not fact["consumer_id"].startswith("p-")]
    moved = {renamed(fact["tenant"], fact["consumer_id"], fact["relation_id"]) for fact in others}
    assert not moved & {relation for _, relation in names}
    counts = Counter((fact["tenant"], fact["consumer_id"], fact["provider_id"]) for fact in live)
    pairs = state["relationships"].values()
    assert {(p["tenant"], p["consumer_id"], p["provider_id"]): p["count"] for p in pairs} == counts


class Mute:
    """Publishes nothing, as a rebuild."""

    def __init__(self, kith: MemoryKith) -> None:
        self._publisher = kith.publisher

    def send(self, _messages: Any) -> Any:
        return self._publisher.send([])

    def close(self) -> None: ...


@given(HISTORIES)
@settings(max_examples=100)
def test_the_oracle_agrees(history: list[Event]) -> None:
    """Shares no code with the service. Where two events have one version, it does not say which counts."""
    seen: dict[Any, Event] = {}
    named = [
        one
        for one in history
        if seen.setdefault((one.tenant, one.time, one.source, one.id), one) is one
        and getattr(one.data, "rating", None) != 0  # the oracle leaves a sum of 0 out, the service does not
    ]
    stored = stored_state(named)
    oracle = Oracle()
    for one in named:
        oracle.add(one.model_dump(mode="json", exclude_none=True))
    documents = {name: list(stored.get(name, {}).values()) for name in ("relations", "relationships")}
    expected = replace(oracle.expected(), aggregates={}, consumers={}, providers={})
    findings = compare_documents(expected, {**documents, "aggregates": [], "consumers": [], "providers": []})
    assert findings.exact, findings.differences


def test_the_ledger_and_the_changes_tell_of_an_erasure() -> None:
    kith = MemoryKith()
    erased = {"consumer_id": "c1", "mode": "delete"}
    kith.publish([recorded("a", "2026-01-01T00:00:00Z", text="mine")])
    kith.publish([event_of("consumer.erased", "x", "2026-02-01T00:00:00Z", erased)])
    kith.drain()
    [entry] = kith.values("erasures")
    assert erasure_id("default", "c1").encode() in entry
    assert b'"mode":"delete"' in entry
    [change] = kith.values("consumer-changes")
    assert b'"erased":true' in change
    made = kith.values("relation-changes")
    assert len(made) == 2
    assert b'"after":null' in made[-1]
    assert b"mine" not in b"".join(made)


def test_the_door_does_not_know_the_internal_event() -> None:
    order = event_of("consumer.erased", "x", "2026-02-01T00:00:00Z", {"consumer_id": "c1", "mode": "delete"})
    kith = MemoryKith()
    kith.publish([order])
    kith.drain()
    [value] = kith.values("relations")
    assert decode_internal(value) is not None
    # On another topic than that of the facts it is refused, as anything that nobody knows.
    kith.log.append(Message(TOPICS.name("consumers"), b"default:c1", value, 0))
    kith.drain()
    [letter] = kith.documents()["dead_letters"].values()
    assert letter["reason"] == "unknown_type"


@pytest.mark.parametrize("first", ["erased", "recorded"])
def test_of_two_facts_of_one_version_the_same_counts_for_the_pseudonym(first: str) -> None:
    """A faulty upstream's. Free text, which a pseudonym's facts lack, must not decide between the two."""
    data: list[dict[str, Any]] = [{"text": "a", "traits": {"n": 2}}, {"text": "b", "traits": {"n": 1}}]
    twins: list[Event] = [recorded("same", "2026-01-01T00:00:00Z", **each) for each in data]
    anonymise = {"consumer_id": "c1", "mode": "anonymise"}
    erasure = event_of("consumer.erased", "x", "2026-02-01T00:00:00Z", anonymise)
    kith = MemoryKith(partitions=1)
    for some in ([erasure], twins) if first == "erased" else (twins, [erasure]):
        kith.publish(some)
        kith.drain()
    [fact] = kith.documents()["relations"].values()
    assert (fact["traits"], "text" in fact) == ({"n": 2}, False)


def test_an_event_between_two_steps_of_an_erasure_counts_once() -> None:
    kith = MemoryKith(partitions=1, slice_events=1)
    kith.publish([recorded(f"a{n}", "2026-01-01T00:00:00Z", f"r{n}") for n in range(3)])
    kith.drain()
    place = Partition(TOPICS.name("relations"), 0)
    anonymise = {"consumer_id": "c1", "mode": "anonymise"}
    kith.publish([event_of("consumer.erased", "x", "2026-02-01T00:00:00Z", anonymise)])
    while kith.log.end(place) == 3:
        kith.now += 10.0
        kith.runner.step(0)
    assert not kith.documents()["erased"]
    kith.publish([recorded("later", "2026-03-01T00:00:00Z", "r2", rating=4)])
    while kith.position(place) != kith.log.end(place):
        kith.now += 10.0
        kith.runner.step(0)
        assert_nothing_counts_twice(kith.documents())
    assert len(kith.documents()["relations"]) == 3


def test_a_replay_of_anonymise_and_then_delete_changes_nothing_in_between() -> None:
    kith = MemoryKith(partitions=1, slice_events=1)
    for number, mode in enumerate(("anonymise", "delete")):
        kith.publish([recorded(f"a{number}", "2026-01-01T00:00:00Z", f"r{number}")])
        kith.drain()
        data = {"consumer_id": "c1", "mode": mode}
        kith.publish([event_of("consumer.erased", mode, "2026-02-01T00:00:00Z", data)])
        kith.drain()
    changes = kith.values("relation-changes")
    kith.store.positions.clear()
    kith.reader.revoke(kith.inputs)
    kith.runner.step(0)
    kith.reader.assign(kith.inputs)
    kith.drain()
    assert kith.values("relation-changes") == changes


@pytest.mark.parametrize("name", ["relation.subject_erased.v1.json"])
def test_an_internal_event_decodes_for_ever_and_only_inside(name: str) -> None:
    raw = (EXAMPLES / "internal" / name).read_bytes()
    event = decode_internal(raw)
    assert event is not None
    assert (event.type, event.data.consumer_id, event.data.mode) == (name.split(".v")[0], "customer-7", "delete")
    with pytest.raises(InvalidEvent) as caught:
        decode(raw)
    assert caught.value.reason == "unknown_type"


def test_asking_again_carries_out_what_an_older_version_left() -> None:
    """As after an upgrade: the profile is erased, and the facts are as they were."""
    delete = event_of("consumer.erased", "x", "2026-02-01T00:00:00Z", {"consumer_id": "c1", "mode": "delete"})
    kith = MemoryKith(partitions=1)
    kith.publish([recorded("a", "2026-01-01T00:00:00Z")])
    kith.drain()
    fact, pair = dict(kith.documents()["relations"]), dict(kith.documents()["relationships"])
    kith.publish([delete])
    kith.drain()
    kith.documents()["relations"].update(fact)
    kith.documents()["relationships"].update(pair)
    kith.documents()["erased"].clear()
    kith.publish([delete])
    kith.drain()
    assert facts_of(kith.documents()) == {"relations": {}, "relationships": {}}
    assert len(kith.documents()["erased"]) == 1


def test_changes_of_a_pseudonym_name_neither_the_consumer_nor_the_event() -> None:
    kith = MemoryKith(partitions=1)
    kith.publish([recorded("till-1", "2026-01-01T00:00:00Z", "sale-1", amount=5, currency="EUR")])
    anonymise = {"consumer_id": "c1", "mode": "anonymise"}
    kith.publish([event_of("consumer.erased", "x", "2026-02-01T00:00:00Z", anonymise)])
    kith.drain()
    kith.publish([recorded("till-2", "2026-03-01T00:00:00Z", "sale-2", amount=7, currency="EUR")])
    kith.publish([retracted("till-3", "2026-04-01T00:00:00Z", "sale-1")])
    kith.drain()
    [log] = [records for p, records in kith.log.records.items() if p == Partition("kith.relation-changes", 0)]
    name = hashed("default", "c1").encode()
    theirs = [record for record in log if name in (record.value or b"")]
    assert len(theirs) == 3
    for record in theirs:
        assert record.key == b"default:" + name
        for told in (b'"c1"', b"sale-", b"till-"):
            assert told not in (record.value or b"")
    assert [fact["retracted"] for fact in kith.documents()["relations"].values()].count(False) == 1
