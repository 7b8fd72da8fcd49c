"""Filling queues: whose turn it is, how much is fed, and what holds up nobody."""

from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock, patch

import pytest

from services.webhooks.delivery.queue import Changes, Queue
from services.webhooks.delivery.sender import MOST_QUEUED
from services.webhooks.fanout.feed import Feed, Part
from services.webhooks.fanout.queue_filler import QueueFiller
from services.webhooks.log_reader import LogReader
from services.webhooks.metrics import SenderMetrics
from shared.contracts.errors import Unavailable
from shared.http.processor import Processor
from shared.observability.metrics import new_registry
from shared.runtime.protocols import Document, Partition

FOREVER = 1e9


class World:
    """Endpoints, and how many pieces are left of each of their parts; which were fed, in order."""

    def __init__(self, left: dict[str, dict[str, int]], **options: Any) -> None:
        self.left, self.fed, self.length = left, list[str](), 0
        self.broken: set[str] = set()
        self.queue = Mock(spec=Queue)
        self.queue.length.side_effect = lambda _id, _most: self.length
        self.queue.lengths.side_effect = lambda ids: dict.fromkeys(ids, self.length)
        self.reader = Mock(spec=LogReader)
        self.most: list[int] = []
        #: Seconds that a tenant has to wait for the processor: 0 when it need not.
        self.waits: dict[str, float] = {}
        self.processor = Mock(spec=Processor)
        self.processor.wait_seconds.side_effect = lambda owner: self.waits.get(owner.tenant, 0.0)
        self.feeding = QueueFiller(
            self.queue,
            self._feed,
            lambda: self.reader,
            SenderMetrics(new_registry()),
            processor=self.processor,
            **{"seconds": 0.0, **options},
        )

    def _feed(self, reader: Callable[[], LogReader]) -> Feed:
        reader()
        feed = Mock(spec=Feed)
        feed.parts.side_effect = self._parts
        feed.replayed.side_effect = lambda: {
            id for id, left in self.left.items() if any("~" in name for name in left)
        }
        feed.unfed.side_effect = lambda ids: {id for id in ids if any(self.left[id].values())}
        feed.enqueue.side_effect = self._enqueue
        return feed

    def _parts(self, id: str) -> list[Part]:
        found = []
        for name, pieces in self.left[id].items():
            lane, _, replay = name.partition("~")
            if pieces:
                found.append(Part(f"{id}/{lane}", Partition("t", 0), 0, 0, pieces, 0, None, replay or None))
        return found

    def _enqueue(self, endpoint: Document, part: Part, most: int) -> tuple[int, int]:
        self.most.append(most)
        id = endpoint["_id"]
        name = part.key.removeprefix(f"{id}/").removesuffix("~")
        self.fed.append(f"{id}/{name}")
        if id in self.broken:
            raise ValueError("broken")
        self.left[id][name] -= 1
        return 0, 1

    def all(self) -> None:
        self.feeding.fill([{"_id": id, "tenant": id.partition(":")[0], "state": "enabled"} for id in self.left])


def test_a_slice_decides_who_is_next_and_not_how_much_is_fed() -> None:
    world = World({"acme:a": {"0": 20, "1": 5}, "acme:b": {"0": 3}, "zoo:c": {"0": 4}}, rounds_seconds=FOREVER)
    world.all()
    assert Counter(world.fed) == {"acme:a/0": 20, "acme:a/1": 5, "acme:b/0": 3, "zoo:c/0": 4}
    assert world.fed[:6] == ["acme:a/0", "zoo:c/0", "acme:b/0", "zoo:c/0", "acme:a/1", "zoo:c/0"]


def test_endpoints_are_looked_at_anew_after_a_while() -> None:
    world = World({"acme:a": {"0": 9}, "acme:b": {"0": 9}}, rounds_seconds=0.0)
    for _ in range(3):
        world.all()
    assert world.fed == ["acme:a/0", "acme:b/0", "acme:a/0"]


def test_feeding_ends_with_the_process() -> None:
    looks = iter([False] * 5 + [True])
    world = World({"acme:a": {"0": 1_000_000}}, rounds_seconds=FOREVER, ended=lambda: next(looks, True))
    world.all()
    assert len(world.fed) == 5
    world.queue.purge.assert_not_called()


@pytest.mark.parametrize("seconds", [0.0, FOREVER])
def test_each_lane_has_its_turn_where_all_of_them_always_have_something_left(seconds: float) -> None:
    world = World({"acme:a": {str(n): 1_000 for n in range(12)}}, seconds=seconds, rounds_seconds=0.0)
    calls = 0
    while len({*world.fed}) < 12:
        world.all()
        calls += 1
    assert calls == (12 if seconds == 0.0 else 2)


def test_ranges_come_before_what_is_live_and_each_has_its_turn() -> None:
    left = {"0": 2, "1": 2, "0~r": 2, "1~r": 2, "2~r": 2}
    world = World({"acme:a": left}, rounds_seconds=FOREVER)
    world.all()
    ranges, live = ["0~r", "1~r", "2~r"], ["0", "1"]
    assert world.fed == [f"acme:a/{name}" for name in ranges * 2 + live * 2]


def test_one_that_fails_is_not_tried_again_at_once_and_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    world = World({"acme:a": {"0": 3}, "acme:b": {"0": 3}}, rounds_seconds=FOREVER)
    world.broken = {"acme:a"}
    world.all()
    assert Counter(world.fed) == {"acme:a/0": 1, "acme:b/0": 3}
    assert len(caplog.records) == 1


