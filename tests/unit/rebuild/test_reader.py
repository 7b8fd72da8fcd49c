"""The reader of a rebuild holds back, and what a rebuild says of its progress."""

from typing import Any

import bson
import pytest

from services.rebuild.diff import differing, merged, same, why
from services.rebuild.reader import ThrottledReader
from services.rebuild.view import Progress, duration
from shared.runtime.protocols import Message, Partition
from shared.testing.memory import MemoryLog, MemoryReader
from tests.support.builders import STRENGTH

A, B = Partition("t", 0), Partition("t", 1)


class World:
    def __init__(self, rate: float | None = None, records: int = 5_000) -> None:
        log = MemoryLog({"t": 2})
        for n in range(records):
            log.append(Message("t", None, b"%d" % n, n % 2))
        self.now = 0.0
        self.bounds: dict[str, int] = {}
        self.inner = MemoryReader(log)
        self.inner.assign([A, B])
        self.reader = ThrottledReader(self.inner, lambda: self.bounds, rate, lambda: self.now)
        assert self.reader.poll(0).assigned == {A, B}
        self.offsets: dict[Partition, list[int]] = {A: [], B: []}

    def start(self, **bounds: int) -> None:
        self.bounds = {"t/0": bounds.get("a", 0), "t/1": bounds.get("b", 0)}
        for partition in (A, B):
            self.reader.start(partition, None)

    def poll(self, times: int = 1) -> int:
        count = 0
        for _ in range(times):
            for partition, records in self.reader.poll(0).records.items():
                self.offsets[partition] += [record.offset for record in records]
                count += len(records)
        return count


def test_nothing_comes_from_beyond_the_bounds() -> None:
    world = World()
    world.start(a=100)
    world.poll(10)
    assert world.offsets == {A: list(range(100)), B: []}
    world.bounds = {"t/0": 130, "t/1": 2_500}
    world.poll(20)
    assert world.offsets == {A: list(range(130)), B: list(range(2_500))}


def test_what_is_held_is_bounded() -> None:
    world = World(records=40_000)
    world.start()
    world.poll(100)
    assert max(len(held) for held in world.reader._held.values()) < 4_000
    world.bounds = {"t/0": 20_000, "t/1": 20_000}
    world.poll(200)
    assert world.offsets == {A: list(range(20_000)), B: list(range(20_000))}


def test_no_more_comes_than_the_rate_allows() -> None:
    world = World(rate=400.0)
    world.start(a=2_500, b=2_500)
    world.poll(5)
    counts = []
    for _ in range(40):
        world.now += 0.05
        counts.append(world.poll())
    assert 700 <= sum(counts) <= 800 + 200
    assert {count for count in counts if count} <= set(range(100, 201)), "in lots that are worth a transaction"
    assert min(map(len, world.offsets.values())) > 200, "one partition has waited for the other"
    world.now += 3_600
    assert world.poll() <= 200, "an hour of waiting was made up for at once"


def test_a_low_rate_is_kept_as_well() -> None:
    world = World(rate=2.0)
    world.start(a=2_500)
    count = 0
    for _ in range(100):
        world.now += 0.1
        count += world.poll()
    assert 18 <= count <= 21


def test_what_the_runner_paused_waits() -> None:
    world = World()
    world.start(a=2_500, b=2_500)
    world.reader.pause([A])
    world.poll(20)
    assert world.offsets == {A: [], B: list(range(2_500))}
    world.reader.resume([A])
    world.poll(20)
    assert world.offsets[A] == list(range(2_500))


def test_a_new_start_begins_there() -> None:
    world = World()
    world.start(a=2_500)
    world.poll(2)
    world.offsets[A].clear()
    world.reader.start(A, 7)
    world.poll(20)
    assert world.offsets[A] == list(range(7, 2_500))


def progress(done: int, goal: int, rate: float, growth: float = 0.0) -> Progress:
    return Progress("relations", 2, 1, done, goal, rate, growth)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (progress(0, 100_000, 0.0), "at 0.0 % (0 of 100,000 events), 0 a second"),
        (progress(43_000, 100_000, 2000.0), "43.0 % (43,000 of 100,000 events), 2,000 a second, about 28 s left"),
        (progress(43_000, 100_000, 2000.0, 1990.0), "about 1.6 h left"),
        (progress(43_000, 100_000, 100.0, 300.0), "version 1 advances by 300: at this rate it never catches up"),
        (progress(99_999, 100_000, 2000.0), "99.9 % (99,999 of 100,000 events), 2,000 a second, about 0 s left"),
        (progress(99_990, 100_000, 300.0, 300.0), "level with version 1"),
        (progress(0, 0, 0.0), "100.0 % (0 of 0 events), 0 a second, level with version 1"),
    ],
)
def test_progress_says_how_far_and_how_long(found: Progress, text: str) -> None:
    assert text in str(found)


