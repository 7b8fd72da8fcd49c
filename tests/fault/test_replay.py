"""Dead letters are replayed, twice, when newer events have been stored: the newer ones stay."""

from collections.abc import Iterator

import pytest

from shared.contracts.topics import Topics
from shared.kafka.python_client.publisher import KafkaPublisher
from shared.letters.letter import Selection
from shared.letters.store import Letters
from tests.fault.load import Item, event, market_items
from tests.fault.system import System
from tests.fault.test_end import end

FACTS, SEED = 300, 121


def old(number: int, hour: int) -> Item:
    """A purchase in the version 0, which the first workers do not know."""
    return Item(purchase(number, hour, "price", dataversion=0), "unknown_version")


def purchase(number: int, hour: int, money: str, **attributes: object) -> dict[str, object]:
    data = {
        "relation_id": f"r{number}",
        "kind": "purchase",
        "consumer_id": f"c{number % 17}",
        "provider_id": f"p{number % 5}",
        money: 100 * hour + number,
        "currency": "EUR",
    }
    time = f"2026-10-01T{hour:02}:00:00Z"
    return event("relation.recorded", f"e{number}-{hour}", data, time=time, **attributes)


def history() -> Iterator[Item]:
    """Of a third of the facts only an old event, of a third a newer one in today's version, of the others one
    that is newer and one that is older than the old one."""
    for number in range(FACTS):
        yield old(number, 10)
        if number % 3:
            yield Item(purchase(number, 12, "amount"))
        if number % 3 == 2:
            yield Item(purchase(number, 9, "amount"))


@pytest.mark.fast
def test_replayed_twice_after_newer_events(system: System) -> None:
    system.start_all()
    system.load(history(), rate=1_000)
    system.wait_drained()
    assert system.database.dead_letters.count_documents({}) == FACTS
    assert not system.invariant.meanwhile()
    end(system, list(system.workers))
    system.start_all(upcast="1")
    before = system.stored()
    system.load(market_items(800, SEED), rate=400)
    replay(system, Selection(reason="unknown_version"))
    system.wait_stored(300, since=before)
    replay(system, Selection(reason="unknown_version", closed=True))
    system.verify()
    assert system.database.dead_letters.count_documents({"replays": 2}) == FACTS
    facts = {
        fact["relation_id"]: fact
        for fact in system.database.relations.find({"relation_id": {"$regex": "^r[0-9]+$"}})
    }
    assert len(facts) == FACTS
    assert facts["r0"]["amount"] == 1_000
    assert facts["r1"]["amount"] == 1_201


def replay(system: System, selection: Selection) -> None:
    publisher = KafkaPublisher(system.settings)
    try:
        letters = Letters(system.database, Topics(system.settings.topic_prefix))
        done, left_out = letters.replay(selection, publisher)
    finally:
        publisher.close()
    assert (len(done), left_out) == (FACTS, [])
