"""The relations projection: selects the fold by the event's topic. Pure."""

from collections.abc import Callable, Generator, Sequence
from datetime import timedelta
from typing import Any

from services.relations.deduplication import drop_known
from services.relations.fact_erasure import weight
from services.relations.facts import project_facts, store_facts
from services.relations.profile_erasure import ErasureMessages
from services.relations.profiles import project_profiles
from services.relations.strength import Strength
from services.relations.wide import MOST_CELLS
from shared.contracts.codec import check_clock, decode, decode_internal
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import Event, SubjectErased, known_arrival
from shared.contracts.topics import CHANGES, INPUTS, LEDGER, WRAPPED_KEYS, Topics
from shared.erasure.records import Pseudonym, hashed
from shared.runtime.forms import in_structured_mode, with_structured
from shared.runtime.protocols import Answer, Ask, Document, Outcome, Record


class RelationsProjection:
    """Consumers, providers, facts and relationships out of the three input topics."""

    name = "relations"
    version = 1
    numbered = False

    def __init__(
        self,
        topics: Topics,
        strength: Strength,
        max_future_seconds: int,
        *,
        facts_only: bool = False,
        pseudonym: Pseudonym = hashed,
        most_cells: int = MOST_CELLS,
        keys_topic: bool = False,
    ) -> None:
        """``pseudonym`` names the facts of consumers who are erased with ``anonymise``. ``most_cells`` is the
        number of kinds and months of a pair that one document holds (services.relations.wide). ``keys_topic``
        says that there is a topic of wrapped keys, from which an erasure removes the consumer's."""
        self._most_cells = most_cells
        self.topics = tuple(topics.name(short) for short in INPUTS)
        self._topics = topics
        self._strength = strength
        self._most_ahead = timedelta(seconds=max_future_seconds)
        self._facts_only = facts_only
        self._pseudonym = pseudonym
        self._relations = topics.name("relations")
        self._erasure = ErasureMessages(
            topics.name(LEDGER), self._relations, topics.name(WRAPPED_KEYS) if keys_topic else None
        )

    def weight(self, record: Record) -> int:
        return weight(record)

    def decode(self, record: Record) -> Event | SubjectErased:
        """The event in a record, validated as the door does. "Now" is when Kafka got it."""
        if record.value is None:
            raise InvalidEvent("empty", "the message has no value")
        value = in_structured_mode(record).value if record.headers else record.value
        try:
            event = decode(value or b"")
        except InvalidEvent as error:
            unknown = error.reason == "unknown_type" and record.partition.topic == self._relations
            # Kith's own event is never in binary mode.
            if unknown and (internal := decode_internal(record.value)) is not None:
                return internal
            raise
        self._topics.check(event, record.partition.topic)
        # Without a time of arrival, no event can be known to be ahead of it.
        if (arrived := known_arrival(record.timestamp)) is not None:
            check_clock(event, arrived, self._most_ahead)
        return event

    def recall(
        self, records: Sequence[Record], trusted: Callable[[Document], bool] = lambda _fact: True
    ) -> Generator[Ask, Answer, Sequence[Record]]:
        """The records of facts, without those from which a ``trusted`` fact was made; all records of profiles.
        For a record in binary mode, headers and value are compared."""
        if records[0].partition.topic != self._relations:
            return records
        return (yield from drop_known(records, trusted, self._most_ahead, facts_only=self._facts_only))

    def project(self, items: Sequence[tuple[Record, Any]]) -> Generator[Ask, Answer, Outcome]:
        """Fold one slice of one partition."""
        items = with_structured(items)
        short = self._topics.short(items[0][0].partition.topic)
        change_topic = self._topics.name(CHANGES[short])
        if short == "relations" and self._facts_only:
            return store_facts(items)
        if short == "relations":
            return project_facts(
                items,
                change_topic=change_topic,
                strength=self._strength,
                pseudonym=self._pseudonym,
                most_cells=self._most_cells,
            )
        return project_profiles(items, collection=short, change_topic=change_topic, erasure=self._erasure)
