"""What is closed while it is being opened is not left open."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.contracts.errors import Unavailable
from shared.runtime.lazy import Lazy
from tests.support.waiting import PATIENCE_SECONDS


class Connections:
    """The first one is opened when ``go`` is set."""

    def __init__(self) -> None:
        self.opening, self.go = threading.Event(), threading.Event()
        self.opened, self.closed = 0, list[int]()

    def open(self) -> int:
        self.opened += 1
        mine = self.opened
        if mine == 1:
            self.opening.set()
            assert self.go.wait(PATIENCE_SECONDS)
        return mine


def test_what_was_opened_is_closed_once_and_opened_again() -> None:
    connections = Connections()
    connections.go.set()
    lazy = Lazy(connections.open, connections.closed.append)
    assert (lazy.get(), lazy.get()) == (1, 1)
    lazy.close()
    lazy.close()
    assert connections.closed == [1]
    assert lazy.get() == 2


@pytest.mark.parametrize("again", [False, True])
def test_a_connection_that_comes_after_the_close_is_closed_too(again: bool) -> None:
    connections = Connections()
    lazy = Lazy(connections.open, connections.closed.append)
    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(lazy.get)
        assert connections.opening.wait(PATIENCE_SECONDS)
        lazy.close()
        if again:
            assert lazy.get() == 2
        connections.go.set()
        with pytest.raises(Unavailable, match="closed while"):
            late.result(PATIENCE_SECONDS)
    assert connections.closed == [1]
    # And the one that counts is kept.
    assert lazy.get() == 2
    lazy.close()
    assert connections.closed == [1, 2]
