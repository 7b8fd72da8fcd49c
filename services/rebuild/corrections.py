"""Corrections for consumers of the change topics after a switch. Analytics and every other consumer hold the facts
of the old version; where the new version has different facts, they need a change."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta

import orjson
from kafka.partitioner import murmur2
from pymongo.database import Database

from services.rebuild.build import RebuildContext
from services.rebuild.compare import VersionComparison, rows
from services.rebuild.diff import Row, merged, same
from services.relations.change_events import public_state
from shared.contracts.events import EPOCH
from shared.contracts.topics import CHANGES, Topics
from shared.erasure.records import cause_of
from shared.runtime.protocols import Document, Message, Progress
from shared.runtime.sequence_numbers import assign_numbers
from shared.versions.generations import Handover

_FACTS = "relations"


def count_differing(
    context: RebuildContext, database: Database[Document], target: int, tick: Callable[[], object]
) -> int:
    """How many facts the two versions would publish differently. Raises Superseded and Unavailable."""

    def why(one: Document | None, two: Document | None) -> tuple[str, str]:
        return ("changes" if not same(public_state(one), public_state(two)) else "silent"), ""

    found = VersionComparison(context, database, target, lambda _: why, tick=tick, collections=[_FACTS]).compare()
    return found.collections[_FACTS].reasons["changes"]


class CorrectionPublisher:
    """Makes the changes that lead consumers from the facts of one version to those of another, while both are
    stopped. Each continues the old version's last change: ``before`` is its fact, ``after`` the new version's."""

    def __init__(self, database: Database[Document], topics: Topics, live: int, target: int) -> None:
        self._database, self._topics = database, topics
        self._live, self._target = live, target

    def __call__(self, hand_over: Handover, marks: Mapping[str, Progress]) -> dict[str, list[Message]]:
        """Makes the corrections, by ``topic/partition`` of the events, numbered after the last change of each."""
        old = rows(self._database, _FACTS, self._live)
        new = rows(self._database, _FACTS, self._target)
        return corrections(differing_facts(old, new), hand_over, marks, self._topics)


def differing_facts(
    live: Iterable[Row], other: Iterable[Row]
) -> Iterator[tuple[Document | None, Document | None]]:
    """The facts that the two versions publish differently, as both have stored them."""
    for one, two in merged(live, other):
        if one is not None and two is not None and one.raw == two.raw:
            continue
        before, after = one and one.document(), two and two.document()
        if not same(public_state(before), public_state(after)):
            yield before, after


def corrections(
    facts: Iterable[tuple[Document | None, Document | None]],
    hand_over: Handover,
    marks: Mapping[str, Progress],
    topics: Topics,
) -> dict[str, list[Message]]:
    """The changes from each old to each new fact, by the partition of the consumer's events."""
    topic = topics.name(_FACTS)
    places = {place: mark for place, mark in marks.items() if place.rpartition("/")[0] == topic and mark.next}
    count = sum(place.rpartition("/")[0] == topic for place in marks)
    found: dict[str, list[Message]] = defaultdict(list)
    if not places:
        return found
    for before, after in facts:
        fact = after or before
        assert fact is not None
        key = f"{fact['tenant']}:{fact['consumer_id']}".encode()
        place = f"{topic}/{(murmur2(key) & 0x7FFFFFFF) % count}"
        if place not in places:  # no event has arrived there: an upstream with another partitioner
            place = max(places, key=lambda each: places[each].next or 0)
        change = _change(hand_over, place, places[place], len(found[place]) + 1, before, after)
        partition = int(place.rpartition("/")[2])
        found[place].append(Message(topics.name(CHANGES[_FACTS]), key, change, partition))
    return {
        place: assign_numbers(messages, f"relations@1/{place}", marks[place].emitted)[0]
        for place, messages in found.items()
    }


def _change(
    hand_over: Handover, place: str, mark: Progress, index: int, before: Document | None, after: Document | None
) -> bytes:
    topic, _, partition = place.rpartition("/")
    assert mark.next is not None
    origin = {"topic": topic, "partition": int(partition), "offset": mark.next - 1, "index": index}
    fact = after or before
    assert fact is not None
    version = fact["version"]
    # A pseudonym's fact has the version of the consumer's own event, which the change must not contain.
    cause = cause_of(fact)
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"{place}/{origin['offset']}/{hand_over.id}/{index}",
            "source": "kith/relations",
            "type": "relation.changed",
            "time": EPOCH + timedelta(microseconds=version["time"]),
            "tenant": fact["tenant"],
            "data": {
                "relation_id": fact["relation_id"],
                "consumer_id": fact["consumer_id"],
                "before": public_state(before),
                "after": public_state(after),
                "cause": cause,
                "origin": origin,
            },
        }
    )
