"""Folds the messages about a subject and records the effect of each occurrence of an event. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from services.explain import verdicts as why
from services.explain.find import Name, fields_of, subject_of
from services.explain.fold import Aggregation, Documents, Item, Replay, as_changes
from services.explain.model import Explanation, Occurrence, Reference
from services.relations.fact_documents import without_digest
from services.relations.fact_erasure import ERASED
from services.relations.registers import PARTS, canonical
from services.relations.wide import CELLS
from shared.contracts.codec import encode
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import ConsumerErased, Event, SubjectErased, document_id, subject_id, time_of_record
from shared.contracts.topics import Topics
from shared.runtime.dead_letters import REPLAY_OF
from shared.runtime.protocols import Document, Partition, Projection, Record

_SLICE = 1_000


@dataclass(slots=True)
class Entry:
    """A message about a subject. ``name`` is the name of the requested event; None for another event."""

    record: Record
    name: Name | None
    letter: Document | None
    processed: bool = False

    @property
    def fields(self) -> Mapping[str, Any]:
        return fields_of(self.record.value)

    def decode(self, projection: Projection[Any]) -> tuple[Event | SubjectErased | None, InvalidEvent | None]:
        """The event (None if it was rejected when it was read, ``letter``), and why it is rejected today."""
        try:
            event = projection.decode(self.record)
        except InvalidEvent as error:
            return None, error
        return (event if self.letter is None else None), None


@dataclass(frozen=True)
class Replayed:
    """A replayed occurrence, with its event if it was accepted, and the reason if it is rejected today."""

    entry: Entry
    event: Event | SubjectErased | None
    refused: InvalidEvent | None
    occurrence: Occurrence


@dataclass(frozen=True)
class StoredState:
    """The state of MongoDB at one moment: the next offset of relations by partition, and documents."""

    positions: Mapping[Partition, int]
    documents: Documents = field(default_factory=dict)


class ReplayLog:
    """Folds a history and records the effect of each occurrence."""

    def __init__(
        self,
        entries: Sequence[Entry],
        short: str,
        projection: Projection[Any],
        topics: Topics,
        stored: StoredState,
    ) -> None:
        self._entries = entries
        self._short = short
        self._stored = stored
        self._projection = projection
        self._replay = Replay(projection)
        self._aggregation = Aggregation(topics)
        self._places: dict[tuple[str, str], list[Reference]] = {}
        self._twins: dict[tuple[str, bytes], Reference] = {}
        self._replayed: dict[Name, list[Replayed]] = {}
        self._alone: dict[Name, Document] = {}
        self._waiting: list[Item] = []
        self._erasures: list[Reference] = []
        #: How many of the erasures are stored.
        self._erased = 0
        self._now: Documents | None = None

    def run(self) -> None:
        for entry in self._entries:
            if not entry.processed and self._now is None:
                self._flush()
                self._now = self._replay.snapshot()
            event, refused = entry.decode(self._projection)
            if event is not None:
                reference = _reference(entry.record, event)
                self._places.setdefault((event.source, event.id), []).append(reference)
            if entry.name is not None:
                self._flush()
                occurrence = self._replay_occurrence(entry, event, refused)
                replayed = Replayed(entry, event, refused, occurrence)
                self._replayed.setdefault(entry.name, []).append(replayed)
            elif event is not None:
                self._waiting.append((entry.record, event))
                if len(self._waiting) == _SLICE:
                    self._flush()
            if isinstance(event, ConsumerErased | SubjectErased):
                self._erasures.append(_reference(entry.record, event))
                self._erased = len(self._erasures) if entry.processed else self._erased
        self._flush()
        self._now = self._now or self._replay.snapshot()

    def _flush(self) -> None:
        if self._waiting:
            _, messages = self._replay.fold(self._waiting)
            self._aggregation.fold(messages)
            self._waiting = []

    def _replay_occurrence(
        self, entry: Entry, event: Event | SubjectErased | None, refused: InvalidEvent | None
    ) -> Occurrence:
        record = entry.record
        topic, number = record.partition
        next = self._stored.positions.get(record.partition, 0)
        replay_of = dict(record.headers).get(REPLAY_OF)
        occurrence = Occurrence(
            topic,
            number,
            record.offset,
            time_of_record(record.timestamp),
            "dead_letter",
            "",
            entry.processed,
            max(0, record.offset + 1 - next),
            None if replay_of is None else replay_of.decode("utf-8", "replace"),
            letter=entry.letter,
        )
        if entry.letter is not None:
            occurrence.reason = why.letter_reason(entry.letter)
        elif event is None:
            assert refused is not None
            occurrence.reason = why.refused_reason(refused, entry.processed)
        else:
            self._fold(entry, event, occurrence)
        return occurrence

    def _fold(self, entry: Entry, event: Event | SubjectErased, occurrence: Occurrence) -> None:
        assert entry.name is not None
        collection, id = why.own_document(event, self._short)
        old = self._replay.documents[collection].get(id)
        alone = self._replay.alone((entry.record, event))[collection][id]
        self._alone[entry.name] = alone
        marker = _marker(self._replay.documents, event)
        moves, messages = self._replay.fold([(entry.record, event)])
        same = (event.tenant, encode(event))
        found = why.verdict(
            event, old, alone, moves, messages, self._twins.get(same), self._erasures, self._places, marker
        )
        occurrence.outcome, occurrence.reason, occurrence.because = found
        self._twins.setdefault(same, _reference(entry.record, event))
        aggregates = self._aggregation.fold(messages)
        if marker is not None or isinstance(event, SubjectErased):
            # All facts of the consumer are too many to report, and a pseudonym must not appear beside their name.
            moves, messages = [move for move in moves if move.collection == ERASED], []
            ordered = event.data.mode if isinstance(event, SubjectErased) else "delete"
            if "anonymise" in (ordered, (marker or {}).get("mode")):
                aggregates = []
        occurrence.documents = moves
        occurrence.changes = as_changes(messages, [orjson.loads(m.value) for m in messages])
        occurrence.aggregates = aggregates

    def explanations(self) -> list[Explanation]:
        return [self._explanation(name, replayed) for name, replayed in self._replayed.items()]

    def _explanation(self, name: Name, replayed: Sequence[Replayed]) -> Explanation:
        accepted = [one for one in replayed if one.event is not None]
        last = accepted[-1] if accepted else replayed[-1]
        event, occurrences, fields = last.event, [one.occurrence for one in replayed], last.entry.fields
        subject = subject_of(self._short, fields)
        data = fields.get("data")
        named = data if isinstance(data, dict) else {}
        explanation = Explanation(
            name.tenant,
            name.source,
            name.id,
            _text(fields.get("type")),
            None if event is None else event.time,
            None if event is None else event.version.sequence or None,
            _text(named.get("consumer_id")) if subject else None,
            _text(named.get("provider_id")),
            _text(named.get("relation_id")),
            why.door(last.refused, any(o.replay_of for o in occurrences)),
            "dead_letter",
            "",
            [],
            occurrences,
        )
        if event is None:
            explanation.summary = occurrences[-1].reason
            return explanation
        if not any(one.entry.processed for one in accepted):
            behind = accepted[0].occurrence.behind
            explanation.standing = "waiting"
            explanation.summary = f"not processed yet: relations is {behind:,} messages behind"
            return explanation
        self._judge(explanation, name, event)
        return explanation

    def _judge(self, explanation: Explanation, name: Name, event: Event | SubjectErased) -> None:
        assert self._now is not None
        collection, id = why.own_document(event, self._short)
        erasures = self._erasures[: self._erased]
        now, marker = self._now[collection].get(id), _marker(self._now, event)
        found = why.standing(event, now, self._alone[name], self._places, erasures, marker)
        explanation.standing, explanation.summary, explanation.superseded_by = found
        touched = {(collection, id)}
        moves = (m for o in explanation.occurrences for m in o.documents if o.processed)
        # The head of a relationship has the sums and the number of its cells.
        touched |= {(move.collection, move.id) for move in moves if move.collection != CELLS}
        profile = self._stored.documents.get(collection, {}).get(id) or now
        if profile is not None and collection in PARTS:
            explanation.fields = why.origins(profile, self._places)
        if not self._stored.documents:
            return
        for name_, id_ in sorted(touched):
            explanation.stored.setdefault(name_, {})[id_] = self._stored.documents.get(name_, {}).get(id_)
        explanation.exact = all(
            self._now[name_].get(id_) == (document and _comparable(name_, document))
            for name_, documents in explanation.stored.items()
            for id_, document in documents.items()
        )


def _comparable(collection: str, document: Document) -> Document:
    """A stored document in the form that a fold of the log gives it."""
    if collection in PARTS:
        return canonical(collection, document)
    return without_digest(document)


def _marker(documents: Documents, event: Event | SubjectErased) -> Document | None:
    """The marker that the facts of the event's consumer are erased."""
    return documents[ERASED].get(document_id(event.tenant, subject_id(event)))


def _reference(record: Record, event: Event | SubjectErased) -> Reference:
    topic, number = record.partition
    sequence = event.version.sequence or None
    return Reference(event.source, event.id, event.time, sequence, topic, number, record.offset)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
