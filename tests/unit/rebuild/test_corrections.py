"""What readers are told of the facts that other code makes, in memory."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import bson
import orjson
import pytest

from services.rebuild.corrections import corrections, differing_facts
from services.rebuild.diff import Row
from services.rebuild.handover import Corrections, hand_over
from services.rebuild.versions import approach
from services.relations.change_events import public_state
from services.relations.projection import RelationsProjection
from shared.contracts.changes import decode_change
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import EPOCH
from shared.runtime.protocols import Message, Progress, Record
from shared.versions.generations import Handover
from tests.support.builders import STRENGTH, TOPICS, MemoryKith, event, recorded, stored_state
from tests.support.rebuild import Service
from tests.support.vault import SameKeys


class Narrow(RelationsProjection):
    """The code as it was once: it did not know amendments of the third relation, nor what happens with p1."""

    def decode(self, record: Record) -> Any:
        event: Any = super().decode(record)
        if event.data.relation_id == "r3" or getattr(event.data, "provider_id", None) == "p1":
            raise InvalidEvent("invalid", "not known yet")
        return event


def corrected(service: Service, live: int, target: int) -> Corrections:
    """Those of the real thing, with documents in memory."""

    def rows(version: int) -> list[Row]:
        facts = service.documents(version)["relations"]
        return [Row(id.encode(), bson.encode(fact)) for id, fact in sorted(facts.items())]

    def correct(hand_over: Handover, marks: Mapping[str, Progress]) -> Mapping[str, list[Message]]:
        return corrections(differing_facts(rows(live), rows(target)), hand_over, marks, TOPICS)

    return correct


def known_to_readers(service: Service) -> dict[str, int]:
    """What the changes add up to, as states of facts and how often each counts."""
    states: Counter[str] = Counter()
    for (_, partition), changes in service.changes().items():
        for raw in changes if partition.topic == TOPICS.name("relation-changes") else ():
            decode_change(raw or b"")
            change = orjson.loads(raw or b"")
            data = change["data"]
            name = f"{change['tenant']}:{data['consumer_id']}:{data['relation_id']}"
            for state, sign in ((data["before"], -1), (data["after"], 1)):
                if state is not None:
                    states[f"{name} {json.dumps(state, sort_keys=True)}"] += sign
    return {state: count for state, count in states.items() if count}


def told_of(service: Service, version: int) -> dict[str, int]:
    return {
        f"{id} {json.dumps(orjson.loads(orjson.dumps(state)), sort_keys=True)}": 1
        for id, fact in service.documents(version)["relations"].items()
        if (state := public_state(fact)) is not None
    }


@pytest.mark.parametrize("failed_before", [False, True])
def test_readers_are_told_of_the_facts_that_other_code_makes(failed_before: bool) -> None:
    """The old code refused events that the new one takes. Each fact that differs is told of once, so that what
    readers have added up is what is stored; and so it is again after a rollback."""
    service = Service()
    service.projection = Narrow(TOPICS, STRENGTH, max_future_seconds=86_400)
    service.workers.clear()
    service.start_worker()
    service.send(80)
    service.drain()
    assert known_to_readers(service) == told_of(service, 1)
    context = service.context()
    service.build(context, service.begin(context))
    assert told_of(service, 1) != told_of(service, 2)
    if failed_before:
        steps = hand_over(context, 2, corrected(service, 1, 2))
        for step in steps:
            if step.startswith("numbered kith.relations/1"):
                break
        assert service.store.outbox, "there was nothing to tell"
        service.registry.seconds += 31
        service.send(10, start=80)
        service.drain_live()
        assert known_to_readers(service) == told_of(service, 1)
        approach(context, 2, None)
    steps_done = list(hand_over(context, 2, corrected(service, 1, 2)))
    assert any(step.startswith("found ") and step != "found 0 corrections" for step in steps_done)
    assert steps_done[-1].startswith("published the outbox"), "it would wait for the next event"
    assert known_to_readers(service) == told_of(service, 2)

    service.projection = service.kith.projection
    service.workers.clear()
    service.start_worker()
    service.send(20, start=100)
    service.drain()
    assert known_to_readers(service) == told_of(service, 2)
    assert told_of(service, 2) == dict.fromkeys(told_of_events(service.sent), 1), (
        "not a fold of all events by the new code"
    )

    list(hand_over(context, 1, corrected(service, 2, 1)))
    service.send(20, start=120)
    service.drain()
    assert known_to_readers(service) == told_of(service, 1)


@pytest.mark.parametrize("sealed", [False, True], ids=["hashed", "vault"])
def test_what_readers_are_told_of_a_pseudonym_names_nobodys_event(sealed: bool) -> None:
    kith = MemoryKith(partitions=1, vault=SameKeys if sealed else None)
    kith.publish([recorded("till-1", "2026-01-01T00:00:00Z", "sale-1"), recorded("e2", "2026-01-01T00:00:00Z")])
    kith.publish([recorded("e3", "2026-01-01T00:00:00Z", consumer_id="c2")])
    kith.publish(
        [event("consumer.erased", "x", "2026-02-01T00:00:00Z", {"consumer_id": "c1", "mode": "anonymise"})]
    )
    kith.drain()
    facts = kith.documents()["relations"].values()
    marks = {"kith.relations/0": Progress(9)}
    switching = Handover("h", "me", 2, EPOCH)
    made = corrections([(None, fact) for fact in facts], switching, marks, TOPICS)["kith.relations/0"]
    causes = Counter(decode_change(message.value).data.cause.id for message in made)
    assert causes == {"anonymised": 2, "e3": 1}
    assert not [message for message in made if b"till-" in message.value or b"sale-" in message.value]


def told_of_events(events: list[Any]) -> list[str]:
    plain = Service()
    plain.store.collections["relations"] = stored_state(events)["relations"]
    return list(told_of(plain, 1))
