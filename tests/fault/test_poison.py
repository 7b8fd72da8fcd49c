"""Events that can never be accepted, duplicates, unknown types and mixed versions, under load."""

from collections.abc import Callable, Iterator
from itertools import chain, islice
from random import Random
from typing import Any

import pytest

from shared.runtime.protocols import Message
from tests.fault.load import Event, Item, event, in_batches, market_items
from tests.fault.log import read_log
from tests.fault.system import System

EVENTS, SEED = 2_000, 71


def poison(number: int) -> Item:
    """Something else is wrong with each."""
    data: Event = {"relation_id": f"bad{number}", "kind": "view", "consumer_id": f"c{number % 17}"}
    good = event("relation.recorded", f"bad{number}", {**data, "provider_id": "p"})
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("unknown_type", {**good, "type": "relation.liked"}),
        ("unknown_version", {**good, "dataversion": 7}),
        ("invalid", {**good, "data": data}),
        ("invalid", {**good, "data": {**good["data"], "amount": 1}}),
        ("in_the_future", {**good, "time": "2199-01-01T00:00:00Z"}),
    ]
    reason, bad = kinds[number % len(kinds)]
    return Item(bad, reason)


def mixed(share: float) -> Iterator[Item]:
    random = Random(SEED)
    for number, item in enumerate(market_items(EVENTS, SEED)):
        if random.random() < share:
            yield poison(number)
        if share < 1:
            yield item


@pytest.mark.parametrize("share", [pytest.param(0.01, marks=pytest.mark.fast), 1.0])
def test_poison(system: System, share: float) -> None:
    """Each becomes one dead letter, whose message is published, also across a crash; the others are stored."""
    victim = system.start("relations", fault="after-publish:kill:3")
    system.load(mixed(share))
    system.wait_killed(victim)
    system.start_all()
    system.wait_drained()
    letters = list(system.database.dead_letters.find())
    assert len(letters) > EVENTS * share / 2
    prefix = system.settings.topic_prefix
    published = read_log(system.settings, [f"{prefix}.dead-letters"])
    origins = {e.headers["kith-origin-record"].decode() for entries in published.values() for e in entries}
    assert origins == {letter["_id"] for letter in letters}
    assert {letter["reason"] for letter in letters} == {
        "unknown_type",
        "unknown_version",
        "invalid",
        "in_the_future",
    }
    system.verify()


def repeated(messages: Iterator[Message]) -> Iterator[list[Message]]:
    """Every message three times: within a batch, in the next one, and once more at the very end."""
    everything, last = list[Message](), list[Message]()
    for batch in in_batches(messages):
        yield [*last[:10], *(message for message in batch for _ in range(2))]
        everything += batch
        last = batch
    Random(SEED).shuffle(everything)
    yield from in_batches(iter(everything))


@pytest.mark.fast
def test_duplicates_within_a_batch_across_batches_and_out_of_order(system: System) -> None:
    system.start_all()
    system.load(market_items(1_000, SEED), rate=1_000, batches=repeated)
    system.verify()


def test_a_topic_is_published_twice_by_two_publishers_at_once(system: System) -> None:
    system.start_all()
    for _ in range(2):
        system.load(market_items(EVENTS, SEED), rate=500)
    system.verify()


def in_turns(messages: Iterator[Message]) -> Iterator[list[Message]]:
    """The topics at random, each in its order: relations may come long before their consumer and provider."""
    topics: dict[str, list[Message]] = {}
    for message in messages:
        topics.setdefault(message.topic, []).append(message)
    left = [iter(each) for each in topics.values()]
    random = Random(SEED)
    while left:
        chosen = random.choice(left)
        if batch := list(islice(chosen, random.randint(1, 60))):
            yield batch
        else:
            left.remove(chosen)


def topic_by_topic(messages: Iterator[Message]) -> Iterator[list[Message]]:
    """All relations, then all providers, and the consumers last."""
    yield from in_batches(iter(sorted(messages, key=lambda message: message.topic, reverse=True)))


@pytest.mark.parametrize("batches", [in_turns, topic_by_topic])
def test_topics_are_interleaved(system: System, batches: Callable[..., Iterator[list[Message]]]) -> None:
    system.start_all()
    system.load(market_items(EVENTS, SEED), rate=600, batches=batches)
    system.verify()


def versions() -> Iterator[Item]:
    """Of each purchase now the old and now the new form, and amendments of one in the other."""
    for number, item in enumerate(market_items(EVENTS, SEED)):
        old = item.event
        if item.event["type"] == "relation.recorded" and number % 3:
            data = {"price" if name == "amount" else name: v for name, v in item.event["data"].items()}
            old = {**item.event, "dataversion": 0, "data": data}
        yield Item(old)


@pytest.mark.fast
def test_mixed_versions_of_an_event_type(system: System) -> None:
    system.start_all(upcast="1")
    system.load(versions())
    system.verify()


def test_a_worker_that_knows_no_old_versions_buries_them(system: System) -> None:
    system.start_all()
    known = islice(market_items(EVENTS, SEED), 500)
    items = (Item(i.event, "unknown_version") if "dataversion" in i.event else i for i in islice(versions(), 500))
    system.load(chain(items, known))
    system.verify()
