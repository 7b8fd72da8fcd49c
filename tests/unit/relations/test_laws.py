"""The five laws of exact state, on stored documents of the whole service in memory."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contracts.events import Event, RelationRetracted
from tests.support.builders import MemoryKith, event, renamed, stored_state
from tests.support.strategies import events, relation_events

HISTORIES = st.lists(events(), max_size=30)


@given(HISTORIES, st.randoms(use_true_random=False))
@settings(max_examples=300)
def test_duplicates_change_nothing(history: list[Event], chance: random.Random) -> None:
    repeated = list(history)
    for one in history:
        if chance.random() < 0.5:
            repeated.insert(chance.randint(0, len(repeated)), one)
    chance_of_order = stored_state(history)
    assert stored_state(repeated) == chance_of_order


@given(HISTORIES, st.randoms(use_true_random=False))
@settings(max_examples=500)
def test_order_changes_nothing(history: list[Event], chance: random.Random) -> None:
    shuffled = list(history)
    chance.shuffle(shuffled)
    assert stored_state(shuffled) == stored_state(history)


@given(HISTORIES, st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=300)
def test_the_size_of_slices_changes_nothing(history: list[Event], one: int, other: int) -> None:
    assert stored_state(history, slice_events=one) == stored_state(history, slice_events=other)


@given(HISTORIES)
@settings(max_examples=100)
def test_a_replay_from_the_start_changes_nothing(history: list[Event]) -> None:
    kith = MemoryKith()
    kith.publish(history)
    kith.drain()
    live = {name: dict(documents) for name, documents in kith.documents().items()}
    changes = kith.values("relation-changes")
    kith.store.positions.clear()
    kith.reader.revoke(kith.inputs)
    kith.runner.step(0)
    kith.reader.assign(kith.inputs)
    kith.drain()
    assert kith.documents() == live
    assert kith.values("relation-changes") == changes, "a replayed event changed something"


@given(HISTORIES, st.lists(relation_events(), min_size=1, max_size=8))
@settings(max_examples=300)
def test_a_retraction_equals_never_having_happened(history: list[Event], doomed: list[Event]) -> None:
    # Facts of their own, so that nothing in the history says anything of them.
    strangers = [
        one.model_copy(update={"data": one.data.model_copy(update={"relation_id": f"doomed-{index}"})})
        for index, one in enumerate(doomed)
        if not isinstance(one, RelationRetracted)
    ]
    retractions = [
        event(
            "relation.retracted",
            f"undo-{index}",
            "2027-01-01T00:00:00Z",
            {"relation_id": one.data.relation_id, "consumer_id": one.data.consumer_id},  # type: ignore[union-attr]
            tenant=one.tenant,
        )
        for index, one in enumerate(strangers)
    ]
    half = len(history) // 2
    undone = stored_state([*history[:half], *strangers, *history[half:], *retractions])
    never = stored_state(history)
    names = {one.data.relation_id for one in strangers}  # type: ignore[union-attr]
    names |= {renamed(one.tenant, one.data.consumer_id, one.data.relation_id) for one in strangers}  # type: ignore[union-attr]
    undone["relations"] = {
        id: fact for id, fact in undone["relations"].items() if fact["relation_id"] not in names
    }
    assert undone == never
