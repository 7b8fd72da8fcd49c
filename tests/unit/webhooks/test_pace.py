"""The rate at which an application is sent to: even, of each its own, and for all of its endpoints together."""

import asyncio

from services.webhooks.pace import Paces


def test_deliveries_of_an_application_keep_its_rate_and_hold_up_no_other() -> None:
    now, told = 100.0, list[tuple[str, float]]()

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    waited: list[float] = []
    paces = Paces(lambda: now, sleep)

    async def story() -> None:
        for app, rate in (("one", "4/second"), ("one", "4/second"), ("two", "60/minute"), ("one", "4/second")):
            waited.clear()
            await paces.turn(app, rate)
            told.append((app, sum(waited)))

    asyncio.run(story())
    assert told == [("one", 0), ("one", 0.25), ("two", 0), ("one", 0.5)]
    # What was not used is not saved up: a burst after a silence would exceed the rate.
    now += 3_600
    told.clear()
    asyncio.run(story())
    assert told == [("one", 0), ("one", 0.25), ("two", 0), ("one", 0.5)]
