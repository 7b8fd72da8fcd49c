"""The facts of erased consumers: retracted for good (``delete``), or moved to a pseudonym (``anonymise``). Pure.

The partition of the facts carries it out when it reads ``relation.subject_erased``, which the partition of the
consumer publishes. A marker then decides what happens to each later or replayed event of that consumer. So the
facts are the same wherever in the order the erasure comes: with ``delete`` as if there had never been any, with
``anonymise`` as if each event had named the pseudonym.

An event moves at most AT_ONCE facts; where more are left, it is published again. Each fact moves in one
transaction with the sums of its relationships, so that it never counts for both. If an event of a fact arrives
before the fact is moved, the fact is moved with it. Which facts an event moves is a function of the log before it,
so slices, replays and rebuilds move the same facts.
"""

from collections import Counter, defaultdict
from collections.abc import Generator, Mapping, Sequence

from services.relations.change_events import change_event, public_state
from services.relations.fact_documents import fact_document, later, pair_in, pair_of, resolve, without_digest
from services.relations.fact_fold import FactFold
from services.relations.remaining_facts import RemainingFacts
from services.relations.strength import Strength
from services.relations.tally import Pair
from shared.contracts.events import FactEvent, RelationEvent, SubjectErased, document_id
from shared.contracts.fact_fields import PERSONAL
from shared.contracts.spelling import nfc, other_spellings
from shared.erasure.records import ANONYMISED, Mode, Pseudonym, stronger_mode
from shared.runtime.protocols import Answer, Ask, Document, Get, GetByPrefix, Message, Outcome, Record, Write

ERASED = "erased"
#: It must never become smaller: a rebuild folds the repetitions that are in the log, and publishes none of its
#: own.
AT_ONCE = 1000
#: Bytes that every such event contains and other events hardly ever do, and how many other events it weighs.
_ORDER, _WEIGHT = b'"type":"relation.subject_erased"', 250

Subject = tuple[str, str]
Items = Sequence[tuple[Record, FactEvent]]


def project_with_erased(
    items: Items,
    read: Mapping[str, Mapping[str, Document]],
    change_topic: str,
    strength: Strength,
    pseudonym: Pseudonym,
    most_cells: int,
) -> Generator[Ask, Answer, Outcome]:
    """Fold a slice that erases consumers, or holds events of erased ones. ``read`` holds the facts and
    relationships that its events name, and the markers."""
    fold = _Fold(items, read, pseudonym)
    state = yield from fold.load(change_topic)
    for record, event in items:
        if isinstance(event, SubjectErased):
            fold.erase(state, record, event)
        else:
            fold.fold(state, record, event)
    outcome = yield from state.outcome(strength, most_cells)
    outcome.writes += fold.markers()
    return outcome


def weight(record: Record) -> int:
    """How many events of a slice a record counts as. An erasure moves up to AT_ONCE facts, and a transaction
    cannot hold a slice full of erasures. Called for every record, so it only looks for a few bytes."""
    return _WEIGHT if record.value is not None and _ORDER in record.value else 1


