"""The facts of erased consumers: retracted for good (``delete``), or moved to a pseudonym (``anonymise``). Pure.

It is carried out in the partition of the facts, at ``relation.subject_erased``, which the partition of the
consumer sends. A marker then says of each later or replayed event of that consumer what becomes of it, so that
the facts are the same wherever in the order the erasure comes: with ``delete`` as if there had never been any,
with ``anonymise`` as if each event had named the pseudonym.

An event moves at most AT_ONCE facts; where more are left, it is sent once more. In between each fact is wholly
the one or the other, with the relationships' sums, in one transaction; a fact that is met by an event of its own
in the meantime is moved with it, so that nothing counts for both. Which facts an event moves is a function of the
log before it, so slices, replays and rebuilds move the same.
"""

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from itertools import islice

from services.relations.strength import Strength
from services.relations.tally import Pair
from services.relations.world import PERSONAL, World, change, fact_of, later, pair_in, pair_of, told, winner
from shared.erasure import Mode, Pseudonym, outranking
from shared.events import FactEvent, RelationEvent, SubjectErased, document_id
from shared.protocols import Answer, Ask, Beginning, Document, Get, Message, Outcome, Record, Write

ERASED = "erased"
#: It must never become less: a rebuild folds the repetitions that are in the log, and sends none of its own.
AT_ONCE = 1000

#: Changes to what a pseudonym has say no more of why: the event would tell whose it was.
_CAUSE = {"source": "kith/relations", "id": "anonymised"}

Subject = tuple[str, str]
Items = Sequence[tuple[Record, FactEvent]]


def project_with_erased(
    items: Items,
    read: Mapping[str, Mapping[str, Document]],
    change_topic: str,
    strength: Strength,
    pseudonym: Pseudonym,
) -> Generator[Ask, Answer, Outcome]:
    """Fold a slice in which consumers are erased, or have been. ``read`` holds the facts and relationships that
    its events name, and the markers."""
    fold = _Fold(items, read, pseudonym)
    yield from fold.load()
    world = World(fold.stored, fold.names, fold.relationships, change_topic)
    for record, event in items:
        if isinstance(event, SubjectErased):
            fold.erase(world, record, event)
        else:
            fold.take(world, record, event)
    outcome = yield from world.outcome(strength)
    outcome.writes += fold.markers()
    return outcome


