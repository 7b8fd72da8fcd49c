"""Distinct consumers of a day: one document per consumer, and one per consumer and provider. Pure.

The document counts the consumer's facts of the day. Whoever moves that count across zero moves the number of
distinct consumers, so the numbers of the partitions add up whichever of them the facts came through.
"""

from shared.contracts.events import document_id
from shared.runtime.protocols import Document

#: tenant, day, provider (None: any), consumer: what a presence document is about
Visit = tuple[str, str, str | None, str]


class PresenceDifference:
    """By how much a slice moves one presence document."""

    __slots__ = ("_visit", "id", "moved")

    def __init__(self, visit: Visit) -> None:
        tenant, day, provider, consumer = visit
        self._visit = visit
        self.moved = 0
        # Tenant and day come first, because that is the range in which distinct consumers are counted.
        parts = (day, consumer) if provider is None else (day, provider, consumer)
        self.id = document_id(tenant, *parts)

    def crossing(self, before: Document | None) -> int:
        """1 when the consumer comes to be present, −1 when no longer, else 0."""
        # Below zero is absent, too: after partitions were added, one of them may bring the end of a fact
        # whose beginning is still on its way in another.
        old: int = before["count"] if before else 0
        return (old + self.moved > 0) - (old > 0)

    def applied(self, before: Document | None) -> Document | None:
        """The document after the difference; None when its count is zero."""
        count: int = (before["count"] if before else 0) + self.moved
        if count == 0:
            return None
        tenant, day, provider, consumer = self._visit
        after: Document = {"_id": self.id, "tenant": tenant, "day": day, "consumer_id": consumer}
        if provider is not None:
            after["provider_id"] = provider
        after["count"] = count
        return after
