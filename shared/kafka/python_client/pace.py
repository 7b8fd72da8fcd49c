"""How long a broker may wait for records before it answers a fetch."""

import time
from typing import Any

IDLE_MS = 250
_LINGER_SECONDS = 1.0


class Pace:
    """Short waits while records come, long ones once none have come for a second.

    kafka-python leaves partitions with buffered records out of a fetch, and has one fetch in flight at each
    broker. While that waits for quiet partitions, nothing is fetched from busy ones; so it must not wait long.
    Where all are quiet, none is left out, and the first record ends the wait: a long one delays nothing, while
    short ones are a tenth of a core in each idle worker, and more in the broker.
    """

    def __init__(self, consumer: Any) -> None:
        """``consumer`` is a KafkaConsumer. The short wait is the ``fetch_max_wait_ms`` that it was opened with."""
        # kafka-python 3.0.12 reads the option anew for each fetch, and has no method that sets it.
        self._options = consumer._fetcher.config
        self._busy_ms: int = self._options["fetch_max_wait_ms"]
        self._records_at = time.monotonic()

    def polled(self, found: object) -> None:
        """Choose the wait of the next fetch, by what a poll has found."""
        if found:
            self.hurry()
        elif time.monotonic() - self._records_at > _LINGER_SECONDS:
            self._options["fetch_max_wait_ms"] = IDLE_MS

    def hurry(self) -> None:
        """Records are expected."""
        self._records_at = time.monotonic()
        self._options["fetch_max_wait_ms"] = self._busy_ms
