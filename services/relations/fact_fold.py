"""The fold of a slice of facts: the facts that change, and the relationships that change with them. Pure."""

from collections.abc import Generator, Mapping

from services.relations.change_events import change_event
from services.relations.fact_documents import pair_in
from services.relations.span import KEPT, Times
from services.relations.strength import Strength
from services.relations.tally import Pair, Tally
from services.relations.wide import is_wide
from services.relations.wide_fold import narrow, wide_writes
from shared.contracts.events import RelationEvent, event_key
from shared.runtime.protocols import Answer, Ask, Document, GetMinMax, Message, Outcome, Record, Write


class FactFold:
    """The facts that a slice has loaded, by id (None: deleted), and the relationships that change with them.

    ``stored`` and ``relationships`` are documents as they were read, ``names`` the ids of all pairs that may
    change. Changes are published to ``change_topic``.
    """

    def __init__(
        self,
        stored: Mapping[str, Document],
        names: Mapping[Pair, str],
        relationships: Mapping[str, Document],
        change_topic: str,
    ) -> None:
        self._stored = stored
        self.facts: dict[str, Document | None] = dict(stored)
        self._tallies = _Tallies(names, relationships)
        self._topic = change_topic
        self._outcome = Outcome()

    def replace(self, record: Record, event: RelationEvent, id: str, new: Document) -> None:
        """Replace the fact ``id`` by ``new`` because of an event, and publish the change."""
        before = self.move(id, new)
        value = change_event(
            record, event.time, new, before, _live(new), cause={"source": event.source, "id": event.id}
        )
        if value is not None:
            self.publish(event_key(event), value, record)

    def move(self, id: str, new: Document | None) -> Document | None:
        """Replace the fact without publishing (None deletes it). Returns the live fact before, if any."""
        before, after = _live(self.facts.get(id)), _live(new)
        self.facts[id] = new
        if before:
            self._tallies[pair_in(before)].move(before, -1)
        if after:
            self._tallies[pair_in(after)].move(after, 1)
        return before

    def publish(self, key: bytes, value: bytes, record: Record) -> None:
        self._outcome.messages.append(Message(self._topic, key, value, record.partition.number))

    def send(self, message: Message) -> None:
        self._outcome.messages.append(message)

    def outcome(self, strength: Strength, most_cells: int) -> Generator[Ask, Answer, Outcome]:
        """Everything to store and to publish. A relationship of more than ``most_cells`` cells is wide."""
        self._outcome.writes += writes(self._stored, self.facts)
        yield from self._relationships(strength, most_cells)
        return self._outcome

    def _relationships(self, strength: Strength, most_cells: int) -> Generator[Ask, Answer, None]:
        """Turn tallies into documents. If the earliest or latest fact is gone and facts are left that were not
        loaded, read their times from the store."""
        tallies = self._tallies
        for before in self._stored.values():
            if not before["retracted"] and (tally := tallies.get(pair_in(before))):
                tally.span.gone.append(before["time"])
        for fact in self.facts.values():
            if fact is not None and not fact["retracted"] and (tally := tallies.get(pair_in(fact))):
                tally.span.come.append(fact["time"])

        found: dict[Pair, Times | None] = {}
        unknown: list[Pair] = []
        for pair, tally in tallies.items():
            found[pair], certain = tally.span.times()
            if not certain:
                unknown.append(pair)
        if unknown:
            asked = [_filter(pair) for pair in unknown]
            answers = yield GetMinMax("relations", "time", asked, set(self.facts), KEPT)
            for pair, others in zip(unknown, answers, strict=True):
                found[pair] = tallies[pair].span.with_others(others)

        wide = [(tally, found[pair]) for pair, tally in tallies.items() if tally.old and is_wide(tally.old)]
        for pair, tally in tallies.items():
            if tally.old is None or not is_wide(tally.old):
                after, writes = narrow(tally, found[pair], strength, most_cells)
                if after != tally.old:
                    self._outcome.writes.append(Write("relationships", tally.id, tally.old, after))
                    if writes:
                        self._outcome.writes += writes
        if wide:
            self._outcome.writes += yield from wide_writes(wide, strength, most_cells)


class _Tallies(dict[Pair, Tally]):
    """The relationships that a slice changes, by pair."""

    def __init__(self, names: Mapping[Pair, str], relationships: Mapping[str, Document]) -> None:
        self._names, self._relationships = names, relationships

    def __missing__(self, pair: Pair) -> Tally:
        id = self._names[pair]
        tally = self[pair] = Tally(id, pair, self._relationships.get(id))
        return tally


def writes(stored: Mapping[str, Document], facts: Mapping[str, Document | None]) -> list[Write]:
    return [
        Write("relations", id, stored.get(id), fact) for id, fact in facts.items() if fact is not stored.get(id)
    ]


def _live(fact: Document | None) -> Document | None:
    return None if fact is None or fact["retracted"] else fact


def _filter(pair: Pair) -> Document:
    tenant, consumer_id, provider_id = pair
    return {"tenant": tenant, "consumer_id": consumer_id, "provider_id": provider_id, "retracted": False}
