"""The query cache: what it keeps, how old it lets an answer grow, and that no change is lost on it."""

import threading
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from services.relations.cache import MAX_AGE_SECONDS, QueryCache
from services.relations.invalidation import OwnWrites, subjects
from shared.runtime.protocols import Partition, Policy, Record
from tests.support.builders import MemoryKith, event, recorded, retracted

KEPT: list[Policy] = ["lru", "lfu", "ttl"]
JAN, FEB = "2026-01-10T12:00:00Z", "2026-02-10T12:00:00Z"


class Source:
    """Answers that count how often they are asked for, under a clock that stands still."""

    def __init__(self, policy: Policy, entries: int = 100) -> None:
        self.now = 1000.0
        self.cache = QueryCache(policy, entries, lambda: self.now)
        self.loads = 0

    def get(self, key: str, *subjects: Any, during: Callable[[], Any] = lambda: None) -> int:
        """The number of the load that the answer is from."""

        def load() -> int:
            self.loads += 1
            number = self.loads
            during()
            return number

        found: int = self.cache.get(key, subjects or (key,), load)
        return found


@pytest.fixture(params=KEPT)
def source(request: pytest.FixtureRequest) -> Source:
    return Source(request.param)


def test_an_answer_is_kept_by_its_key(source: Source) -> None:
    assert [source.get(key) for key in ("a", "b", "a", "b", "a")] == [1, 2, 1, 2, 1]
    assert (source.cache.hits, source.cache.misses) == (3, 2)


def test_that_there_is_nothing_is_kept_too(source: Source) -> None:
    asked: list[int] = []
    for _ in range(2):
        assert source.cache.get("nobody", ["nobody"], lambda: asked.append(1)) is None
    assert len(asked) == 1


def test_an_answer_never_grows_older_than_a_second(source: Source) -> None:
    assert MAX_AGE_SECONDS == 1.0
    assert source.get("a") == 1
    source.now += 0.999
    assert source.get("a") == 1
    source.now += 0.002
    assert source.get("a") == 2


def test_age_counts_from_before_the_answer_was_loaded(source: Source) -> None:
    def slowly() -> None:
        source.now += 0.9

    assert source.get("a", during=slowly) == 1
    source.now += 0.2
    assert source.get("a") == 2


def test_a_change_drops_what_tells_of_its_subject(source: Source) -> None:
    assert [source.get("a", "x", "y"), source.get("b", "y"), source.get("c", "z")] == [1, 2, 3]
    source.cache.forget(["y"])
    assert [source.get("a", "x", "y"), source.get("b", "y"), source.get("c", "z")] == [4, 5, 3]
    source.cache.forget(["x", "unknown"])
    assert [source.get("a", "x", "y"), source.get("b", "y"), source.get("c", "z")] == [6, 5, 3]


def test_a_change_while_loading_drops_the_answer_at_once(source: Source) -> None:
    assert source.get("a", "x", during=lambda: source.cache.forget(["x"])) == 1
    assert source.get("a", "x") == 2
    assert source.get("a", "x") == 2


def test_a_slow_load_cannot_bring_back_an_old_answer(source: Source) -> None:
    def overtaken() -> None:
        source.cache.forget(["x"])
        assert source.get("a", "x") == 2

    assert source.get("a", "x", during=overtaken) == 1
    assert source.get("a", "x") != 1


def test_a_failed_load_leaves_nothing_behind(source: Source) -> None:
    def fail() -> None:
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        source.get("a", during=fail)
    assert source.get("a") == 2


@pytest.mark.parametrize("policy", KEPT)
def test_a_full_cache_drops_what_is_used_least(policy: Policy) -> None:
    source = Source(policy, entries=2)
    assert [source.get(key) for key in ("a", "b", "a", "c")] == [1, 2, 1, 3]
    assert [source.get(key) for key in ("a", "c", "b")] == [1, 3, 4]


@pytest.mark.parametrize(("policy", "kept"), [("lru", False), ("lfu", True), ("ttl", False)])
def test_lfu_keeps_what_is_asked_for_often(policy: Policy, kept: bool) -> None:
    source = Source(policy, entries=2)
    for key in ("a", "a", "a", "b", "c"):
        source.get(key)
    assert (source.get("a") == 1) is kept


@pytest.mark.parametrize(("policy", "kept"), [("lru", False), ("lfu", False), ("ttl", True)])
def test_ttl_drops_what_is_too_old_first(policy: Policy, kept: bool) -> None:
    source = Source(policy, entries=2)
    for key, after in (("a", 0.9), ("b", 0.05), ("a", 0.1), ("c", 0.0)):
        source.get(key)
        source.now += after
    assert (source.get("b") == 2) is kept


def test_off_keeps_nothing() -> None:
    source = Source("off")
    assert [source.get("a"), source.get("a")] == [1, 2]
    source.cache.forget(["a"])


def test_threads_always_see_what_they_have_changed() -> None:
    """Each thread raises its own value, tells the cache and reads: less than its value would be stale."""
    cache, values, stale = QueryCache("lru", 3), [0] * 4, []

    def work(number: int) -> None:
        for turn in range(1, 500):
            values[number] = turn
            cache.forget([number])
            if cache.get(number, [number], lambda: values[number]) != turn:
                stale.append((number, turn))
            cache.get((number + 1) % 4, [(number + 1) % 4], lambda: values[(number + 1) % 4])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stale == []


