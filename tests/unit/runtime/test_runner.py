"""The runner in memory: what each kind of failure leads to."""

import copy
import threading
from collections.abc import Generator, Sequence
from typing import Any

import orjson
import pytest

from shared.contracts.codec import encode
from shared.contracts.errors import ConfigurationError, Stale, Unavailable
from shared.contracts.events import event_key
from shared.runtime.protocols import (
    Answer,
    Ask,
    Claim,
    Message,
    OutboxBatch,
    Outcome,
    Partition,
    Progress,
    Record,
    Slice,
)
from shared.runtime.sequence_numbers import NUMBER, ORIGIN
from shared.testing.memory import MemoryReader
from tests.support.builders import ARRIVAL_MS, TOPICS, MemoryKith, stored_state
from tests.support.runner import (
    CHANGES,
    PLACE,
    RELATIONS,
    WatchedStore,
    analytics_of,
    kith_with,
    runner_of,
    steps,
    views,
)


def test_a_store_that_is_away_costs_time_only() -> None:
    kith = kith_with(WatchedStore())
    events = views(8)
    kith.store.available = False
    kith.publish(events)
    steps(kith, 50)
    assert not kith.runner.partitions[PLACE].opened, "cannot claim"
    kith.store.available = True
    steps(kith, 1)
    kith.store.available = False
    steps(kith, 50)
    assert kith.runner.partitions[PLACE].backlog == 8
    assert kith.documents()["relations"] == {}
    kith.store.available = True
    kith.drain()
    assert kith.documents() == stored_state(events, partitions=1)
    assert kith.documents()["dead_letters"] == {}
    assert kith.values("dead-letters") == []


def test_a_slice_that_failed_is_tried_again_as_it_was() -> None:
    def away(attempt: int) -> None:
        if attempt in (2, 3):
            raise Unavailable("for now")

    store = WatchedStore(away)
    kith = kith_with(store)
    kith.publish(views(9))
    kith.drain()
    first, *same, last = [(slice.before, slice.after, slice.outcome) for slice in store.tries]
    assert same[0] == same[1] == same[2]
    assert [slice[1].next for slice in (first, same[0], last)] == [3, 6, 9]


def test_a_slice_that_a_falling_primary_forgets_is_folded_anew() -> None:
    """It is stored on a primary, not on a majority, and the answer is lost. What is read there says that there is
    nothing to do; then another server is primary, which has never heard of it."""

    class Failover(WatchedStore):
        replicated: Any = None
        failed = False

        def commit(self, slice: Slice) -> list[OutboxBatch]:
            if self.replicated is None and slice.outcome.writes:
                self.replicated = copy.deepcopy((self.collections, self.positions, self.outbox))
                super().commit(slice)
                raise Unavailable("no answer")
            if not self.failed and self.replicated is not None:
                self.failed = True
                self.collections, self.positions, self.outbox = self.replicated
            return super().commit(slice)

        def claim(self, position: str, owner: str) -> tuple[Claim, Progress]:
            if not self.failed and self.replicated is not None:
                # No majority takes a claim on the old primary.
                self.failed = True
                self.collections, self.positions, self.outbox = self.replicated
            return super().claim(position, owner)

    kith = kith_with(Failover())
    events = views(3)
    kith.publish(events)
    kith.drain()
    assert kith.documents() == stored_state(events, partitions=1)
    assert len(kith.values("relation-changes")) == 3


def test_numbers_in_headers_of_others_say_nothing() -> None:
    """As a stream processor passes them on that reads changes and emits events."""
    kith = kith_with(WatchedStore())
    events = views(3)
    for number, event in zip((57, 57, 1), events, strict=True):
        headers = ((ORIGIN, b"relations@1/kith.relations/0"), (NUMBER, b"%d" % number))
        kith.log.append(Message(RELATIONS, event_key(event), encode(event), headers=headers))
    kith.drain()
    assert kith.documents() == stored_state(events, partitions=1)
    assert kith.store.positions[f"relations@1/{PLACE}"].progress.seen == {}


def test_what_is_held_back_is_bounded_in_bytes() -> None:
    kith = kith_with(WatchedStore(), slice_events=2_000)
    steps(kith, 1)
    kith.store.available = False
    (event,) = views(1)
    padding = (("padding", b" " * 30_000),)  # one object: the test itself needs no memory
    for _ in range(3_500):
        kith.log.append(Message(RELATIONS, event_key(event), encode(event), headers=padding))
    steps(kith, 50)
    state = kith.runner.partitions[PLACE]
    assert state.paused
    assert 0 < state.backlog <= 2_000, "fewer than of events of an ordinary size"
    assert state.bytes < 64 * 1024 * 1024
    kith.store.available = True
    kith.drain()
    assert kith.position(PLACE) == 3_500
    assert kith.documents() == stored_state([event], partitions=1)
    assert kith.runner.partitions[PLACE].bytes == 0


