"""What a tenant may send while the workers are behind, against a model of them."""

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest import congestion
from services.ingest.congestion import LEAST, MOST_WAIT_SECONDS, TenantRate
from services.ingest.delivery import TURN
from shared.access.keys import NO_LIMIT
from shared.http.caller import SCOPES, Caller, Denied
from shared.http.problems.client import SHARE_USED_UP
from shared.http.problems.kind import ProblemType
from shared.runtime.behind import Behind

_STEP = 0.01
_LOOKS = 10
_SLICE, _MANY = 1_000, 20
#: So many looks later the door hears what the workers say.
SAID = 2


def caller(tenant: str) -> Caller:
    return Caller(tenant=tenant, name="test", key=f"key of {tenant}", scopes=frozenset(SCOPES), limit=NO_LIMIT)


@dataclass
class World:
    """Workers that store slices of what waits, in the order of its coming, at most ``capacity`` events a second,
    and say how far they are behind; a door that hears it ``SAID`` looks later; and its senders."""

    capacity: float
    target: float = 0.15
    now: float = 1000.0
    waiting: deque[tuple[float, str, int]] = field(default_factory=deque)
    waits: dict[str, list[float]] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)
    answered: dict[str, list[float]] = field(default_factory=dict)
    problems: list[tuple[int, ProblemType | None, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rate = TenantRate(self.target, lambda: self.now)
        self._steps = 0
        self._slice, self._stored_at = list[tuple[float, str, int]](), 0.0
        self._behind, self._moved_at, self._begun_at = Behind(), self.now, self.now
        self._said = deque([0.0] * SAID, maxlen=SAID)
        #: When the next turn of a batch asks, the tenant, what is left, since when, and when it asks no longer.
        self._turns: list[tuple[float, int, str, int, float, float]] = []
        self._batches = count()

    def send(self, tenant: str, events: int) -> bool:
        try:
            self.rate.check(caller(tenant))
            self.rate.charge(caller(tenant), events)
        except Denied as error:
            self.problems.append((error.status, error.kind, int(error.headers["Retry-After"]) >= 1))
            self.refused[tenant] = self.refused.get(tenant, 0) + 1
            return False
        self._ask(tenant, events, self.now)
        return True

    def _ask(self, tenant: str, left: int, since: float, until: float | None = None) -> None:
        until = self.now + MOST_WAIT_SECONDS if until is None else until
        if wait := self.rate.wait_seconds(caller(tenant), min(left, TURN), must=self.now >= until):
            heapq.heappush(self._turns, (self.now + wait, next(self._batches), tenant, left, since, until))
            return
        self.waiting.append((self.now, tenant, min(left, TURN)))
        if left > TURN:
            self._ask(tenant, left - TURN, since)
        else:
            self.answered.setdefault(tenant, []).append(self.now - since)

    def _publish(self) -> None:
        while self._turns and self._turns[0][0] <= self.now:
            self._ask(*heapq.heappop(self._turns)[2:])

    def step(self) -> None:
        self.now += _STEP
        self._steps += 1
        self._publish()
        if self.now >= self._stored_at:
            self._store()
        if self._steps % _LOOKS == 0:
            self.rate.looked(self._said[0])
            left = [*self._slice, *self.waiting]
            self._behind.since = left[0][0] if left else None
            many = sum(each[2] for each in left) >= _MANY
            self._said.append(self._behind.seconds(self._moved_at, self.now) if many else 0.0)

    def _store(self) -> None:
        for since, tenant, events in self._slice:
            self.waits.setdefault(tenant, []).append(self.now - since)
            self.stored[tenant] = self.stored.get(tenant, 0) + events
        if self._slice:
            self._moved_at = self.now
            self._behind.stored(sum(each[2] for each in self._slice), self.now - self._begun_at)
        self._slice.clear()
        while self.waiting and sum(each[2] for each in self._slice) < _SLICE:
            self._slice.append(self.waiting.popleft())
        if self._slice:
            self._begun_at = self.now
            self._stored_at = self.now + 0.03 + sum(each[2] for each in self._slice) / self.capacity

    def run(self, seconds: float, loads: dict[str, tuple[float, int]]) -> None:
        """Each tenant wants so many events a second, in batches of so many."""
        due = dict.fromkeys(loads, self.now)
        end = self.now + seconds
        while self.now < end:
            for tenant, (wanted, batch) in loads.items():
                while due[tenant] <= self.now:
                    self.send(tenant, batch)
                    due[tenant] += batch / wanted
            self.step()


def median(waits: Sequence[float]) -> float:
    return sorted(waits)[len(waits) // 2]


@settings(max_examples=8)
@given(st.floats(1_000, 8_000), st.floats(1.5, 3), st.sampled_from([100, 500, 2_500]), st.floats(0.005, 0.05))
def test_nobody_waits_for_one_who_sends_too_much_and_little_is_lost(
    capacity: float, times: float, batch: int, share: float
) -> None:
    world = World(capacity)
    loads = {"noisy": (max(capacity * times, LEAST * 4), batch), "quiet": (min(capacity * share, LEAST / 2), 1)}
    world.run(5, loads)
    world.waits.clear()
    world.stored.clear()
    world.run(12, loads)
    assert "quiet" not in world.refused
    assert median(world.waits["quiet"]) < 0.4
    assert {*world.problems} == {(429, SHARE_USED_UP, True)}
    if batch <= capacity:
        assert world.stored["noisy"] > 0.2 * capacity * 12
    # A batch waits for its turns, as long as a request may, and is published whole.
    assert max(world.answered["noisy"]) < MOST_WAIT_SECONDS * (1 + math.ceil(batch / TURN))


@settings(max_examples=10)
@given(st.floats(1_500, 20_000), st.sampled_from([(20_000, 100), (20_000, 2_500), (5_000, 500), (500, 1)]))
def test_nobody_waits_for_the_beginning_of_a_flood(capacity: float, load: tuple[float, int]) -> None:
    """What the workers can store is not known yet."""
    world = World(capacity)
    world.run(2, {"quiet": (5.0, 1)})
    world.waits.clear()
    world.run(3, {"quiet": (20.0, 1), "noisy": load})
    assert median(world.waits["quiet"]) < 0.5
    assert max(world.waits["quiet"]) < 1.0
    assert "quiet" not in world.refused


def test_what_is_sent_in_time_may_be_more_and_more() -> None:
    world = World(50_000)
    loads = {"much": (10_000.0, 100), "quiet": (5.0, 1)}
    world.run(10, loads)
    world.refused.clear()
    world.stored.clear()
    world.run(10, loads)
    assert world.refused == {}
    assert world.stored["much"] == pytest.approx(100_000, rel=0.05)


def test_two_who_send_too_much_have_the_same() -> None:
    world = World(4_000)
    loads = {"one": (5_000.0, 100), "two": (10_000.0, 100), "three": (10.0, 1)}
    world.run(10, loads)
    world.stored.clear()
    world.run(30, loads)
    assert world.stored["one"] == pytest.approx(world.stored["two"], rel=0.15)
    assert "three" not in world.refused


def test_who_is_alone_has_all_of_it_and_may_be_late() -> None:
    world = World(1_000)
    world.run(60, {"alone": (5_000.0, 500)})
    assert world.refused == {}
    assert world.rate.most == math.inf


def test_workers_that_catch_up_after_an_outage_need_no_less() -> None:
    world = World(2_000)
    loads = {"steady": (1_000.0, 100), "quiet": (5.0, 1)}
    world.run(10, loads)
    # What came in a minute in which nothing was stored.
    since = world.now
    world.waiting.extend((since - 60 + number * 0.1, "steady", 100) for number in range(600))
    lowest = math.inf
    for _ in range(60):
        world.run(0.5, loads)
        lowest = min(lowest, world.rate.most)
    assert 0 < len(world.waiting) < 600
    assert lowest > 500


def test_workers_that_are_late_for_something_else_need_no_less() -> None:
    """As while an upstream writes into Kafka itself, or MongoDB stands for a moment."""
    world = World(10_000)
    loads = {"one": (50.0, 1), "two": (5.0, 1)}
    world.run(5, loads)
    before = world.rate.most
    world.waiting.extend((world.now, "kafka", 1_000) for _ in range(50))
    world.run(3, loads)
    assert world.rate.most == before
    world.waiting.extend((world.now, "kafka", 1_000) for _ in range(50))
    world.run(3, {**loads, "one": (900.0, 100)})
    assert world.rate.most < before


def test_what_its_quota_says_holds_soon_while_nothing_is_stored() -> None:
    """Workers that stand are not behind: what comes waits in Kafka."""
    world = World(1_000)
    loads = {"noisy": (5_000.0, 500), "quiet": (5.0, 1)}
    world.run(10, loads)
    assert world.rate.most < 5_000
    world.capacity = math.inf  # so that nobody is behind
    world.run(10, loads)
    world.refused.clear()
    world.run(10, loads)
    assert world.refused == {}


def test_a_credential_of_all_tenants_has_no_limit() -> None:
    world = World(100)
    world.run(10, {"one": (5_000.0, 500), "two": (5.0, 1)})
    assert world.rate.most < 5_000
    unbound = Caller(tenant="one", name="all", key="all", scopes=frozenset(SCOPES), limit=NO_LIMIT, bound=False)
    for _ in range(100):
        world.rate.charge(unbound, 2_500)


def test_where_there_are_too_many_tenants_those_are_forgotten_that_have_sent_nothing_for_longest() -> None:
    world = World(100)
    with patch.object(congestion, "_MOST_TENANTS", 3):
        rate = TenantRate(0.15, lambda: world.now)
        for tenant, events in (("one", 1), ("two", 2_500), ("three", 2_500), ("one", 2_500), ("four", 2_500)):
            rate.charge(caller(tenant), events)
            rate.looked(0.0)
            world.now += 0.01
        for tenant in ("one", "three", "four"):
            with pytest.raises(Denied):
                rate.check(caller(tenant))
        rate.check(caller("two"))


def test_a_few_requests_of_a_tenant_wait_for_their_turn_and_no_more() -> None:
    async def story() -> None:
        rate = TenantRate(0.2)
        rate.charge(caller("quiet"), 1)
        rate.charge(caller("noisy"), 100)
        assert rate.wait_seconds(caller("noisy"), 100) == 0.0
        waiting = [asyncio.create_task(rate.turn(caller("noisy"), 1)) for _ in range(16)]
        await asyncio.sleep(0)
        assert not any(each.done() for each in waiting)
        with pytest.raises(Denied):
            rate.check(caller("noisy"))
        rate.check(caller("quiet"))
        await rate.turn(caller("quiet"), 1)
        waiting.pop().cancel()
        await asyncio.sleep(0)
        rate.check(caller("noisy"))
        await asyncio.gather(*waiting)

    asyncio.run(story())


def test_who_is_alone_from_now_on_is_admitted_however_many_of_its_requests_wait() -> None:
    async def story() -> None:
        now = 0.0
        rate = TenantRate(0.2, lambda: now)
        rate.charge(caller("other"), 1)
        now = 3_599.0
        rate.charge(caller("noisy"), 100)
        assert rate.wait_seconds(caller("noisy"), 100) == 0.0
        waiting = [asyncio.create_task(rate.turn(caller("noisy"), 1)) for _ in range(16)]
        await asyncio.sleep(0)
        with pytest.raises(Denied):
            rate.check(caller("noisy"))
        now = 3_600.0
        rate.looked(0.0)
        assert rate.most == math.inf
        rate.check(caller("noisy"))
        await asyncio.gather(*waiting)

    asyncio.run(story())


def test_a_batch_that_is_still_being_published_counts_although_another_tenant_came_later() -> None:
    now = 0.0
    rate = TenantRate(0.2, lambda: now)
    rate.charge(caller("noisy"), 2_500)
    rate.charge(caller("quiet"), 1)
    for _ in range(25):
        now += 0.1
        rate.wait_seconds(caller("noisy"), 100)
        rate.looked(0.0)
    rate.looked(0.3)
    assert rate.most > 500, "what the workers took of it just now is no reason to begin with the least again"


def test_who_has_sent_nothing_for_an_hour_is_not_there() -> None:
    world = World(100)
    for tenant in ("one", "two"):
        world.rate.charge(caller(tenant), 2_500)
        world.now += 2_000
    world.now += 1_700
    world.rate.looked(1.0)
    assert world.rate.most == math.inf
    world.rate.charge(caller("two"), 2_500)
    world.rate.charge(caller("one"), 1)
    assert world.rate.most < math.inf
