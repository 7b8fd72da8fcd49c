"""The logs in Kafka as they are, and what a pure fold makes of them. Shares no code with the services."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import orjson
from kafka import KafkaConsumer

from services.demo.oracle import PUBLISHED, Oracle
from shared.kafka.python_client.reader import connection, partitions_of
from shared.runtime.dead_letters import REPLAY_OF
from shared.settings import Settings
from tests.fault.load import POISON
from tests.support.waiting import Deadline

Document = dict[str, Any]
Place = tuple[str, int]
_PATIENCE_SECONDS = 60.0


class Entry(NamedTuple):
    """One message of a log."""

    place: Place
    offset: int
    value: bytes
    headers: Mapping[str, bytes]

    @property
    def id(self) -> str:
        return f"{self.place[0]}/{self.place[1]}/{self.offset}"


Log = dict[Place, list[Entry]]


def read_log(settings: Settings, topics: Iterable[str]) -> Log:
    """All that lies in these topics (full names) now, by partition, in order."""
    consumer = KafkaConsumer(
        **connection(settings), group_id=None, auto_offset_reset="earliest", max_poll_records=5_000
    )
    try:
        places = partitions_of(consumer, topics)
        ends = consumer.end_offsets(places)
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        log: Log = {(tp.topic, tp.partition): [] for tp in places}
        left = {tp for tp, end in ends.items() if end}
        deadline = Deadline(_PATIENCE_SECONDS)
        while left:
            deadline.check(f"{sorted(left)} could not be read to the end")
            for tp, records in consumer.poll(timeout_ms=500).items():
                place = (tp.topic, tp.partition)
                log[place] += [
                    Entry(place, r.offset, r.value, dict(r.headers)) for r in records if r.offset < ends[tp]
                ]
            left = {tp for tp in left if consumer.position(tp) < ends[tp]}
    finally:
        consumer.close()
    return log


def until(log: Log, positions: Mapping[Place, int]) -> Log:
    """The part of a log that lies before these positions; 0 where there is none."""
    return {
        place: [entry for entry in entries if entry.offset < positions.get(place, 0)]
        for place, entries in log.items()
    }


def fold(log: Log) -> tuple[Oracle, set[str]]:
    """The state that a log of events leads to, and the ids of the entries that must be dead letters."""
    oracle = Oracle(ordered=True)
    dead: set[str] = set()
    for entries in log.values():
        for entry in entries:
            if is_poison(entry):
                dead.add(entry.id)
            else:
                oracle.add(upcast(orjson.loads(entry.value)))
    return oracle, dead


def is_poison(entry: Entry) -> bool:
    """Whether it must become a dead letter. What was one because of its version may be accepted when it is
    replayed: the test has taught the workers that version by then."""
    reason = entry.headers.get(POISON)
    return reason is not None and not (reason == b"unknown_version" and REPLAY_OF in entry.headers)


def upcast(event: Document) -> Document:
    """An event of the version 0 that only these tests know, as it is today."""
    if event.get("dataversion") == 0:
        data = {"amount" if name == "price" else name: value for name, value in event["data"].items()}
        return {**event, "dataversion": 1, "data": data}
    return event


def effective(log: Log, topic: str) -> set[str]:
    """The ids of the events on relations that make a change: those that are later than what was known of their
    fact, and leave it in another state. The log's order within a partition decides."""
    made: set[str] = set()
    states: dict[tuple[str, ...], dict[tuple[str, ...], Document]] = {}
    oracles: dict[tuple[str, ...], Oracle] = {}
    orders: dict[tuple[str, ...], Document] = {}
    for place, entries in log.items():
        for entry in entries if place[0] == topic else ():
            if is_poison(entry):
                continue
            event = upcast(orjson.loads(entry.value))
            data = event["data"]
            subject = (event.get("tenant", "default"), data["consumer_id"])
            if event["type"] == "relation.subject_erased":
                orders[subject] = event
                keys = [key for key in oracles if key[:2] == subject]
            else:
                keys = [(*subject, data["relation_id"])]
            for key in keys:
                if key not in oracles:
                    oracles[key] = Oracle(ordered=True)
                    if subject in orders:
                        oracles[key].add(orders[subject])
                oracles[key].add(event)
                # An erasure may move the fact to another name, which is a change of both.
                facts = oracles[key].expected().facts
                state = {
                    where: {name: fact[name] for name in PUBLISHED if name in fact}
                    for where, fact in facts.items()
                }
                if state != states.get(key, {}):
                    made.add(entry.id)
                states[key] = state
    return made


class Stream(NamedTuple):
    """What a reader takes from one partition of changes: number n + 1 after n of each origin."""

    taken: list[Document]
    highest: dict[str, int]
    present: dict[str, dict[int, bytes]]
    contradictions: list[str]


def sieve(entries: Iterable[Entry]) -> Stream:
    stream = Stream([], {}, defaultdict(dict), [])
    for entry, origin, number in numbered(entries):
        first = stream.present[origin].setdefault(number, entry.value)
        if first != entry.value:
            stream.contradictions.append(f"{entry.id}: number {number} of {origin} is another change than before")
        if number == stream.highest.get(origin, 0) + 1:
            stream.highest[origin] = number
            stream.taken.append(orjson.loads(entry.value))
    return stream


def numbered(entries: Iterable[Entry]) -> Iterator[tuple[Entry, str, int]]:
    for entry in entries:
        if "kith-origin" in entry.headers:
            yield entry, entry.headers["kith-origin"].decode(), int(entry.headers["kith-number"])
