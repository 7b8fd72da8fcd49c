"""The five laws of exact state, on stored documents of the whole service in memory."""

import math
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.relations.mass import Mass, settings_of
from services.relations.strength import Strength
from services.relations.tally import Cell
from services.relations.wide import CELLS, add_mass, kinds_of
from shared.contracts.events import Event, RelationRetracted
from tests.support.builders import STRENGTH, MemoryKith, event, renamed, stored_state
from tests.support.strategies import events, relation_events

HISTORIES = st.lists(events(), max_size=30)
#: How many cells one document holds: mostly so few that pairs become wide and narrow again.
MOST_CELLS = st.sampled_from([1, 2, 3, 1_000])


@given(HISTORIES, st.randoms(use_true_random=False), MOST_CELLS)
@settings(max_examples=300)
def test_duplicates_change_nothing(history: list[Event], chance: random.Random, most: int) -> None:
    repeated = list(history)
    for one in history:
        if chance.random() < 0.5:
            repeated.insert(chance.randint(0, len(repeated)), one)
    assert stored_state(repeated, most_cells=most) == stored_state(history, most_cells=most)


@given(HISTORIES, st.randoms(use_true_random=False), MOST_CELLS)
@settings(max_examples=500)
def test_order_changes_nothing(history: list[Event], chance: random.Random, most: int) -> None:
    shuffled = list(history)
    chance.shuffle(shuffled)
    assert stored_state(shuffled, most_cells=most) == stored_state(history, most_cells=most)


@given(HISTORIES, st.integers(1, 40), st.integers(1, 40), MOST_CELLS)
@settings(max_examples=300)
def test_the_size_of_slices_changes_nothing(history: list[Event], one: int, other: int, most: int) -> None:
    first = stored_state(history, slice_events=one, most_cells=most)
    assert first == stored_state(history, slice_events=other, most_cells=most)


@given(HISTORIES, MOST_CELLS)
@settings(max_examples=100)
def test_a_replay_from_the_start_changes_nothing(history: list[Event], most: int) -> None:
    kith = MemoryKith(most_cells=most)
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


@given(HISTORIES, st.lists(relation_events(), min_size=1, max_size=8), MOST_CELLS)
@settings(max_examples=300)
def test_a_retraction_equals_never_having_happened(history: list[Event], doomed: list[Event], most: int) -> None:
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
    undone = stored_state([*history[:half], *strangers, *history[half:], *retractions], most_cells=most)
    never = stored_state(history, most_cells=most)
    names = {one.data.relation_id for one in strangers}  # type: ignore[union-attr]
    names |= {renamed(one.tenant, one.data.consumer_id, one.data.relation_id) for one in strangers}  # type: ignore[union-attr]
    undone["relations"] = {
        id: fact for id, fact in undone["relations"].items() if fact["relation_id"] not in names
    }
    assert undone == never


@given(HISTORIES, st.integers(1, 3))
@settings(max_examples=150)
def test_a_wide_pair_holds_in_many_documents_what_a_narrow_one_holds_in_one(
    history: list[Event], most: int
) -> None:
    wide, narrow = stored_state(history, most_cells=most), stored_state(history)
    cells: dict[str, list[Any]] = {}
    for document in wide[CELLS].values():
        assert 0 < len(document["months"]) <= 12
        cells.setdefault(document["_id"].rsplit(":", 2)[0], []).append(document)
    assert wide["relationships"].keys() == narrow["relationships"].keys()
    for id, one in narrow["relationships"].items():
        head = wide["relationships"][id]
        if sum(map(len, one["kinds"].values())) <= most:
            assert head == one
            continue
        own = cells.pop(id)
        total, mass = Cell(), Mass(STRENGTH)
        for document in own:
            add_mass(mass, document)
            for cell in document["months"].values():
                total.add(cell)
        assert kinds_of(own) == one["kinds"]
        assert head["cells"] == sum(map(len, one["kinds"].values()))
        assert (head["sums"], head["mass"]) == (total.applied(None), mass.stored())
        assert math.isclose(head["score"], one["score"], abs_tol=1e-12)
        assert [head.get(name) for name in SAME] == [one.get(name) for name in SAME]
    assert not cells


SAME = ("count", "first", "last", "between", "fingerprint")


@given(HISTORIES, st.integers(1, 30))
@settings(max_examples=60)
def test_other_weights_make_the_mass_of_a_wide_pair_anew(history: list[Event], after: int) -> None:
    """A head that was made with other weights, and is changed, is as if it had been made with these."""
    other = MemoryKith(most_cells=2, strength=Strength({"view": 7.0}, 3.5))
    other.publish(history[:after])
    other.drain()
    kith = MemoryKith(most_cells=2)
    kith.store.collections = other.store.collections
    kith.store.positions, kith.log.records = other.store.positions, other.log.records
    kith.reader.revoke(kith.inputs)
    kith.runner.step(0)
    kith.reader.assign(kith.inputs)
    kith.publish(history[after:])
    kith.drain()
    wanted = stored_state(history, most_cells=2)["relationships"]
    for id, head in kith.documents()["relationships"].items():
        settings = head.get("mass", {}).get("settings")
        if settings == settings_of(STRENGTH):
            assert head == wanted[id]


@given(HISTORIES, st.integers(1, 30))
@settings(max_examples=60)
def test_a_relationship_stored_before_there_were_wide_ones_becomes_wide_when_it_changes(
    history: list[Event], after: int
) -> None:
    kith, before = MemoryKith(most_cells=2), MemoryKith()
    before.publish(history[:after])
    before.drain()
    kith.store.collections, kith.store.positions = before.store.collections, before.store.positions
    kith.log.records, kith.runner, kith.reader = before.log.records, kith.runner, kith.reader
    kith.reader.revoke(kith.inputs)
    kith.runner.step(0)
    kith.reader.assign(kith.inputs)
    stored = {id: dict(document) for id, document in kith.documents()["relationships"].items()}
    kith.publish(history[after:])
    kith.drain()
    wide, narrow = (stored_state(history, most_cells=most)["relationships"] for most in (2, 1_000))
    for id, document in kith.documents()["relationships"].items():
        assert document == (narrow if document == stored.get(id) else wide)[id]
