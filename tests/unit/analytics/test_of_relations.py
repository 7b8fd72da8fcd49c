"""Both services in a row, in memory: what analytics counts is what the relations service stores."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.events import Event
from shared.runtime.protocols import Message
from tests.support.analytics_driver import expected_sums, summed
from tests.support.builders import MemoryKith
from tests.support.runner import CHANGES, analytics_of, live_facts
from tests.support.strategies import relation_events


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@given(st.lists(relation_events(), max_size=25), st.integers(1, 7))
def test_analytics_counts_what_relations_stores(events: list[Event], slice_events: int) -> None:
    kith = MemoryKith()
    kith.publish(events)
    kith.drain()
    assert summed(analytics_of(kith, slice_events).collections) == expected_sums(live_facts(kith).items())


def test_what_is_no_change_becomes_a_dead_letter() -> None:
    kith = MemoryKith()
    kith.log.append(Message(CHANGES, b"default:c1", b"{}", partition=0))
    store = analytics_of(kith)
    assert [letter["reason"] for letter in store.collections["dead_letters"].values()] == ["invalid"]
    assert store.collections["aggregates"] == {}