def test_a_queue_that_is_half_full_is_fed_no_more() -> None:
    world = World({"acme:a": {"0": 3}}, rounds_seconds=FOREVER)
    world.length = MOST_QUEUED // 2
    world.all()
    assert world.fed == []


@pytest.mark.parametrize(("endpoints", "each"), [(1, 4_000), (2, 2_000), (50, 80), (100, 40), (400, 40)])
def test_the_endpoints_of_a_tenant_share_its_queue(endpoints: int, each: int) -> None:
    world = World({f"acme:{n:03d}": {"0": 1} for n in range(endpoints)} | {"zoo:a": {"0": 1}}, seconds=FOREVER)
    world.length = each // 2 - 1
    world.all()
    assert Counter(world.most) == Counter({each - world.length: endpoints}) + Counter([MOST_QUEUED - world.length])
    world.length = each // 2
    world.fed.clear()
    world.all()
    assert [id for id in world.fed if id.startswith("acme")] == []


def test_one_whose_queue_is_full_is_not_enqueued_for_until_it_is_half_empty() -> None:
    world = World({"acme:a": {}, "acme:b": {}}, seconds=FOREVER)
    world.length = 5_000
    world.all()
    assert [call.args[1].stated for call in world.queue.change.call_args_list] == [{"full": True}] * 2


def test_who_has_used_its_share_of_the_processor_is_fed_later_and_holds_up_no_other() -> None:
    rounds = 0

    def ended() -> bool:
        nonlocal rounds
        rounds += 1
        if rounds > 8:
            world.waits.clear()
        return False

    world = World({"acme:a": {"0": 2}, "zoo:b": {"0": 2}}, rounds_seconds=FOREVER, ended=ended)
    world.waits["acme"] = 0.001
    world.all()
    assert world.fed == ["zoo:b/0", "zoo:b/0", "acme:a/0", "acme:a/0"]
    assert {call.args[0].tenant for call in world.processor.spent.call_args_list} == {"acme", "zoo"}


@pytest.mark.parametrize("others", [0, 1, 50])
def test_those_who_have_nothing_to_feed_take_together_one_share(others: int) -> None:
    world = World(
        {"acme:a": {"0": 3}} | {f"t{n}:a": {} for n in range(others)}, seconds=FOREVER, rounds_seconds=FOREVER
    )
    world.all()
    assert world.fed == ["acme:a/0"] * 3
    tenants = {call.args[0].tenant for call in world.processor.spent.call_args_list}
    assert tenants == ({"acme", ""} if others else {"acme"})


@pytest.mark.parametrize("idle", [0, 1, 50])
def test_as_many_requests_find_what_is_to_be_fed_beside_any_number_of_idle_endpoints(idle: int) -> None:
    world = World({"acme:a": {"0": 1}} | {f"acme:{n}": {} for n in range(idle)}, seconds=FOREVER)
    world.all()
    world.all()
    assert world.fed == ["acme:a/0"]
    calls = Counter(name for name, _, _ in world.queue.method_calls)
    assert calls == {"lengths": 2, "length": 2, "purge": 1}


@pytest.mark.parametrize(
    ("endpoint", "length", "changes"),
    [
        ({"full": True}, 1_999, [Changes(removed={"full"})]),
        ({"full": True}, 2_000, []),
        ({"full": True}, 4_000, []),
        ({}, 3_999, []),
        ({}, 4_000, [Changes({"full": True})]),
        ({"state": "disabled"}, 0, []),
        ({"state": "disabled", "notice": True}, 0, [Changes(removed={"notice"})]),
        ({"only_told": True, "full": True}, 0, []),
    ],
)
def test_what_changes_in_an_endpoint_is_stored_although_nothing_is_to_be_fed(
    endpoint: Document, length: int, changes: list[Changes]
) -> None:
    world = World({"acme:a": {}})
    world.length = length
    world.queue.endpoints.return_value = []
    told = {"url": "https://a.example/", "reason": "gone", "revision": 1}
    world.feeding.fill([{"_id": "acme:a", "tenant": "acme", "state": "enabled", **told, **endpoint}])
    assert [call.args[1] for call in world.queue.change.call_args_list] == changes


def test_who_has_filled_its_queue_has_fed_all_the_same() -> None:
    """Its turn is its own, although it has none after it."""
    world = World({"acme:a": {"0": 3, "1": 3}, "zoo:b": {}}, seconds=FOREVER, rounds_seconds=FOREVER)
    world.length = MOST_QUEUED // 2 - 1
    enqueue = world.feeding._feed.enqueue

    def filling(*arguments: Any) -> Any:
        world.length += 1
        return enqueue(*arguments)

    with patch.object(world.feeding._feed, "enqueue", filling):
        world.all()
    assert len(world.fed) == 1
    assert "acme" in {call.args[0].tenant for call in world.processor.spent.call_args_list}


def test_a_purge_that_fails_is_not_repeated_each_second_and_costs_no_reader() -> None:
    world = World({})
    world.queue.purge.side_effect = Unavailable("no MongoDB")
    with pytest.raises(Unavailable):
        world.all()
    world.all()
    world.queue.purge.assert_called_once()
    world.reader.close.assert_not_called()
