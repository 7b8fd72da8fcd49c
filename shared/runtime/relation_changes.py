"""What the projections that read changes of relations have in common. Pure."""

from shared.contracts.changes import RelationChange, decode_change
from shared.contracts.topic_names import CHANGES
from shared.contracts.topics import Topics
from shared.runtime.protocols import Record


class ReadsChanges:
    """A projection of topics with Kith's own numbered messages. Each of them counts as one event of a slice."""

    numbered = True

    def weight(self, record: Record) -> int:  # noqa: ARG002
        return 1


class ReadsRelationChanges(ReadsChanges):
    """A projection of the changes of relations alone."""

    def __init__(self, topics: Topics) -> None:
        self.topics: tuple[str, ...] = (topics.name(CHANGES["relations"]),)

    def decode(self, record: Record) -> RelationChange:
        """The change in a record. Raises InvalidEvent."""
        return decode_change(record.value)