def test_progress_for_programs() -> None:
    assert progress(50, 200, 30.0, 10.0).as_dict() == {
        "projection": "relations",
        "version": 2,
        "live": 1,
        "done": 50,
        "goal": 200,
        "left": 150,
        "level": False,
        "percent": 25.0,
        "rate": 30.0,
        "growth": 10.0,
        "seconds_left": 7.5,
    }
    assert progress(50, 200, 10.0, 10.0).as_dict()["seconds_left"] is None


def test_durations_are_short() -> None:
    assert [duration(s) for s in (0.4, 89, 100, 5_000, 90_000)] == ["0 s", "89 s", "2 min", "83 min", "25.0 h"]


def test_streams_are_merged_by_the_bytes_of_the_id() -> None:
    from services.rebuild.diff import Row

    def rows(*ids: str) -> list[Row]:
        return [Row(id.encode(), b"") for id in ids]

    found = merged(rows("a", "b", "é"), rows("b", "c", "z", "é", "ü"))
    assert [(((x and x.id) or b"").decode(), ((y and y.id) or b"").decode()) for x, y in found] == [
        ("a", ""), ("b", "b"), ("", "c"), ("", "z"), ("é", "é"), ("", "ü"),
    ]  # fmt: skip


def test_how_an_event_was_written_is_no_difference() -> None:
    from services.rebuild.diff import Comparison, Row

    def row(**version: Any) -> Row:
        return Row(b"a", bson.encode({"_id": "a", "version": {"time": 1, **version}}))

    comparison = Comparison()
    comparison.add(row(), row(digest="1"), lambda _one, _two: ("", ""))
    comparison.add(row(digest="2"), row(digest="1"), lambda _one, _two: ("", ""))
    assert comparison.same
    comparison.add(row(digest="1", id="e1"), row(digest="1", id="e2"), lambda _one, _two: ("", ""))
    assert comparison.different == 1


@pytest.mark.parametrize(
    ("one", "two", "equal"),
    [
        (1, 1, True), (1, 1.0, False), (1, True, False), ([1, 2], [2, 1], False), ({"a": 1}, {"a": 1.0}, False),
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}, True), ({"a": None}, {}, False), ("a", "a", True),
    ],
)  # fmt: skip
def test_same_is_strict(one: Any, two: Any, equal: bool) -> None:
    assert same(one, two) is equal


def test_fields_that_may_be_personal_are_not_shown() -> None:
    one = {"_id": "x", "personal": {"name": "Ada"}, "count": 1}
    two = {"_id": "x", "personal": {"name": "Eve"}, "count": 2, "text": "secret"}
    assert differing(one, two) == {"personal": ("…", "…"), "count": (1, 2), "text": (None, "…")}


def version(time: int, id: str) -> dict[str, Any]:
    return {"time": time, "source": "crm", "id": id}


def test_profiles_and_sums_are_explained() -> None:
    profile = why("consumers", 1, 2, STRENGTH)
    stated = [{**version(1, "a"), "fields": ["traits.n"]}, {**version(1, "b"), "fields": ["consent.sms"]}]
    one = {"_id": "x", "traits": {"n": 1}, "versions": stated}
    two = {**one, "versions": [stated[1], {**version(2, "a"), "fields": ["traits.n"]}]}
    assert profile(one, two) == ("other events", "traits.n come from other events")
    assert profile(one, {**one, "traits": {"n": 2}})[0] == "same events"
    earlier = {"_id": "x", "traits": {"m": 1}, "versions": {"traits": version(1, "a")}}
    assert profile(earlier, one)[0] == "fields"
    assert profile({"_id": "x", "erased": "delete"}, one)[0] == "erased"
    assert profile({"_id": "x", "erased": "delete"}, {"_id": "x", "erased": "anonymise"})[0] == "same events"
    sums = why("aggregates", 1, 2, STRENGTH)
    assert sums({"count": 3}, {"count": 4}) == ("sums", "count 3 in version 1, 4 in version 2")