def test_a_bad_event_becomes_a_dead_letter_and_the_next_one_passes() -> None:
    kith = kith_with(WatchedStore())
    bad = orjson.dumps(
        {
            "specversion": "1.0",
            "id": "bad",
            "source": "test",
            "type": "relation.recorded",
            "time": "2026-03-01T00:00:00Z",
            "tenant": "acme",
            "data": {"relation_id": "r", "kind": "view", "consumer_id": "c1", "provider_id": "p1", "rating": 101},
        }
    )
    kith.log.append(Message(RELATIONS, b"acme:c1", bad, headers=(("trace", b"\xff"),)))
    kith.log.append(Message(RELATIONS, None, b"{"))
    kith.publish(views(1))
    kith.drain()
    letters = kith.documents()["dead_letters"]
    assert set(letters) == {f"{RELATIONS}/0/0", f"{RELATIONS}/0/1"}
    letter = letters[f"{RELATIONS}/0/0"]
    assert (letter["reason"], letter["field"], letter["service"]) == ("invalid", "data.rating", "relations")
    assert (letter["topic"], letter["partition"], letter["offset"]) == (RELATIONS, 0, 0)
    assert (letter["tenant"], letter["type"], letter["event_id"]) == ("acme", "relation.recorded", "bad")
    assert (letter["key"], letter["value"]) == (b"acme:c1", bad)
    assert letter["headers"] == [{"name": "trace", "value": b"\xff"}]
    assert letter["time"].timestamp() * 1000 == ARRIVAL_MS
    first, second = kith.log.records[Partition(TOPICS.name("dead-letters"), 0)]
    headers = dict(first.headers)
    assert (first.key, first.value) == (b"acme:c1", bad)
    assert (headers["kith-reason"], headers["kith-field"]) == (b"invalid", b"data.rating")
    assert headers["kith-origin-record"] == f"{RELATIONS}/0/0".encode()
    assert (second.value, dict(second.headers)["kith-reason"]) == (b"{", b"not_json")
    assert len(kith.documents()["relations"]) == 1


def test_nothing_but_bad_events_still_moves_the_position() -> None:
    kith = kith_with(WatchedStore())
    for _ in range(7):
        kith.log.append(Message(RELATIONS, b"k", b"null"))
    kith.drain()
    assert kith.position(PLACE) == 7
    assert len(kith.values("dead-letters")) == len(kith.documents()["dead_letters"]) == 7


@pytest.mark.parametrize("timestamp", [-1, -(2**63), 2**63 - 1, 1_700_000_000_000_000])
def test_a_timestamp_that_is_no_time_stops_nothing(timestamp: int) -> None:
    kith = kith_with(WatchedStore())
    kith.log._clock = lambda: timestamp  # as a producer that counts microseconds writes it
    kith.publish(views(1))
    kith.log.append(Message(RELATIONS, b"k", b"{"))
    kith.drain()
    assert kith.position(PLACE) == 2


class Broken:
    """A projection with a fault in it."""

    def __init__(self, kith: MemoryKith, where: str) -> None:
        self.name, self.version, self.topics = "relations", 1, kith.projection.topics
        self.numbered, self.weight = False, kith.projection.weight
        self._kith, self._where = kith, where

    def decode(self, record: Record) -> Any:
        if self._where == "decode":
            raise KeyError("a fault")
        return self._kith.projection.decode(record)

    def project(self, items: Sequence[tuple[Record, Any]]) -> Generator[Ask, Answer, Outcome]:
        yield from self._kith.projection.project(items)
        raise KeyError("a fault")


@pytest.mark.parametrize("where", ["decode", "project"])
def test_a_fault_in_a_projection_stops_the_runner_without_a_commit(where: str) -> None:
    kith = kith_with(WatchedStore())
    reader = MemoryReader(kith.log)
    reader.assign(kith.inputs)
    kith.publish(views(2))
    with pytest.raises(KeyError, match="a fault"):
        runner_of(kith, reader, projection=Broken(kith, where)).run(threading.Event())
    assert kith.position(PLACE) is None
    assert kith.documents()["relations"] == {}
    assert kith.documents()["dead_letters"] == {}
    kith.drain()
    assert len(kith.documents()["relations"]) == 2, "a repaired worker goes on where it stopped"


