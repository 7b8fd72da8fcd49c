"""Work that is repeated in the background."""

import threading

from shared.contracts.errors import Unavailable
from shared.runtime.periodic import Periodic
from tests.support.waiting import wait_for


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
    assert began.wait(60)
    periodic.stop()
    assert not any(thread.name == "a-day" for thread in threading.enumerate())
