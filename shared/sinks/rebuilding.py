"""What every `kith rebuild` of a sink does: pieces of rows, each tried until the servers answer."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from shared.contracts.errors import Stale, Unavailable

T = TypeVar("T")

#: Rows that are read, and written, together.
PIECE = 500
_TRIES = 30


def pieces(found: Iterable[T]) -> Iterator[list[T]]:
    """``found`` in lists of ``PIECE``."""
    pending = iter(found)
    while piece := list(islice(pending, PIECE)):
        yield piece


def settled(
    names: Callable[[], list[str]],
    write_all: Callable[[], int],
    sweep_all: Callable[[], int],
    stopped: Callable[[], bool],
) -> tuple[int, int] | None:
    """How many documents were written and how many rows were deleted; None when it was stopped.

    ``names`` are those of the live collections. Everything is done again where they are others at its end: a
    switch in between need not have published what is different in the other version.
    """
    deleted = 0
    while True:
        before = names()
        written = write_all()
        deleted += sweep_all()
        if stopped():
            return None
        if names() == before:
            return written, deleted


def patiently(step: Callable[[], T], stopped: Callable[[], bool], pause: Callable[[float], None]) -> T:
    """What ``step`` returns, tried again with growing pauses while a server is unavailable or a race is lost.

    ``stopped`` says whether to end early, ``pause`` waits some seconds. Raises the last Unavailable or Stale.
    """
    for attempt in range(_TRIES - 1):
        try:
            return step()
        except (Unavailable, Stale):
            if stopped():
                raise
            pause(min(0.2 * 2.0**attempt, 5.0))
    return step()
