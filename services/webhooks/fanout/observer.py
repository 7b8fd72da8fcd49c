"""Tells the senders of the same process what fan-out has enqueued, so that they need not look for it."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

from services.webhooks.deliveries import DELIVERIES
from shared.runtime.observer import NullObserver
from shared.runtime.protocols import Outcome, Partition, Record


class FanOutObserver(NullObserver):
    """Calls ``arrived`` with the endpoints of each slice that was stored, each with the subjects of what was
    enqueued for it."""

    def __init__(self, arrived: Callable[[Mapping[str, Collection[str]]], None]) -> None:
        self._arrived = arrived

    def committed(self, partition: Partition, records: Sequence[Record], outcome: Outcome) -> None:  # noqa: ARG002
        queued = defaultdict[str, set[str]](set)
        for write in outcome.writes:
            if write.collection == DELIVERIES and write.after is not None:
                queued[write.after["endpoint"]].add(write.after["subject"])
        self._arrived(queued)