def told(value: bytes | None) -> list[Any]:
    return list(subjects(Record(Partition("kith.relation-changes", 0), 0, 0, None, value)))


def test_real_changes_name_the_keys_of_the_queries() -> None:
    kith = MemoryKith(partitions=1)
    kith.publish(
        [
            recorded("e1", JAN, consumer_id="c:1"),
            recorded("e2", FEB, consumer_id="c:1", provider_id="p2", occurred_at=JAN),
            event("consumer.upserted", "e3", JAN, {"consumer_id": "c:1"}, tenant="acme"),
            event("provider.closed", "e4", JAN, {"provider_id": "p1"}),
        ]
    )
    kith.publish([retracted("e5", "2026-03-01T00:00:00Z", consumer_id="c:1")])
    kith.drain()
    consumer, pair = ("consumer_id", "default", "c:1"), ("relationship", "default", "c:1")
    p1, p2 = ({consumer, ("provider_id", "default", provider), (*pair, provider)} for provider in ("p1", "p2"))
    assert [set(told(value)) for value in kith.values("relation-changes")] == [p1, p1 | p2, p2]
    assert [told(value) for value in kith.values("consumer-changes")] == [[("consumers", "acme", "c:1")]]
    assert [told(value) for value in kith.values("provider-changes")] == [[("providers", "default", "p1")]]


def change(type: str = "relation.changed", tenant: object = "t", **data: object) -> bytes:
    facts = {"consumer_id": "c1", "before": None, "after": None}
    return orjson.dumps({"type": type, "tenant": tenant, "data": {**facts, **data}})


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"\xff",
        b"null",
        b"7",
        b"[]",
        b'"text"',
        b"{}",
        b'{"type": "relation.changed", "tenant": "t", "data": null}',
        b'{"type": "relation.changed", "tenant": "t", "data": "x"}',
        change("order.changed"),
        change("consumer.changed", consumer_id={}),
        change("provider.changed"),
        change(tenant=["t"]),
        change(tenant=None),
        change(consumer_id=["c1"]),
        change(consumer_id={}),
    ],
)
def test_what_is_no_change_names_nothing(value: bytes | None) -> None:
    assert told(value) == []


@pytest.mark.parametrize("after", [7, "p1", [1], {}, {"provider_id": ["p1"]}, {"provider_id": 7}])
def test_a_malformed_fact_names_nothing_that_the_cache_could_not_hold(after: object) -> None:
    found = told(change(after=after))
    assert found == [("consumer_id", "t", "c1")]
    QueryCache("lru", 1).forget(found)


def test_nothing_that_was_answered_before_is_given_after_a_clearing(source: Source) -> None:
    assert (source.get("a"), source.get("a")) == (1, 1)
    source.cache.clear()
    assert (source.get("a"), source.get("a")) == (2, 2)


def test_an_answer_that_was_being_loaded_during_a_clearing_is_not_kept(source: Source) -> None:
    assert source.get("a", during=source.cache.clear) == 1
    assert source.get("a") == 2


def test_it_is_idle_until_somebody_asks_and_a_while_after_the_last(source: Source) -> None:
    assert source.cache.idle
    source.get("a")
    assert not source.cache.idle
    source.now += 2 * MAX_AGE_SECONDS
    assert not source.cache.idle
    source.now += 10 * MAX_AGE_SECONDS
    assert source.cache.idle


def test_a_cache_that_keeps_nothing_is_always_idle() -> None:
    off = Source("off")
    off.get("a")
    assert off.cache.idle


def test_what_the_own_worker_stores_is_forgotten_once_it_is_stored(source: Source) -> None:
    kith = MemoryKith()
    kith.reader, kith.runner = kith.worker(observer=OwnWrites(source.cache))
    kith.reader.assign(kith.inputs)
    subjects: tuple[Any, ...] = (
        ("relationship", "default", "c1", "p1"),
        ("consumer_id", "default", "c1"),
        ("provider_id", "default", "p1"),
        ("consumers", "default", "c1"),
        ("providers", "default", "p1"),
        ("relationship", "default", "c2", "p1"),
    )

    def ask() -> list[int]:
        """Which of the answers had to be loaded."""
        before = source.loads
        return [n for n, subject in enumerate(subjects) if source.get(str(n), subject) > before]

    assert ask() == [0, 1, 2, 3, 4, 5]
    kith.publish([recorded("e1", JAN, relation_id="r1", consumer_id="c1", provider_id="p1")])
    kith.drain()
    assert ask() == [0, 1, 2]
    kith.publish([event("consumer.upserted", "e2", JAN, {"consumer_id": "c1"})])
    kith.publish([event("provider.upserted", "e3", JAN, {"provider_id": "p1"})])
    kith.drain()
    assert ask() == [3, 4]
    kith.publish([retracted("e4", FEB, relation_id="r1", consumer_id="c1", provider_id="p1")])
    kith.drain()
    assert ask() == [0, 1, 2]
    kith.drain()
    assert ask() == []
