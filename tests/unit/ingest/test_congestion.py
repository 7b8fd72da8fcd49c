"""What a tenant may send while the workers are behind, against a model of them."""

import math
from collections import deque
from dataclasses import dataclass, field
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest import congestion
from services.ingest.congestion import LEAST, TenantRate
from shared.access.keys import NO_LIMIT
from shared.http.caller import SCOPES, Caller, Denied
from shared.http.problems.client import SHARE_USED_UP
from shared.http.problems.kind import ProblemType

_STEP = 0.05
_LOOKS = 10


def caller(tenant: str) -> Caller:
    return Caller(tenant=tenant, name="test", key=f"key of {tenant}", scopes=frozenset(SCOPES), limit=NO_LIMIT)


@dataclass
class World:
    """Workers that store ``capacity`` events a second in the order of their coming, a door, and its senders."""

    capacity: float
    target: float = 0.3
    now: float = 1000.0
    waiting: deque[tuple[float, str, int]] = field(default_factory=deque)
    waits: dict[str, list[float]] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)
    problems: list[tuple[int, ProblemType | None, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rate = TenantRate(self.target, lambda: self.now)
        self._steps, self._paid = 0, 0.0

    def send(self, tenant: str, events: int) -> bool:
        try:
            self.rate.check(caller(tenant))
            self.rate.charge(caller(tenant), events)
        except Denied as error:
            self.problems.append((error.status, error.kind, int(error.headers["Retry-After"]) >= 1))
            self.refused[tenant] = self.refused.get(tenant, 0) + 1
            return False
        self.waiting.append((self.now, tenant, events))
        return True

    def step(self) -> None:
        self.now += _STEP
        self._steps += 1
        self._paid += self.capacity * _STEP
        while self.waiting and self._paid > 0:
            since, tenant, events = self.waiting.popleft()
            self._paid -= events
            self.waits.setdefault(tenant, []).append(self.now - since)
            self.stored[tenant] = self.stored.get(tenant, 0) + events
        if not self.waiting:
            self._paid = min(self._paid, 0.0)
        if self._steps % _LOOKS == 0:
            self.rate.looked(self.now - self.waiting[0][0] if self.waiting else 0.0)

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


@settings(max_examples=20)
@given(st.floats(500, 20_000), st.floats(1.5, 5), st.sampled_from([100, 500, 2_500]), st.floats(0.005, 0.05))
def test_nobody_waits_for_one_who_sends_too_much_and_little_is_lost(
    capacity: float, times: float, batch: int, share: float
) -> None:
    world = World(capacity)
    loads = {"noisy": (max(capacity * times, LEAST * 4), batch), "quiet": (min(capacity * share, LEAST / 2), 1)}
    world.run(20, loads)
    world.waits.clear()
    world.stored.clear()
    world.run(40, loads)
    assert "quiet" not in world.refused
    waits = sorted(world.waits["quiet"])
    # A batch is admitted whole, and its events are stored before what comes after it.
    assert waits[len(waits) // 2] < 0.75 + 2 * batch / capacity
    assert {*world.problems} == {(429, SHARE_USED_UP, True)}
    if batch / capacity < 0.1:
        assert world.stored["noisy"] > 0.5 * capacity * 40


def test_two_who_send_too_much_have_the_same() -> None:
    world = World(4_000)
    loads = {"one": (5_000.0, 100), "two": (20_000.0, 100), "three": (10.0, 1)}
    world.run(30, loads)
    world.stored.clear()
    world.run(60, loads)
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


def test_what_its_quota_says_holds_again_when_the_workers_keep_up() -> None:
    world = World(1_000)
    world.run(30, {"noisy": (5_000.0, 500), "quiet": (5.0, 1)})
    assert world.rate.most < 5_000
    world.run(120, {"noisy": (200.0, 100), "quiet": (5.0, 1)})
    assert world.rate.most == math.inf


def test_nobody_is_refused_while_nothing_is_stored() -> None:
    """Workers that stand are not behind: what comes waits in Kafka."""
    rate = TenantRate(0.3, lambda: 5.0)
    for _ in range(100):
        rate.charge(caller("one"), 2_500)
        rate.charge(caller("two"), 1)
        rate.looked(0.0)


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
        rate = TenantRate(0.3, lambda: world.now)
        for tenant in ("one", "two", "three", "one", "four"):
            rate.charge(caller(tenant), 2_500)
            rate.looked(0.0)
            world.now += 0.01
        rate.most = 100.0
        for tenant in ("one", "three", "four"):
            with pytest.raises(Denied):
                rate.check(caller(tenant))
        rate.check(caller("two"))


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
    world.rate.looked(2.0)
    assert world.rate.most < math.inf
