"""The rate at which an application is sent to: even, of each its own, and for all of its endpoints together."""

import asyncio

from services.webhooks.delivery.rate_limits import RateLimits


def test_deliveries_of_an_application_keep_its_rate_and_hold_up_no_other() -> None:
    now, ahead, told = 100.0, 0.0, list[tuple[str, float]]()

    async def sleep(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    rate_limits = RateLimits(lambda: now + ahead, sleep)

    async def story() -> None:
        nonlocal ahead
        for app, rate in (("one", "4/second"), ("one", "4/second"), ("two", "60/minute"), ("one", "4/second")):
            ahead = 0.0
            await rate_limits.turn(app, lambda: rate)  # noqa: B023
            told.append((app, ahead))

    asyncio.run(story())
    assert told == [("one", 0), ("one", 0.25), ("two", 0), ("one", 0.5)]
    # What was not used is not saved up: a burst after a silence would exceed the rate.
    now += 3_600
    told.clear()
    asyncio.run(story())
    assert told == [("one", 0), ("one", 0.25), ("two", 0), ("one", 0.5)]


def test_a_rate_that_is_changed_holds_for_those_who_wait_for_their_turn() -> None:
    now, rate = 100.0, "1/hour"
    told: list[float] = []

    async def sleep(seconds: float) -> None:
        nonlocal now, rate
        now += seconds
        # The tenant raises the rate while deliveries wait.
        rate = "4/second"
        await asyncio.sleep(0)

    rate_limits = RateLimits(lambda: now, sleep)

    async def one() -> None:
        await rate_limits.turn("one", lambda: rate)
        told.append(now - 100)

    async def story() -> None:
        await asyncio.gather(*(one() for _ in range(5)))

    asyncio.run(story())
    assert max(told) < 20, "hours are left of the former rate"
    assert len(told) == 5
