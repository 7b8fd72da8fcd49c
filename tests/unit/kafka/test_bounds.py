"""Whether a log contains the offset to continue at."""

import pytest

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.kafka.bounds import BELIEVED_SECONDS, LogBounds
from shared.runtime.protocols import Partition

HERE, THERE = Partition("kith.relations", 0), Partition("kith.relations", 1)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_offset_within_the_log_is_one_to_continue_at() -> None:
    bounds = LogBounds(Clock())
    for start in (3, 5, 7):
        bounds.check(HERE, start, 3, 7)


def test_a_log_that_ends_before_it_is_believed_after_a_while() -> None:
    """A broker that stood still answers for its own log, which others have continued."""
    clock = Clock()
    bounds = LogBounds(clock)
    with pytest.raises(Unavailable):
        bounds.check(HERE, 8, 3, 7)
    bounds.check(HERE, 8, 3, 20)
    with pytest.raises(Unavailable):
        bounds.check(HERE, 21, 3, 20)
    clock.now += BELIEVED_SECONDS
    with pytest.raises(Unavailable):
        bounds.check(THERE, 21, 3, 20)
    with pytest.raises(ConfigurationError, match="recreated"):
        bounds.check(HERE, 21, 3, 20)


def test_a_log_that_was_short_long_ago_is_not_believed_at_once() -> None:
    """Another process may have had the partition in between."""
    clock = Clock()
    bounds = LogBounds(clock)
    for _ in range(2):
        with pytest.raises(Unavailable):
            bounds.check(HERE, 8, 3, 7)
        clock.now += 3_600


def test_what_retention_has_deleted_does_not_come_back() -> None:
    with pytest.raises(ConfigurationError, match="holds 3 to 7"):
        LogBounds(Clock()).check(HERE, 2, 3, 7)
