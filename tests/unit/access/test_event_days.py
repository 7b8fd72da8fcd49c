"""The quota of events in a day, over several processes."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.access.event_days import EventDays, claim
from shared.contracts.errors import Unavailable
from shared.http.caller import Caller, Denied


class MemoryCounts:
    """As MongoCounts."""

    def __init__(self) -> None:
        self.days: dict[str, tuple[str, int]] = {}
        self.writes = 0
        self.away = False

    def claim(self, id: str, day: str, needed: int, wanted: int, most: int) -> tuple[int, int]:
        if self.away:
            raise Unavailable("the count cannot be read")
        self.writes += 1
        known, count = self.days.get(id, ("", 0))
        count = count if known >= day else 0
        claimed, free = claim(count, needed, wanted, most)
        self.days[id] = (max(known, day), count + claimed)
        return claimed, free


class World:
    def __init__(self, processes: int = 1) -> None:
        self.now = datetime(2026, 11, 29, 22, 0, tzinfo=UTC)
        self.counts = MemoryCounts()
        self.processes = [EventDays(self.counts, lambda: self.now) for _ in range(processes)]

    async def takes(self, caller: Caller, amount: int, process: int = 0) -> bool:
        try:
            await self.processes[process].take(caller, amount)
        except Denied:
            return False
        return True

    def sent(self, caller: Caller, amount: int, process: int = 0) -> bool:
        return asyncio.run(self.takes(caller, amount, process))


def caller(most: int | None, key: str = "k1") -> Caller:
    return Caller("acme", frozenset(), key=key, events_a_day=most)


@given(st.integers(0, 5_000), st.lists(st.tuples(st.integers(0, 2), st.integers(1, 400)), max_size=60))
def test_all_processes_together_never_take_more_and_refuse_a_hundredth_each_early(
    most: int, batches: list[tuple[int, int]]
) -> None:
    world, app = World(3), caller(most)

    # In one loop: one of its own for each of thousands of events costs a hundred times what they do.
    async def all_sent() -> int:
        taken = 0
        for process, amount in batches:
            if await world.takes(app, amount, process):
                taken += amount
            else:
                assert taken + amount > most - 2 * (most // 100 + 400)
        assert taken <= most
        # Nobody else's batches, one by one: the rest is there but for what others have taken.
        while await world.takes(app, 1):
            taken += 1
        [(_, count)] = world.counts.days.values() or [("", 0)]
        assert count == taken + sum(share.left for each in world.processes for share in each._shares.values())
        return taken

    taken = asyncio.run(all_sent())
    assert most - taken <= sum(share.left for each in world.processes for share in each._shares.values())


def test_a_quota_of_a_million_costs_a_hundred_writes_and_a_refusal_none() -> None:
    world, app = World(), caller(1_000_000)
    for _ in range(1_000):
        assert world.sent(app, 1_000)
    assert world.counts.writes == 100
    for _ in range(50):
        assert not world.sent(app, 1)
    assert world.counts.writes <= 101


def test_what_is_refused_says_until_when_and_another_day_and_another_credential_count_anew() -> None:
    world, app = World(), caller(10)
    assert world.sent(app, 8)
    with pytest.raises(Denied) as denied:
        asyncio.run(world.processes[0].take(app, 3))
    assert denied.value.status == 429
    assert denied.value.headers == {
        "Retry-After": "7200",
        "RateLimit-Limit": "10",
        "RateLimit-Remaining": "2",
        "RateLimit-Reset": "7200",
    }
    assert world.sent(app, 2), "what is refused takes nothing"
    assert not world.sent(app, 1)
    assert world.sent(caller(10, "k2"), 10)
    assert world.sent(caller(None), 10**6)
    assert not world.sent(caller(0, "k3"), 1)
    world.now += timedelta(hours=2)
    assert world.sent(app, 10)


def test_while_the_count_is_away_what_was_taken_is_spent_and_no_more() -> None:
    world, app = World(), caller(1_000)
    assert world.sent(app, 1)
    world.counts.away = True
    for _ in range(9):
        assert world.sent(app, 1)
    with pytest.raises(Unavailable):
        world.sent(app, 1)
    world.counts.away = False
    assert world.sent(app, 1)


def test_what_is_left_is_told_as_far_as_the_process_knows() -> None:
    world, app = World(2), caller(1_000)

    def left(process: int, amount: int) -> int:
        quota = asyncio.run(world.processes[process].take(app, amount))
        assert quota is not None
        assert (quota.limit, quota.reset) == (1_000, 7_200)
        return quota.remaining

    assert [left(0, 1), left(0, 1), left(1, 300), left(0, 8)] == [999, 998, 690, 990]
    assert left(0, 1) == 689, "it has asked again"
    assert asyncio.run(world.processes[0].take(caller(None), 5)) is None


def test_a_quota_that_the_tenant_changes_holds_at_once() -> None:
    world = World()
    assert world.sent(caller(10), 10)
    assert not world.sent(caller(10), 1)
    assert world.sent(caller(10_000), 500)
    assert not world.sent(caller(20), 1)
    assert world.sent(caller(10_000), 500)


def test_a_batch_that_does_not_fit_takes_nothing_from_the_other_processes() -> None:
    world, app = World(2), caller(1_000)
    assert world.sent(app, 5)
    for _ in range(3):
        assert not world.sent(app, 2_000)
    assert world.counts.days == {"acme/k1": ("2026-11-29", 10)}, "a hundredth of 1,000, and nothing of the batch"
    assert world.sent(app, 500, 1)
    assert not world.sent(app, 600), "others have taken so many"
    assert world.sent(app, 490)
    assert world.counts.days == {"acme/k1": ("2026-11-29", 995)}, "and what is left of the hundredth"


def test_what_surely_does_not_fit_is_refused_without_asking() -> None:
    world, app = World(), caller(100)
    assert world.sent(app, 90)
    assert not world.sent(app, 11)
    writes = world.counts.writes
    for amount in (11, 50, 101):
        assert not world.sent(app, amount)
    assert world.counts.writes == writes
    assert world.sent(app, 10)
