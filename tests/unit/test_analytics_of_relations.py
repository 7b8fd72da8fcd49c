"""Both services in a row, in memory: what analytics counts is what the relations service stores."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.analytics.projection import AnalyticsProjection
from services.analytics.schema import COLLECTIONS
from shared.events import Event
from shared.memory import MemoryReader, MemoryStore
from shared.protocols import Message
from shared.runner import Runner
from tests.analytics_driver import expected_sums, summed
from tests.builders import TOPICS, MemoryKith
from tests.strategies import relation_events

CHANGES = TOPICS.name("relation-changes")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def counted(kith: MemoryKith, slice_events: int) -> MemoryStore:
    """The store of an analytics service that has read every change."""
    store, reader = MemoryStore(COLLECTIONS), MemoryReader(kith.log)
    runner = Runner(
        reader,
        store,
        kith.publisher,
        AnalyticsProjection(TOPICS),
        owner="test",
        dead_letters=TOPICS.name("dead-letters"),
        slice_events=slice_events,
        clock=lambda: kith.now,
    )
    partitions = [partition for partition in kith.log.records if partition.topic == CHANGES]
    reader.assign(partitions)
    for _ in range(1_000):
        kith.now += 10.0
        runner.step(0)
        positions = {key: entry.progress.next for key, entry in store.positions.items()}
        if all((positions.get(f"analytics@1/{p}") or 0) == kith.log.end(p) for p in partitions):
            return store
    raise AssertionError("the runner does not get to the end")


@given(st.lists(relation_events(), max_size=25), st.integers(1, 7))
def test_analytics_counts_what_relations_stores(events: list[Event], slice_events: int) -> None:
    kith = MemoryKith()
    kith.publish(events)
    kith.drain()
    live = {
        (document["tenant"], document["consumer_id"], document["relation_id"]): {
            **document,
            "time": document["time"].isoformat(),
        }
        for document in kith.store.collections["relations"].values()
        if not document["retracted"]
    }
    assert summed(counted(kith, slice_events).collections) == expected_sums(live.items())


def test_what_is_no_change_becomes_a_dead_letter() -> None:
    kith = MemoryKith()
    kith.log.append(Message(CHANGES, b"default:c1", b"{}", partition=0))
    store = counted(kith, 3)
    assert [letter["reason"] for letter in store.collections["dead_letters"].values()] == ["invalid"]
    assert store.collections["aggregates"] == {}
