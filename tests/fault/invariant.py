"""The invariant: what must be true of MongoDB and Kafka, in the middle of anything and at the end.

In the middle: one snapshot of all documents equals a pure fold of the log up to the positions in that snapshot,
and no change is lost between the snapshot, the outbox and the log of changes. At the end the positions are the
logs' ends, and nothing is left to do. Every statement that does not hold comes back as a sentence.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pymongo.database import Database
from pymongo.read_concern import ReadConcern

from services.demo.changelog import ChangeLog, Logged
from services.demo.comparison import Weights, compare_documents
from services.demo.oracle import Expected
from shared.contracts.topics import CHANGES, INPUTS
from shared.mongo.store import MongoStore
from shared.runtime.sequence_numbers import NUMBER, ORIGIN
from shared.settings import Settings
from tests.fault.aggregates import Sums, expected_sums, stored_aggregates, stored_presence
from tests.fault.log import Document, Log, Place, effective, fold, read_log, sieve, until

_COLLECTIONS = ("consumers", "providers", "relations", "relationships", "aggregates", "presence", "dead_letters")
#: So many sentences of a kind are enough.
_MOST = 12


@dataclass(frozen=True)
class Snapshot:
    """All documents at one point in time; positions by their id."""

    documents: Mapping[str, list[Document]]
    positions: Mapping[str, Document]

    def reached(self, projection: str) -> dict[Place, int]:
        """How far a projection has come, by topic and partition."""
        found = {}
        for id, position in self.positions.items():
            name, topic, number = id.split("/")
            if name == f"{projection}@1":
                found[topic, int(number)] = position.get("next") or 0
        return found


class Invariant:
    """Checks a system. ``grown`` says that partitions were added, which moves keys: the order of a fact's changes
    is then unknown, and what depends on it is not checked."""

    def __init__(self, settings: Settings, database: Database[Document], *, grown: bool = False) -> None:
        self._settings, self._database, self._grown = settings, database, grown
        prefix = settings.topic_prefix
        self._inputs = [f"{prefix}.{short}" for short in INPUTS]
        self._outputs = {f"{prefix}.{short}": f"{prefix}.{CHANGES[short]}" for short in INPUTS}
        self._relations, self._changes = f"{prefix}.relations", f"{prefix}.relation-changes"

    def meanwhile(self) -> list[str]:
        """What is wrong now, while everything runs. Raises PyMongoError and KafkaError."""
        snapshot = self._snapshot()
        # In this order: what leaves the outbox after the snapshot is in the log before the log is read.
        waiting = self._waiting(snapshot)
        inputs, changes = self._logs()
        oracle, dead = fold(until(inputs, snapshot.reached("relations")))
        wrong = self._documents(snapshot, replace(oracle.expected(), aggregates={}), with_aggregates=False)
        wrong += _dead_letters(snapshot, dead)
        wrong += self._unlost(snapshot, changes, waiting)
        return wrong + self._aggregates(snapshot, changes)

    def at_the_end(self, sent: Counter[bytes]) -> list[str]:
        """What is wrong once all is done. ``sent`` are the values of the messages that Kafka acknowledged."""
        snapshot = self._snapshot()
        inputs, changes = self._logs()
        oracle, dead = fold(inputs)
        expected = oracle.expected()
        wrong = self._documents(snapshot, expected, with_aggregates=True) + _dead_letters(snapshot, dead)
        wrong += self._aggregates(snapshot, changes)
        there = Counter(entry.value for entries in inputs.values() for entry in entries)
        if lost := sent - there:
            wrong.append(f"{sum(lost.values())} acknowledged events are not in Kafka")
        wrong += _ends(snapshot, inputs, "relations")
        wrong += _ends(snapshot, {p: es for p, es in changes.items() if p[0] == self._changes}, "analytics")
        if unpublished := self._database.outbox.count_documents({}):
            wrong.append(f"{unpublished} parcels are left in the outbox")
        wrong += self._published(snapshot, changes)
        return wrong if self._grown else wrong + self._exactly_these_changes(expected, inputs, changes)

    def _logs(self) -> tuple[Log, Log]:
        return read_log(self._settings, self._inputs), read_log(self._settings, self._outputs.values())

    def _snapshot(self) -> Snapshot:
        with (
            self._database.client.start_session() as session,
            session.start_transaction(read_concern=ReadConcern("snapshot")),
        ):
            documents = {
                name: list(self._database[name].find(session=session)) for name in (*_COLLECTIONS, "positions")
            }
        return Snapshot(documents, {each["_id"]: each for each in documents["positions"]})

    def _waiting(self, snapshot: Snapshot) -> dict[str, set[int]]:
        """The numbers in the outbox, by origin."""
        store = MongoStore(self._database, {})
        found: dict[str, set[int]] = {}
        for position in snapshot.positions:
            for batch in store.unpublished(position):
                for message in batch.messages:
                    headers = dict(message.headers)
                    if NUMBER in headers:
                        found.setdefault(headers[ORIGIN].decode(), set()).add(int(headers[NUMBER]))
        return found

    def _documents(self, snapshot: Snapshot, expected: Expected, *, with_aggregates: bool) -> list[str]:
        weights = Weights(self._settings.kind_weights, self._settings.half_life_months)
        stored = dict(snapshot.documents) if with_aggregates else {**snapshot.documents, "aggregates": []}
        found = compare_documents(expected, stored, weights)
        wrong = [str(difference) for difference in found.differences[:_MOST]]
        distinct = len({document["_id"] for document in stored["relations"] if not document["retracted"]})
        total = sum(document["count"] for document in stored["relationships"])
        if not total == distinct == len(expected.facts):
            wrong.append(f"Σ counts {total}, distinct live facts {distinct}, in the log {len(expected.facts)}")
        return wrong

    def _unlost(self, snapshot: Snapshot, changes: Log, waiting: Mapping[str, set[int]]) -> list[str]:
        """Every change that is stored is published or waits in the outbox."""
        wrong = []
        for id, emitted, place in self._emitters(snapshot):
            there = set(sieve(changes[place]).present.get(id, ())) | waiting.get(id, set())
            if missing := set(range(1, emitted + 1)) - there:
                wrong.append(f"{id}: {len(missing)} changes are lost, the first is number {min(missing)}")
        return wrong

    def _published(self, snapshot: Snapshot, changes: Log) -> list[str]:
        """The numbers of an origin's changes are 1 to n, and all of them reach a reader."""
        wrong = []
        for id, emitted, place in self._emitters(snapshot):
            stream = sieve(changes[place])
            there, taken = set(stream.present.get(id, ())), stream.highest.get(id, 0)
            if there != set(range(1, emitted + 1)) or taken != emitted:
                wrong.append(f"{id}: {emitted} changes made, {len(there)} in the log, {taken} reach a reader")
            wrong += stream.contradictions[:_MOST]
        return wrong

    def _emitters(self, snapshot: Snapshot) -> list[tuple[str, int, Place]]:
        """Per position of relations: how many changes it has made, and where they go."""
        return [
            (f"relations@1/{topic}/{number}", position.get("emitted", 0), (self._outputs[topic], number))
            for topic, number in sorted(snapshot.reached("relations"))
            for position in [snapshot.positions[f"relations@1/{topic}/{number}"]]
        ]

    def _aggregates(self, snapshot: Snapshot, changes: Log) -> list[str]:
        """The aggregates count each change once, up to where analytics has come."""
        wrong, taken = list[str](), list[Document]()
        for place, entries in until(changes, snapshot.reached("analytics")).items():
            if place[0] != self._changes:
                continue
            stream = sieve(entries)
            taken += stream.taken
            position = snapshot.positions.get(f"analytics@1/{place[0]}/{place[1]}", {})
            counted = {entry["origin"]: entry["number"] for entry in position.get("seen", ())}
            if counted != stream.highest:
                wrong.append(f"{place} is counted up to {counted}, and the log says {stream.highest}")
        aggregates, presence = expected_sums(taken)
        wrong += _different("aggregates", aggregates, stored_aggregates(snapshot.documents["aggregates"]))
        return wrong + _different("presence", presence, stored_presence(snapshot.documents["presence"]))

    def _exactly_these_changes(self, expected: Expected, inputs: Log, changes: Log) -> list[str]:
        """The changes of facts are those that a fold of the log makes, and each joins the one before it."""
        log = ChangeLog(expected)
        there: set[str] = set()
        for place, entries in changes.items():
            if place[0] == self._changes:
                taken = sieve(entries).taken
                log.read(Logged(place[1], change) for change in taken)
                # An erasure makes several, which are counted after the place.
                there |= {"/".join(change["id"].split("/")[:3]) for change in taken}
        wrong = [str(difference) for difference in log.judge().differences[:_MOST]]
        made = effective(inputs, self._relations)
        wrong += [f"the event at {id} made no change" for id in sorted(made - there)[:_MOST]]
        return wrong + [f"the event at {id} should make no change" for id in sorted(there - made)[:_MOST]]


def _dead_letters(snapshot: Snapshot, dead: set[str]) -> list[str]:
    stored = {letter["_id"]: letter["reason"] for letter in snapshot.documents["dead_letters"]}
    wrong = [f"{id} should be a dead letter" for id in sorted(dead - stored.keys())[:_MOST]]
    return wrong + [f"{id} is a dead letter: {stored[id]}" for id in sorted(stored.keys() - dead)[:_MOST]]


def _ends(snapshot: Snapshot, log: Log, projection: str) -> list[str]:
    """Every position is the end of its log, and so are their sums."""
    reached = snapshot.reached(projection)
    ends = {place: entries[-1].offset + 1 if entries else 0 for place, entries in log.items()}
    return [
        f"{projection} has come to {reached.get(place, 0)} of {place}, whose end is {end}"
        for place, end in ends.items()
        if reached.get(place, 0) != end
    ]


def _different(what: str, expected: Sums, found: Sums) -> list[str]:
    keys = [key for key in sorted(expected.keys() | found.keys()) if expected.get(key) != found.get(key)]
    return [f"{what} {key}: expected {expected.get(key)}, found {found.get(key)}" for key in keys[:_MOST]]
