"""One log line per dead letter: where it is and why, never its content."""

import logging
import time
from collections.abc import Callable, Sequence

from shared.observability.metrics import dead_letters
from shared.runtime.observer import NullObserver
from shared.runtime.protocols import Outcome, Partition, Record

log = logging.getLogger(__name__)

_SHOWN = ("reason", "field", "topic", "partition", "offset", "event_id", "tenant")
_BURST, _PER_SECOND = 100.0, 10.0


class DeadLetterLog(NullObserver):
    """An Observer. Logs bursts of up to 100 dead letters, and then 10 a second. It logs the number of those
    beyond. ``clock`` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._allowance = _BURST
        self._filled_at = clock()
        self._left_out = 0

    def committed(self, partition: Partition, records: Sequence[Record], outcome: Outcome) -> None:  # noqa: ARG002
        letters = list(dead_letters(outcome))
        if not letters and not self._left_out:
            return
        now = self._clock()
        self._allowance = min(_BURST, self._allowance + (now - self._filled_at) * _PER_SECOND)
        self._filled_at = now
        shown = letters[: int(self._allowance)]
        self._allowance -= len(shown)
        for letter in shown:
            known = {name: letter[name] for name in _SHOWN if letter.get(name) is not None}
            log.info("dead letter", extra=known)
        self._left_out += len(letters) - len(shown)
        if self._left_out and self._allowance >= 1:
            log.info("more dead letters, not logged individually", extra={"count": self._left_out})
            self._left_out = 0
