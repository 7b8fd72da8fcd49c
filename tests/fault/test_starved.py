"""A handler that takes longer than ``max_poll_interval``: the group gives its partitions to others meanwhile."""

import pytest

from tests.fault.conftest import Start
from tests.fault.load import market_items

EVENTS, SEED = 2_500, 81
INTERVAL_SECONDS = 4


@pytest.mark.fast
def test_one_slice_takes_too_long(start_system: Start) -> None:
    system = start_system(max_poll_interval_ms=INTERVAL_SECONDS * 1000)
    # Until others have its partitions: once it polls again it is one of the group, and may keep some.
    slow = system.start("relations", fault="after-decode:hold:3")
    system.load(market_items(EVENTS, SEED), rate=200)
    system.wait_struck(slow)
    system.start_all()
    system.wait_dispossessed(slow)
    system.release(slow)
    system.verify()


def test_every_slice_takes_too_long(start_system: Start) -> None:
    """That worker never stores anything again, and the others get on all the same."""
    system = start_system(max_poll_interval_ms=INTERVAL_SECONDS * 1000)
    system.start("relations", fault=f"after-decode:sleep={2 * INTERVAL_SECONDS}:3+")
    system.start_all()
    system.load(market_items(EVENTS, SEED), rate=200)
    system.wait_drained(240)
    system.verify()
