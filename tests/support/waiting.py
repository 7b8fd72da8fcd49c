"""Waiting for a condition, with a limit that a machine which is busy with other things keeps, too."""

import time
from collections.abc import Callable

#: Nothing takes nearly so long when all is well; a test whose condition never comes about fails after it.
PATIENCE_SECONDS = 120.0


class Late(AssertionError):
    """A wait has run out. On a shared machine that may be the machine's fault: the test is repeated once, and the
    report shows both (``pyproject.toml``). What is *wrong* is no Late, and fails at once."""


class Deadline:
    def __init__(self, seconds: float = PATIENCE_SECONDS) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self, missing: object) -> None:
        """Raises Late, which says what is missing, when the time is over."""
        if time.monotonic() >= self._end:
            raise Late(f"within {self._seconds:.0f} s: {missing}")


def wait_for(
    what: str, condition: Callable[[], object], seconds: float = PATIENCE_SECONDS, pause: float = 0.05
) -> None:
    """Until the condition is true, which is looked at every ``pause`` seconds."""
    deadline = Deadline(seconds)
    while not condition():
        deadline.check(f"{what} did not come")
        time.sleep(pause)


def wait_equal(read: Callable[[], object], expected: object) -> None:
    """Until what is read is what is expected."""
    deadline = Deadline()
    while (found := read()) != expected:
        deadline.check(f"{found} did not become {expected}")
        time.sleep(0.05)
