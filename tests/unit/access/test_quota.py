"""Quotas of requests, events and erasures: of a credential and of its tenant."""

import pytest

from shared.access.quota import Quotas, Rates
from shared.http.caller import Caller, Denied

A1, A2, B = Caller("a", frozenset(), key="1"), Caller("a", frozenset(), key="2"), Caller("b", frozenset(), key="1")
NONE = Rates("none")


class World:
    def __init__(self, requests: Rates = NONE, events: Rates = NONE, erasures: Rates = NONE) -> None:
        self.now = 1000.0
        self.quotas = Quotas(requests, events, erasures, lambda: self.now)

    def refused(self, caller: Caller, what: str, amount: int = 1) -> str:
        with pytest.raises(Denied) as error:
            self.quotas.charge(caller, what, amount)  # type: ignore[arg-type]
        assert error.value.status == 429
        return f"{error.value.headers['Retry-After']} {error.value.detail}"


@pytest.mark.parametrize("what", ["events", "erasures"])
def test_a_batch_counts_as_what_it_holds_and_is_paid_for_in_the_next_periods(what: str) -> None:
    world = World(events=Rates("100/second"), erasures=Rates("100/second"))
    world.quotas.charge(A1, what, 250)  # type: ignore[arg-type]
    assert world.refused(A1, what).startswith(f"2 this key may send 100 {what} in a second")
    world.quotas.charge(B, what, 250)  # type: ignore[arg-type]
    world.now += 1
    assert world.refused(A1, what).startswith("1 ")
    world.now += 1
    world.quotas.charge(A1, what, 40)  # type: ignore[arg-type]
    world.quotas.charge(A1, what, 40)  # type: ignore[arg-type]
    assert world.refused(A1, what)
    world.now += 1000
    world.quotas.charge(A1, what, 100)  # type: ignore[arg-type]
    assert world.refused(A1, what), "what was not used before is not saved up"


def test_over_time_the_rate_holds_whatever_the_size_of_the_batches() -> None:
    world = World(events=Rates("100/second"))
    sent = 0
    for _ in range(1000):
        world.now += 0.1
        try:
            world.quotas.charge(A1, "events", 2500)
            sent += 2500
        except Denied:
            pass
    assert sent <= 100 * 100 + 2 * 2500


def test_what_is_refused_counts_for_nothing() -> None:
    world = World(Rates("2/second"))
    for _ in range(2):
        world.quotas.take(A1)
    for _ in range(100):
        with pytest.raises(Denied):
            world.quotas.take(A1)
    world.now += 1
    quota = world.quotas.take(A1)
    assert quota is not None
    assert (quota.limit, quota.remaining, quota.reset) == (2, 1, 1)


def test_the_credentials_of_a_tenant_share_its_quota() -> None:
    world = World(events=Rates("100/second", "150/second"))
    world.quotas.charge(A1, "events", 100)
    world.quotas.charge(A2, "events", 50)
    assert "this tenant may send 150 events" in world.refused(A2, "events")
    assert "this key" in world.refused(A1, "events")
    world.quotas.charge(B, "events", 100)


def test_a_keys_own_limit_is_of_requests_events_and_erasures_alike() -> None:
    own = Caller("a", frozenset(), key="3", limit="5/minute")
    world = World(Rates("100/second"), Rates("100/second"), Rates("100/second"))
    world.quotas.charge(own, "events", 6)
    assert "this key may send 5 events in 60 s" in world.refused(own, "events")
    world.quotas.charge(own, "erasures", 5)
    assert "5 erasures" in world.refused(own, "erasures")
    for _ in range(5):
        world.quotas.take(own)
    with pytest.raises(Denied):
        world.quotas.take(own)


def test_without_a_limit_there_is_no_quota_and_a_check_counts_nothing() -> None:
    free = Caller("a", frozenset(), key="4", limit="none")
    world = World(Rates("1/second"), Rates("1/second"))
    for _ in range(10):
        assert world.quotas.take(free) is None
        world.quotas.charge(free, "events", 1000)
        world.quotas.check(A1, "events")
    world.quotas.charge(A1, "events", 1)
    with pytest.raises(Denied):
        world.quotas.check(A1, "events")
