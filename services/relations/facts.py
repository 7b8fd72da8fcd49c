"""Events about relations → facts, relationships and changes. Pure."""

from collections.abc import Generator, Sequence

from services.relations.fact_documents import pair_in, pair_of, resolve
from services.relations.fact_erasure import ERASED, project_with_erased
from services.relations.fact_fold import FactFold, writes
from services.relations.strength import Strength
from services.relations.wide import MOST_CELLS
from shared.contracts.events import FactEvent, SubjectErased, document_id
from shared.erasure.records import Pseudonym, hashed
from shared.runtime.protocols import Answer, Ask, Document, Get, Outcome, Record


def project_facts(
    items: Sequence[tuple[Record, FactEvent]],
    *,
    change_topic: str,
    strength: Strength,
    pseudonym: Pseudonym = hashed,
    most_cells: int = MOST_CELLS,
) -> Generator[Ask, Answer, Outcome]:
    """Fold a slice of relation events: facts by version, relationships by difference, a change per effect."""
    events = [(record, event) for record, event in items if not isinstance(event, SubjectErased)]
    ids = [document_id(event.tenant, event.data.consumer_id, event.data.relation_id) for _, event in events]
    pairs = {pair for _, event in events if (pair := pair_of(event)) is not None}
    names = {pair: document_id(*pair) for pair in pairs}
    consumers = {(event.tenant, event.data.consumer_id) for _, event in items}
    markers = {document_id(*consumer) for consumer in consumers}
    documents = yield Get({"relations": set(ids), "relationships": set(names.values()), ERASED: markers})
    if documents[ERASED] or len(events) < len(items):
        # Rare, and slower: services/relations/fact_erasure.py.
        return (yield from project_with_erased(items, documents, change_topic, strength, pseudonym, most_cells))
    stored: dict[str, Document] = documents["relations"]
    relationships: dict[str, Document] = documents["relationships"]
    # An amendment may name another provider than the stored fact does: that relationship moves, too.
    others = {known for fact in stored.values() if not fact["retracted"] and (known := pair_in(fact)) not in names}
    if others:
        names |= {pair: document_id(*pair) for pair in others}
        missing = {names[pair] for pair in others}
        relationships |= (yield Get({"relationships": missing}))["relationships"]

    state = FactFold(stored, names, relationships, change_topic)
    for (record, event), id in zip(events, ids, strict=True):
        old = state.facts.get(id)
        if (new := resolve(id, event, old, record.value)) is not old:
            state.replace(record, event, id, new)
    return (yield from state.outcome(strength, most_cells))


def store_facts(items: Sequence[tuple[Record, FactEvent]]) -> Generator[Ask, Answer, Outcome]:
    """Fold facts alone: no relationships, no changes, no erasure."""
    events = [(record, event) for record, event in items if not isinstance(event, SubjectErased)]
    ids = [document_id(event.tenant, event.data.consumer_id, event.data.relation_id) for _, event in events]
    stored = (yield Get({"relations": set(ids)}))["relations"]
    facts: dict[str, Document | None] = dict(stored)
    for (record, event), id in zip(events, ids, strict=True):
        facts[id] = resolve(id, event, facts.get(id), record.value)
    return Outcome(writes(stored, facts))
