"""The laws of exact state with sealed personal data, and that nothing of it is stored in plain text."""

import random
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contracts.codec import encode
from shared.contracts.events import Event
from shared.vault.fields import values
from tests.support.builders import MemoryKith
from tests.support.strategies import events
from tests.support.vault import SameKeys

HISTORIES = st.lists(events(), max_size=30)


def stored_state(history: list[Event], slice_events: int = 3) -> dict[str, Any]:
    kith = MemoryKith(2, slice_events, SameKeys)
    kith.publish(history)
    kith.drain()
    return kith.documents()


@given(HISTORIES, st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_neither_duplicates_nor_order_change_anything(history: list[Event], chance: random.Random) -> None:
    other = [*history, *(one for one in history if chance.random() < 0.5)]
    chance.shuffle(other)
    assert stored_state(other) == stored_state(history)


@given(HISTORIES, st.integers(1, 40))
@settings(max_examples=150)
def test_the_size_of_slices_changes_nothing(history: list[Event], size: int) -> None:
    assert stored_state(history, size) == stored_state(history, 3)


@given(HISTORIES)
@settings(max_examples=100)
def test_a_replay_from_the_start_changes_nothing(history: list[Event]) -> None:
    kith = MemoryKith(vault=SameKeys)
    kith.publish(history)
    kith.drain()
    live = {name: dict(documents) for name, documents in kith.documents().items()}
    kith.store.positions.clear()
    kith.reader.revoke(kith.inputs)
    kith.runner.step(0)
    kith.reader.assign(kith.inputs)
    kith.drain()
    assert kith.documents() == live


@given(HISTORIES)
@settings(max_examples=150)
def test_no_personal_value_is_stored_or_published_in_plain_text(history: list[Event]) -> None:
    marked = [_marked(event) for event in history]
    kith = MemoryKith(vault=SameKeys)
    kith.publish(marked)
    kith.drain()
    stored = repr(kith.documents())
    published = [
        record.value or b"" for p, log in kith.log.records.items() if p not in kith.inputs for record in log
    ]
    assert "MARKER" not in stored
    assert not any(b"MARKER" in value for value in published)


def _marked(event: Event) -> Event:
    """The event with a marker in each personal text."""
    data = orjson.loads(encode(event))["data"]
    for path, value in values(event):
        part, _, name = path.partition(".")
        if isinstance(value, str):
            (data[part] if name else data)[name or part] = f"MARKER {value}"
    return type(event).model_validate_json(orjson.dumps({**orjson.loads(encode(event)), "data": data}))
