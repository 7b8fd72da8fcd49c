"""What a change is about: the documents that it may have changed, and the rows that they make. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from shared.cassandra.rows import Pair, Place, Row, aggregate_id, aggregate_row, fact_row, relationship_rows
from shared.contracts.changes import RelationChange
from shared.contracts.events import document_id
from shared.erasure.records import cause_of
from shared.runtime.protocols import Document

RELATIONS, RELATIONSHIPS, AGGREGATES = "relations", "relationships", "aggregates"

Documents = Mapping[str, Mapping[str, Document]]


@dataclass(slots=True)
class Subjects:
    """Rows that are to be made anew, by the ids of their documents."""

    #: Document id → tenant, consumer id, relation id.
    facts: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    pairs: dict[str, Pair] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)

    @property
    def ids(self) -> dict[str, list[str]]:
        """Collection → ids of the documents."""
        found: dict[str, Mapping[str, object]] = {
            RELATIONS: self.facts,
            RELATIONSHIPS: self.pairs,
            AGGREGATES: self.places,
        }
        return {collection: list(known) for collection, known in found.items() if known}

    def add_fact(self, tenant: str, consumer_id: str, relation_id: str) -> None:
        fact = (tenant, consumer_id, relation_id)
        self.facts[document_id(*fact)] = fact

    def add_pair(self, pair: Pair) -> None:
        self.pairs[document_id(*pair)] = pair

    def add_place(self, place: Place) -> None:
        self.places[aggregate_id(place)] = place

    def add_change(self, change: RelationChange, partition: int) -> None:
        """Everything that a change in this partition may have changed."""
        data, tenant = change.data, change.tenant
        self.add_fact(tenant, data.consumer_id, data.relation_id)
        for fact in (data.before, data.after):
            if fact is None:
                continue
            self.add_pair((tenant, data.consumer_id, fact.provider_id))
            day = fact.time.date().isoformat()
            for by, key in (
                ("total", ""),
                ("kind", fact.kind),
                ("provider", fact.provider_id),
                ("consumer", data.consumer_id),
                ("provider_kind", document_id(fact.provider_id, fact.kind)),
            ):
                self.add_place((tenant, by, key, day, partition))

    def rows(self, documents: Documents) -> list[Row]:
        """The rows as these documents make them. Whatever has no document has no row."""
        facts, pairs = documents.get(RELATIONS, {}), documents.get(RELATIONSHIPS, {})
        sums = documents.get(AGGREGATES, {})
        rows = [_fact_row(fact, facts.get(id)) for id, fact in self.facts.items()]
        for id, pair in self.pairs.items():
            rows.extend(relationship_rows(pair, pairs.get(id)))
        rows.extend(aggregate_row(place, sums.get(id)) for id, place in self.places.items())
        return rows


def _fact_row(key: tuple[str, str, str], fact: Document | None) -> Row:
    return fact_row(key, fact, None if fact is None else cause_of(fact))


def subjects_of(changes: Iterable[tuple[int, RelationChange]]) -> Subjects:
    """The subjects of changes, each with the number of its partition."""
    found = Subjects()
    for partition, change in changes:
        found.add_change(change, partition)
    return found
