"""Tells the senders of the same process what fan-out has enqueued, so that they need not look for it."""

from collections.abc import Callable, Collection, Sequence

from services.webhooks.deliveries import DELIVERIES
from shared.runtime.observer import NullObserver
from shared.runtime.protocols import Outcome, Partition, Record


class FanOutObserver(NullObserver):
    """Calls ``arrived`` with the endpoints of each slice that was stored."""

    def __init__(self, arrived: Callable[[Collection[str]], None]) -> None:
        self._arrived = arrived

    def committed(self, partition: Partition, records: Sequence[Record], outcome: Outcome) -> None:  # noqa: ARG002
        queued = (write.after for write in outcome.writes if write.collection == DELIVERIES)
        self._arrived({after["endpoint"] for after in queued if after is not None})
