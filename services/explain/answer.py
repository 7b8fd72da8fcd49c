"""`kith explain`: traces one event across services. Reads only."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from services.explain.find import Asked, Needles, Subject, fields_of, is_about, name_of, subject_of
from services.explain.history import History
from services.explain.model import Change, Explanation, Publication, Report
from services.relations.factory import build_projection
from shared.contracts.topics import INPUTS, Topics
from shared.runtime.dead_letters import dead_letter_id
from shared.runtime.protocols import Partition, Projection, Record
from shared.runtime.sequence_numbers import NUMBER
from shared.settings import Settings
from shared.vault.key_requests import Answered
from shared.vault.keys import Vault

if TYPE_CHECKING:
    from services.explain.log import LogScan
    from services.explain.store import ExplainStore

Subjects = dict[str, set[Subject]]


class Explainer:
    """Finds an event and everything that belongs to it. ``stage`` receives a line for each step."""

    def __init__(
        self,
        settings: Settings,
        log: "LogScan",
        store: "ExplainStore",
        stage: Callable[[str], None] = lambda _: None,
        vault: Vault | None = None,
    ) -> None:
        self._topics = Topics(settings.topic_prefix)
        self._inputs = [self._topics.name(short) for short in INPUTS]
        self._log = log
        self._store = store
        self._stage = stage
        #: The places of messages that contain the id but cannot be decoded.
        self._unreadable: list[str] = []
        projection: Projection[Any] = build_projection(settings, vault)
        self._projection = projection if vault is None else Answered(projection, vault)

    def explain(self, asked: Asked, since: datetime | None, until: datetime | None) -> Report:
        """Raises Unavailable. ``since`` and ``until`` bound the search for the event, by the messages' timestamps
        in Kafka. Other messages about its subject are read from the beginning."""
        started = time.monotonic()
        self._stage("searching the stored documents that name it")
        letters = self._store.letters_of(asked)
        subjects = self._store.subjects(asked)
        for letter in letters:
            self._add(subjects, letter)
        if not subjects:
            subjects = self._search(asked, since, until)
        read = sorted(subjects) or list(INPUTS)
        events: list[Explanation] = []
        for short in sorted(subjects):
            self._stage(
                f"reading the other events of the same {'provider' if short == 'providers' else 'consumer'}"
            )
            events += self._explain(self._topics.name(short), asked, subjects[short], letters)
        self._stage("searching its changes")
        self._follow(events)
        bounds = {"since": since, "until": until}
        topics = [self._topics.name(short) for short in read]
        seconds = round(time.monotonic() - started, 3)
        scanned = {"messages": self._log.messages, "topics": topics, **bounds, "seconds": seconds}
        return Report(asked.id, bool(events), self._summary(events, scanned), events, scanned)

    def _search(self, asked: Asked, since: datetime | None, until: datetime | None) -> Subjects:
        """The subjects of the event, by topic, from the whole log. A malformed event may have none."""
        self._stage(f"searching {', '.join(self._inputs)}")
        needles = Needles([asked.id])
        bounds = self._log.bounds(self._inputs, since, until)
        subjects: Subjects = {}
        for record in self._log.read(bounds, needles.may_be_in):
            fields = fields_of(record.value)
            name = name_of(fields)
            if name is not None and asked.admits(name):
                self._add(subjects, record)
            elif not fields and asked.id.encode() in (record.value or b""):
                self._unreadable.append(dead_letter_id(record))
        return subjects

    def _add(self, subjects: Subjects, record: Record) -> None:
        short = self._topics.short(record.partition.topic)
        if short in INPUTS:
            known = subjects.setdefault(short, set())
            if (subject := subject_of(short, fields_of(record.value))) is not None:
                known.add(subject)

    def _explain(
        self, topic: str, asked: Asked, subjects: set[Subject], letters: Sequence[Record]
    ) -> list[Explanation]:
        bounds = self._log.bounds([topic])
        records = [r for r in letters if r.partition.topic == topic and not _within(r, bounds)]
        about = self._about(topic, asked, subjects, bounds)
        if others := self._subjects(about, asked) - subjects:
            # The log has the id under another name, too, or for another subject than that of its dead letter.
            subjects = subjects | others
            about = self._about(topic, asked, subjects, bounds)
        records += about
        history = self._history(topic, records, asked)
        stored = self._store.stored(history.places)
        # Events that were stored since the log was read are needed, too.
        newer = {p: (end, stored.positions.get(p, 0)) for p, (_, end) in bounds.items()}
        if any(first < end for first, end in newer.values()):
            records += self._about(topic, asked, subjects, newer)
            history = self._history(topic, records, asked)
        found = history.explain(stored)
        for explanation in found:
            explanation.notes += _notes(explanation, bounds)
        return found

    def _about(
        self, topic: str, asked: Asked, subjects: set[Subject], bounds: Mapping[Partition, tuple[int, int]]
    ) -> list[Record]:
        short = self._topics.short(topic)
        needles = Needles([asked.id, *(subject.id for subject in subjects)])
        found = self._log.read(bounds, needles.may_be_in)
        return [record for record in found if is_about(record, short, asked, subjects)]

    def _subjects(self, records: Sequence[Record], asked: Asked) -> set[Subject]:
        found: Subjects = {}
        for record in records:
            name = name_of(fields_of(record.value))
            if name is not None and asked.admits(name):
                self._add(found, record)
        return set().union(*found.values())

    def _history(self, topic: str, records: Sequence[Record], asked: Asked) -> History:
        ordered = sorted(records, key=lambda record: (record.partition, record.offset))
        letters = self._store.letters([dead_letter_id(record) for record in ordered])
        return History(topic, ordered, letters, asked, self._topics, self._projection)

    def _follow(self, events: Sequence[Explanation]) -> None:
        """Add the places of the changes, whether analytics has counted them, and the present totals of their
        days."""
        occurrences = [o for explanation in events for o in explanation.occurrences]
        changes = {change.id: change for o in occurrences if o.processed for change in o.changes}
        if not changes:
            return
        places = {(change.topic, change.partition) for change in changes.values()}
        bounds = self._log.bounds({topic for topic, _ in places})
        wanted = {place: ends for place, ends in bounds.items() if tuple(place) in places}
        for record in self._log.read(wanted, Needles(list(changes)).may_be_in):
            if (change := changes.get(str(fields_of(record.value).get("id")))) is not None:
                number = dict(record.headers).get(NUMBER)
                change.published.append(
                    Publication(*record.partition, record.offset, int(number) if number else None)
                )
        counted, refused = self._store.counted(), self._store.refused_changes(list(changes))
        for change in changes.values():
            self._judge(change, counted)
            change.letter = refused.get(change.id)
        for o in occurrences:
            partitions = sum(place.topic == c.topic for c in o.changes[:1] for place in bounds)
            o.aggregates = list(self._store.day_totals(o.aggregates, partitions))

    def _judge(self, change: Change, counted: Mapping[Partition, int]) -> None:
        if change.topic == self._topics.name("relation-changes"):
            next = counted.get(Partition(change.topic, change.partition), 0)
            change.counted = any(place.offset < next for place in change.published)

    def _summary(self, events: Sequence[Explanation], read: Mapping[str, Any]) -> str:
        if events:
            return "; ".join(f"{e.source}: {e.summary}" if len(events) > 1 else e.summary for e in events)
        bounded = "" if read["since"] is None and read["until"] is None else " within these times"
        held = ""
        if self._unreadable:
            held = f" Messages that are no JSON object contain the id: {', '.join(self._unreadable[:10])}."
        return (
            f"no message in {', '.join(read['topics'])} has this id{bounded}, and no dead letter. Either the door "
            "rejected it (the answer contained the reason, and nothing was published), or the door could not "
            f"publish it (503: send it again), or it was never sent here.{held}"
        )


def _within(record: Record, bounds: Mapping[Partition, tuple[int, int]]) -> bool:
    first, end = bounds.get(record.partition, (0, 0))
    return first <= record.offset < end


def _notes(explanation: Explanation, bounds: Mapping[Partition, tuple[int, int]]) -> Iterator[str]:
    if trimmed := [f"{p} begins at {first}" for p, (first, _) in bounds.items() if first]:
        yield f"retention has deleted the start of the log ({', '.join(trimmed)}): earlier events are not shown"
    if explanation.exact is False:
        if explanation.fields:
            causes = "a profile of an earlier version of Kith (`kith rebuild` updates it), a log without its start"
        else:
            settings = "(KITH_KIND_WEIGHTS, KITH_HALF_LIFE_MONTHS)"
            causes = f"settings that differ from the services' {settings}, a log without its start"
        yield f"the stored documents differ from a fold of this log: {causes}, or a bug"


@contextmanager
def opened(
    settings: Settings, progress: Callable[[int, int], None], stage: Callable[[str], None]
) -> Iterator[Explainer]:
    """An Explainer on the servers of the settings, which must name Kafka and MongoDB."""
    from services.explain.log import LogScan
    from services.explain.store import ExplainStore
    from shared.mongo.store import connect
    from shared.vault.open import vault_in

    assert settings.mongo is not None
    with connect(settings.mongo) as client, LogScan(settings, progress) as log:
        database = client[settings.database]
        vault = vault_in(settings, database, seals=False)
        store = ExplainStore(database, Topics(settings.topic_prefix), vault)
        yield Explainer(settings, log, store, stage, vault)
