"""Refusals are answered in turns of time, so that one tenant's do not take the event loop from others."""

import asyncio

from shared.contracts.limits import Owner
from shared.http.refusals import A_SECOND, AT_ONCE, LONGEST_SECONDS, Refusals

A, B, NOBODY = Owner("a", "1"), Owner("b", "1"), Owner("", "address 127.0.0.1")


def waits(refusals: list[tuple[float, Owner]]) -> list[float]:
    """How long each refusal, at its time, waits."""
    now, slept = 0.0, list[float]()

    async def sleep(seconds: float) -> None:
        slept[-1] = round(seconds, 6)

    async def run() -> None:
        nonlocal now
        turns = Refusals(lambda: now, sleep)
        for time, owner in refusals:
            now = time
            slept.append(0.0)
            await turns.wait(owner)

    asyncio.run(run())
    return slept


def test_the_first_are_answered_at_once_and_the_others_one_after_the_other() -> None:
    found = waits([(100.0, A)] * (AT_ONCE + 3))
    assert found == [0.0] * AT_ONCE + [round(number / A_SECOND, 6) for number in (1, 2, 3)]


def test_one_tenants_refusals_delay_no_other_one() -> None:
    assert waits([*[(100.0, A)] * 50, (100.0, B), (100.0, NOBODY)])[-2:] == [0.0, 0.0]


def test_another_key_of_the_tenant_waits_with_the_first() -> None:
    assert waits([*[(100.0, A)] * 50, (100.0, Owner("a", "2"))])[-1] > 1


def test_none_waits_for_longer_than_the_longest() -> None:
    assert max(waits([(100.0, A)] * 500)) == LONGEST_SECONDS


def test_a_client_that_keeps_to_retry_after_notices_nothing() -> None:
    assert waits([(100.0 + second, A) for second in range(20)]) == [0.0] * 20
