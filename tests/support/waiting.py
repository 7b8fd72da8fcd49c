"""Waiting for a condition, with a limit that a machine which is busy with other things keeps, too."""

import time
from collections.abc import Callable

#: Nothing takes nearly so long when all is well; a test whose condition never comes about fails after it.
PATIENCE_SECONDS = 120.0


def wait_for(
    what: str, condition: Callable[[], object], seconds: float = PATIENCE_SECONDS, pause: float = 0.05
) -> None:
    """Until the condition is true, which is looked at every ``pause`` seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come within {seconds:.0f} s"
        time.sleep(pause)


def wait_equal(read: Callable[[], object], expected: object) -> None:
    """Until what is read is what is expected."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := read()) != expected:
        assert time.monotonic() < deadline, f"{found} did not become {expected}"
        time.sleep(0.05)
