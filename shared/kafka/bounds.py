"""Whether a log contains the offset to continue at."""

import time
from collections.abc import Callable

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.runtime.protocols import Partition

#: How long the lookup of a log's bounds may hold up the other partitions.
ANSWER_SECONDS = 5.0
#: A broker that has lost the leadership while it stood still answers what waited in its sockets, for its own
#: shorter log. It learns better within moments.
BELIEVED_SECONDS = 3.0
#: What was seen before a longer pause is forgotten: another process has read the partition meanwhile.
_FORGOTTEN_SECONDS = 60.0


class LogBounds:
    """Remembers which logs were too short when they were last looked at: since when, and when that was."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._short: dict[Partition, tuple[float, float]] = {}

    def check(self, partition: Partition, start: int, first: int, end: int) -> None:
        """Raise ConfigurationError unless ``start`` lies within ``first`` and ``end``; for ``BELIEVED_SECONDS``
        Unavailable instead where the log ends before it."""
        if first <= start <= end:
            self._short.pop(partition, None)
            return
        now = self._clock()
        since, last = self._short.get(partition, (now, now))
        if now - last > _FORGOTTEN_SECONDS:
            since = now
        self._short[partition] = since, now
        if start > end and now - since < BELIEVED_SECONDS:
            raise Unavailable(f"{partition}: a broker says that the log ends at {end}, before {start}")
        raise ConfigurationError(
            f"{partition}: the next offset is {start}, but the log holds {first} to {end}. Was the topic "
            "recreated, or did retention delete unread records?"
        )
