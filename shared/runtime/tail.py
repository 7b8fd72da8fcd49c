"""What a state that is kept in memory needs of a log: to follow it from its end on. Pure."""

from collections.abc import Sequence
from typing import Protocol

from shared.runtime.protocols import Record


class TailLost(Exception):
    """Records may have been missed: the log does not contain the next one any more. The state has to be read
    again."""


class Tail(Protocol):
    """All partitions of some topics, from the ends that they had when it was opened."""

    def poll(self, timeout_ms: int) -> Sequence[Record]:
        """The records since the last call, in order within a partition. Raises Unavailable, after which it can
        be called again, and TailLost."""

    def close(self) -> None: ...