class _Fold:
    def __init__(self, items: Items, read: Mapping[str, Mapping[str, Document]], pseudonym: Pseudonym) -> None:
        self._items = items
        self._pseudonym = pseudonym
        self._old = read[ERASED]
        self._modes: dict[str, Mode] = {id: marker["mode"] for id, marker in self._old.items()}
        self._stored: dict[str, Document] = dict(read["relations"])
        self._relationships: dict[str, Document] = dict(read["relationships"])
        self._names: dict[Pair, str] = {}
        self._remaining = RemainingFacts((), (), {})
        self._index = 0  # of the next change of the present record

    def load(self, change_topic: str) -> Generator[Ask, Answer, FactFold]:
        """Read what else may be needed: some facts of the erased consumers, the same facts under the pseudonym,
        and all relationships of both."""
        events = [event for _, event in self._items if not isinstance(event, SubjectErased)]
        counts = Counter((event.tenant, event.data.consumer_id) for event in events)
        orders: Counter[Subject] = Counter()
        # The modes that may apply to each of them in the course of the slice.
        modes: defaultdict[Subject, set[Mode]] = defaultdict(set)
        for _, event in self._items:
            if isinstance(event, SubjectErased):
                orders[event.tenant, event.data.consumer_id] += 1
                modes[event.tenant, event.data.consumer_id].add(event.data.mode)
        for subject in (*counts, *orders):
            if known := self._modes.get(document_id(*subject)):
                modes[subject] = {stronger_mode(known, mode) for mode in modes[subject]} | {known}
        moving = {subject for subject, each in modes.items() if "anonymise" in each}

        touched = max(counts.values(), default=0)
        wanted: defaultdict[int, list[str]] = defaultdict(list)
        for subject, count in orders.items():
            # Enough that the facts which the slice does not move still show whether any are left.
            most = AT_ONCE * count + touched + 1
            wanted[most] += self._prefixes(subject, "delete" if "delete" in modes[subject] else "anonymise")
        for most, prefixes in wanted.items():
            for found in (yield GetByPrefix("relations", prefixes, most)):
                self._stored |= {fact["_id"]: fact for fact in found}

        counterparts = {
            self._pseudonymous_id_of(fact)
            for fact in self._stored.values()
            if (fact["tenant"], nfc(fact["consumer_id"])) in moving
        }
        counterparts |= {
            self._pseudonymous_id(event.tenant, event.data.consumer_id, event.data.relation_id)
            for event in events
            if (event.tenant, event.data.consumer_id) in moving
        }
        if missing := counterparts - self._stored.keys():
            self._stored |= (yield Get({"relations": missing}))["relations"]
        pairs = {pair for event in events if (pair := pair_of(event))}
        pairs |= {pair_in(fact) for fact in self._stored.values() if not fact["retracted"]}
        pairs |= {
            (tenant, self._pseudonym(tenant, nfc(id)), provider)
            for tenant, id, provider in pairs
            if (tenant, nfc(id)) in moving
        }
        self._names = {pair: document_id(*pair) for pair in pairs}
        missing = set(self._names.values()) - self._relationships.keys()
        self._relationships |= (yield Get({"relationships": missing}))["relationships"]
        state = FactFold(self._stored, self._names, self._relationships, change_topic)
        self._remaining = RemainingFacts(
            (each for some in wanted.values() for each in some), self._stored, state.facts
        )
        return state

    def erase(self, state: FactFold, record: Record, event: SubjectErased) -> None:
        """Carry out an erasure, at most AT_ONCE facts of it."""
        self._index = 0
        subject = (event.tenant, event.data.consumer_id)
        mode = self._modes[document_id(*subject)] = stronger_mode(
            self._modes.get(document_id(*subject)), event.data.mode
        )
        prefixes = self._prefixes(subject, mode)
        for _ in range(AT_ONCE):
            if (id := self._remaining.lowest(prefixes)) is None:
                return
            self._erase_fact(state, record, event, id, mode)
        if self._remaining.lowest(prefixes) is not None:
            state.send(Message(record.partition.topic, record.key, record.value or b""))

    def fold(self, state: FactFold, record: Record, event: RelationEvent) -> None:
        """Fold an event according to the marker of its consumer; without a marker, like any other event."""
        self._index = 0
        subject, relation_id = (event.tenant, event.data.consumer_id), event.data.relation_id
        id, mode = document_id(*subject, relation_id), self._modes.get(document_id(*subject))
        old = state.facts.get(id)
        if mode is None:
            if (new := resolve(id, event, old, record.value)) is not old:
                state.replace(record, event, id, new)
                self._remaining.add(id)
            return
        if old is not None:
            self._erase_fact(state, record, event, id, mode)
        if mode == "anonymise":
            self._add_to_pseudonym(
                state, record, event, self._pseudonymised(fact_document(id, event, event.version, None))
            )

    def markers(self) -> list[Write]:
        found: dict[str, Write] = {}
        for _, event in self._items:
            id = document_id(event.tenant, event.data.consumer_id)
            if id not in self._modes or id in found:
                continue
            marker = {"_id": id, "tenant": event.tenant, "consumer_id": event.data.consumer_id}
            after = {**marker, "mode": self._modes[id]}
            if (before := self._old.get(id)) != after:
                found[id] = Write(ERASED, id, before, after)
        return list(found.values())

    def _erase_fact(self, state: FactFold, record: Record, event: FactEvent, id: str, mode: Mode) -> None:
        """Remove the fact ``id`` for good, or move it to the pseudonym."""
        fact = state.facts[id]
        assert fact is not None
        before = state.move(id, None)
        self._publish(state, record, event, fact, before, None)
        if mode == "anonymise":
            self._add_to_pseudonym(state, record, event, self._pseudonymised(fact))

    def _add_to_pseudonym(self, state: FactFold, record: Record, event: FactEvent, fact: Document) -> None:
        """Give the pseudonym this fact, unless it has one of a higher version."""
        old = state.facts.get(fact["_id"])
        if (new := fact if old is None else later(old, fact)) is not old:
            before = state.move(fact["_id"], new)
            self._remaining.add(fact["_id"])
            self._publish(state, record, event, new, before, new)

    def _publish(
        self,
        state: FactFold,
        record: Record,
        event: FactEvent,
        fact: Document,
        before: Document | None,
        after: Document | None,
    ) -> None:
        if public_state(before) == public_state(after):
            return
        moved = isinstance(event, SubjectErased) or fact["consumer_id"] != event.data.consumer_id
        cause = ANONYMISED if moved else {"source": event.source, "id": event.id}
        value = change_event(record, event.time, fact, before, after, cause=cause, index=self._index)
        assert value is not None
        state.publish(f"{fact['tenant']}:{fact['consumer_id']}".encode(), value, record)
        self._index += 1

    def _prefixes(self, subject: Subject, mode: Mode) -> list[str]:
        """How the ids of the facts that an erasure takes begin: of the consumer's, with those that were stored
        before ids were normalised, and with ``delete`` of the pseudonym's."""
        tenant, consumer_id = subject
        gone = [consumer_id, *other_spellings(consumer_id)]
        if mode == "delete":
            gone.append(self._pseudonym(tenant, consumer_id))
        return [f"{document_id(tenant, each)}:" for each in gone]

    def _relation(self, tenant: str, consumer_id: str, relation_id: str) -> str:
        # The fact's own id identifies the consumer as well as the consumer's id does: the upstream knows it.
        return self._pseudonym(tenant, document_id("relation", consumer_id, relation_id))

    def _pseudonymous_id(self, tenant: str, consumer_id: str, relation_id: str) -> str:
        """The id that a fact has under the pseudonym, which is that of its ids in NFC."""
        consumer_id, relation_id = nfc(consumer_id), nfc(relation_id)
        relation = self._relation(tenant, consumer_id, relation_id)
        return document_id(tenant, self._pseudonym(tenant, consumer_id), relation)

    def _pseudonymous_id_of(self, fact: Document) -> str:
        return self._pseudonymous_id(fact["tenant"], fact["consumer_id"], fact["relation_id"])

    def _pseudonymised(self, fact: Document) -> Document:
        """The fact under the pseudonym, without its free texts and without the digest of its event."""
        tenant, consumer_id = fact["tenant"], nfc(fact["consumer_id"])
        named = {
            "_id": self._pseudonymous_id_of(fact),
            "tenant": tenant,
            "relation_id": self._relation(tenant, consumer_id, nfc(fact["relation_id"])),
            "consumer_id": self._pseudonym(tenant, consumer_id),
        }
        plain = {name: value for name, value in fact.items() if name not in PERSONAL}
        return without_digest({**plain, **named})