class _Fold:
    def __init__(self, items: Items, read: Mapping[str, Mapping[str, Document]], pseudonym: Pseudonym) -> None:
        self._items = items
        self._pseudonym = pseudonym
        self._old = read[ERASED]
        self._modes: dict[str, Mode] = {id: marker["mode"] for id, marker in self._old.items()}
        self.stored: dict[str, Document] = dict(read["relations"])
        self.relationships: dict[str, Document] = dict(read["relationships"])
        self.names: dict[Pair, str] = {}
        self._told = 0  # the changes of the record at hand

    def load(self) -> Generator[Ask, Answer, None]:
        """Read what else may be needed: some facts of those who are erased, the same under the pseudonym, and
        all relationships of these."""
        orders = Counter((e.tenant, e.data.consumer_id) for _, e in self._items if isinstance(e, SubjectErased))
        events = [event for _, event in self._items if not isinstance(event, SubjectErased)]
        counts = Counter((event.tenant, event.data.consumer_id) for event in events)
        if orders:
            # So many that those which the slice leaves alone still show whether any are left.
            most = AT_ONCE * max(orders.values()) + max(counts.values(), default=0) + 1
            prefixes = [prefix for subject in orders for prefix in self._prefixes(subject)]
            for found in (yield Beginning("relations", prefixes, most)):
                self.stored |= {fact["_id"]: fact for fact in found}
        twins = {self._twin(fact) for fact in self.stored.values() if self._concerns(fact, orders)}
        for event in events:
            subject = (event.tenant, event.data.consumer_id)
            if subject in orders or document_id(*subject) in self._modes:
                twins.add(self._twin_of(*subject, event.data.relation_id))
        if missing := twins - self.stored.keys():
            self.stored |= (yield Get({"relations": missing}))["relations"]
        pairs = {pair for event in events if (pair := pair_of(event))}
        pairs |= {pair_in(fact) for fact in self.stored.values() if not fact["retracted"]}
        pairs |= {
            (tenant, self._pseudonym(tenant, id), provider)
            for tenant, id, provider in pairs
            if (tenant, id) in orders or document_id(tenant, id) in self._modes
        }
        self.names = {pair: document_id(*pair) for pair in pairs}
        missing = set(self.names.values()) - self.relationships.keys()
        self.relationships |= (yield Get({"relationships": missing}))["relationships"]

    def erase(self, world: World, record: Record, event: SubjectErased) -> None:
        """Carry an erasure out as far as one event does."""
        self._told = 0
        subject = (event.tenant, event.data.consumer_id)
        mode = self._modes[document_id(*subject)] = outranking(
            self._modes.get(document_id(*subject)), event.data.mode
        )
        own, other = self._prefixes(subject)
        standing = [sorted(id for id, f in world.facts.items() if f and id.startswith(p)) for p in (own, other)]
        wanted = [*standing[0], *standing[1]] if mode == "delete" else standing[0]
        for id in islice(wanted, AT_ONCE):
            self._settle(world, record, event, id, mode)
        if len(wanted) > AT_ONCE:
            world.send(Message(record.partition.topic, record.key, record.value or b""))

    def take(self, world: World, record: Record, event: RelationEvent) -> None:
        """Fold an event as the marker of its consumer says; without one, as any other."""
        self._told = 0
        subject, relation_id = (event.tenant, event.data.consumer_id), event.data.relation_id
        id, mode = document_id(*subject, relation_id), self._modes.get(document_id(*subject))
        old = world.facts.get(id)
        if mode is None:
            if (new := winner(id, event, old)) is not old:
                world.replace(record, event, id, new)
            return
        if old is not None:
            self._settle(world, record, event, id, mode)
        if mode == "anonymise":
            self._put(world, record, event, self._renamed(fact_of(id, event, event.version)))

    def markers(self) -> list[Write]:
        found = []
        for _, event in self._items:
            id = document_id(event.tenant, event.data.consumer_id)
            marker = {"_id": id, "tenant": event.tenant, "consumer_id": event.data.consumer_id}
            if id in self._modes and self._old.get(id) != (after := {**marker, "mode": self._modes[id]}):
                found.append(Write(ERASED, id, self._old.get(id), after))
                self._old = {**self._old, id: after}
        return found

    def _settle(self, world: World, record: Record, event: FactEvent, id: str, mode: Mode) -> None:
        """The fact ``id`` goes: for good, or to the pseudonym."""
        fact = world.facts[id]
        assert fact is not None
        before = world.move(id, None)
        self._tell(world, record, event, fact, before, None)
        if mode == "anonymise":
            self._put(world, record, event, self._renamed(fact))

    def _put(self, world: World, record: Record, event: FactEvent, fact: Document) -> None:
        """The pseudonym has this fact, unless what it has already counts more."""
        old = world.facts.get(fact["_id"])
        if (new := fact if old is None else later(old, fact)) is not old:
            before = world.move(fact["_id"], new)
            self._tell(world, record, event, new, before, new)

    def _tell(
        self,
        world: World,
        record: Record,
        event: FactEvent,
        fact: Document,
        before: Document | None,
        after: Document | None,
    ) -> None:
        if told(before) == told(after):
            return
        moved = isinstance(event, SubjectErased) or fact["consumer_id"] != event.data.consumer_id
        cause = _CAUSE if moved else {"source": event.source, "id": event.id}
        value = change(record, event.time, fact, before, after, cause=cause, index=self._told)
        assert value is not None
        world.tell(f"{fact['tenant']}:{fact['consumer_id']}".encode(), value, record)
        self._told += 1

    def _concerns(self, fact: Document, orders: Mapping[Subject, int]) -> bool:
        subject = (fact["tenant"], fact["consumer_id"])
        return subject in orders or document_id(*subject) in self._modes

    def _prefixes(self, subject: Subject) -> tuple[str, str]:
        """How the ids of a consumer's facts begin, and of the pseudonym's."""
        tenant, consumer_id = subject
        return (
            f"{document_id(tenant, consumer_id)}:",
            f"{document_id(tenant, self._pseudonym(tenant, consumer_id))}:",
        )

    def _relation(self, tenant: str, consumer_id: str, relation_id: str) -> str:
        # The fact's own id leads back as well as the consumer's does: the upstream knows it.
        return self._pseudonym(tenant, document_id("relation", consumer_id, relation_id))

    def _twin_of(self, tenant: str, consumer_id: str, relation_id: str) -> str:
        """The id that a fact has under the pseudonym."""
        relation = self._relation(tenant, consumer_id, relation_id)
        return document_id(tenant, self._pseudonym(tenant, consumer_id), relation)

    def _twin(self, fact: Document) -> str:
        return self._twin_of(fact["tenant"], fact["consumer_id"], fact["relation_id"])

    def _renamed(self, fact: Document) -> Document:
        """The fact under the pseudonym, without its free texts."""
        tenant, consumer_id = fact["tenant"], fact["consumer_id"]
        named = {
            "_id": self._twin(fact),
            "tenant": tenant,
            "relation_id": self._relation(tenant, consumer_id, fact["relation_id"]),
            "consumer_id": self._pseudonym(tenant, consumer_id),
        }
        return {**{name: value for name, value in fact.items() if name not in PERSONAL}, **named}
