"""Work that is repeated in the background."""

import logging
import threading

import pytest

from shared.contracts.errors import Unavailable
from shared.runtime.periodic import Periodic
from tests.support.waiting import PATIENCE_SECONDS, wait_for


def test_it_goes_on_after_an_outage_until_it_is_stopped() -> None:
    turns: list[int] = []

    def work() -> None:
        turns.append(len(turns))
        if len(turns) == 2:
            raise Unavailable("a server is away")

    periodic = Periodic("turns", work, 0.001)
    periodic.start()
    wait_for("five turns", lambda: len(turns) >= 5)
    periodic.stop()
    done = len(turns)
    assert not any(thread.name == "turns" for thread in threading.enumerate())
    assert len(turns) == done


def test_its_end_does_not_wait_for_the_next_turn() -> None:
    began = threading.Event()
    periodic = Periodic("a-day", began.set, 86_400)
    periodic.start()
    assert began.wait(PATIENCE_SECONDS)
    periodic.stop()
    assert not any(thread.name == "a-day" for thread in threading.enumerate())


def test_an_error_that_nobody_expected_is_logged_and_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    again = threading.Event()

    def work() -> None:
        if caplog.records:
            again.set()
        else:
            raise ValueError("a fault")

    periodic = Periodic("faulty", work, 0.001)
    with caplog.at_level(logging.ERROR, logger="shared.runtime.periodic"):
        periodic.start()
        went_on = again.wait(PATIENCE_SECONDS)
        periodic.stop()
    assert went_on
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("ERROR", "faulty: failed; correct the cause, no restart is needed")
    ]