def test_a_lost_race_is_run_again_at_once() -> None:
    def lost(attempt: int) -> None:
        if attempt <= 10:
            raise Stale("someone was faster")

    store = WatchedStore(lost)
    kith = kith_with(store)
    kith.publish(views(2))
    for _ in range(20):
        kith.now += 0.1
        kith.runner.step(0)
    assert len(kith.documents()["relations"]) == 2
    assert kith.runner.partitions[PLACE].races == 0


def test_races_may_be_lost_for_as_long_as_a_dead_process_keeps_its_transaction() -> None:
    kith: MemoryKith

    def lost(_: int) -> None:
        if kith.now < began + 200:
            raise Stale("someone is faster")

    store = WatchedStore(lost)
    kith = kith_with(store)
    began = kith.now
    kith.publish(views(2))
    for _ in range(300):
        kith.now += 1
        kith.runner.step(0)
    assert len(kith.documents()["relations"]) == 2
    assert len(store.tries) < 200, "less and less often"


def test_after_a_refused_transaction_fewer_events_share_one() -> None:
    most = 2

    def too_large(attempt: int) -> None:
        if len(store.tries[attempt - 1].outcome.writes) > most + 1:  # facts, and their relationship
            raise Stale("larger than MongoDB accepts")

    store = WatchedStore(too_large)
    kith = kith_with(store, slice_events=8)
    events = views(40)
    kith.publish(events)
    kith.drain()
    assert kith.documents() == stored_state(events, partitions=1)
    most = 100
    more = views(200)
    kith.publish(more)
    kith.drain()
    last = store.tries[-2]
    assert (last.after.next or 0) - (last.before.next or 0) == 8, "and then as many as before"


def test_races_lost_without_end_stop_the_runner() -> None:
    def lost(_: int) -> None:
        raise Stale("someone was faster")

    kith = kith_with(WatchedStore(lost))
    kith.publish(views(2))
    with pytest.raises(RuntimeError, match=rf"{RELATIONS}/0: lost \d+ races in a row: someone was faster"):
        steps(kith, 400)
    assert kith.position(PLACE) is None


def test_revoked_with_a_backlog_stores_no_more() -> None:
    kith = kith_with(WatchedStore())
    events = views(10)
    kith.publish(events)
    steps(kith, 3)
    assert (kith.position(PLACE), kith.runner.partitions[PLACE].backlog) == (6, 4)
    old = kith.runner
    kith.reader.revoke(kith.inputs)
    steps(kith, 5)
    assert old.partitions == {}
    assert kith.position(PLACE) == 6
    kith.reader, kith.runner = kith.worker()
    kith.reader.assign(kith.inputs)
    kith.drain()
    assert kith.documents() == stored_state(events, partitions=1)


def test_a_partition_that_goes_and_comes_back_is_claimed_anew() -> None:
    kith = kith_with(WatchedStore())
    events = views(10)
    kith.publish(events)
    steps(kith, 2)
    kith.reader.revoke(kith.inputs)
    kith.reader.assign(kith.inputs)
    kith.drain()
    assert kith.store.positions[f"relations@1/{PLACE}"].epoch == 2
    assert kith.documents() == stored_state(events, partitions=1)


def test_a_position_outside_the_log_stops_the_runner() -> None:
    kith = kith_with(WatchedStore())
    kith.store.claim(f"relations@1/{PLACE}", "earlier")
    kith.store.positions[f"relations@1/{PLACE}"].progress = Progress(5)
    with pytest.raises(ConfigurationError, match="offset 5"):
        steps(kith, 2)


@pytest.mark.parametrize("steps_a_worker", [1_000, 2])
def test_a_trimmed_log_may_begin_with_what_has_no_number(steps_a_worker: int) -> None:
    """The first slice shows no number, so the second must still be allowed to begin with any."""
    kith = kith_with(WatchedStore())
    kith.publish(views(9))
    kith.drain()
    changes = Partition(CHANGES, 0)
    kept = kith.log.records[changes][4:]
    kith.log.trim(changes, 9)
    for record in [Record(changes, 0, 0, None, b"{}")] * 3 + kept:
        kith.log.append(Message(changes.topic, record.key, record.value or b"", 0, record.headers))
    store = analytics_of(kith, steps_a_worker=steps_a_worker)
    assert store.positions[f"analytics@1/{changes}"].progress.seen == {f"relations@1/{PLACE}": 9}
    assert store.collections["aggregates"]["default:total::2026-03-01:0"]["count"] == 5
