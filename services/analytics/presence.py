"""Distinct consumers of a day: one document per consumer, and one per consumer and provider. Pure.

The document counts the consumer's facts of the day. The partition that moves this count across zero changes the
number of distinct consumers, so the partitions' numbers add up, whichever partition the facts arrived in.
"""

from shared.contracts.events import document_id
from shared.runtime.protocols import Document

#: tenant, day, provider (None: any), consumer: the key of a presence document
Visit = tuple[str, str, str | None, str]


class PresenceDifference:
    """The difference that a slice makes in one presence document."""

    __slots__ = ("_visit", "id", "moved")

    def __init__(self, visit: Visit) -> None:
        tenant, day, provider, consumer = visit
        self._visit = visit
        self.moved = 0
        # Tenant and day come first, because that is the range in which distinct consumers are counted.
        parts = (day, consumer) if provider is None else (day, provider, consumer)
        self.id = document_id(tenant, *parts)

    def crossing(self, before: Document | None) -> int:
        """1 if the consumer becomes present, −1 if absent, else 0."""
        # Below zero is absent, too: after partitions were added, the removal of a fact may arrive in one of them
        # before its addition arrives in another.
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
