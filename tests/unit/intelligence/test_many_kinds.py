"""A tenant with more kinds than there are codes for: further ones are counted together, and retracted as well."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.intelligence.engine import Graph, cells
from services.intelligence.rows import kinds_of
from services.intelligence.state import Inconsistent, State
from shared.contracts.changes import RelationChange, decode_change

KINDS = [f"k{n}" for n in range(7)]
Fact = tuple[str, str, str]


def change(fact: Fact, *, before: bool) -> RelationChange:
    kind, provider, month = fact
    told = {"provider_id": provider, "kind": kind, "time": f"2026-{month}-01T00:00:00Z"}
    data = {
        "relation_id": "-".join(fact),
        "consumer_id": "c",
        "before": told if before else None,
        "after": None if before else told,
        "cause": {"source": "s", "id": "i"},
        "origin": {"topic": "x", "partition": 0, "offset": 0},
    }
    envelope = {"specversion": "1.0", "id": "i", "source": "s", "type": "relation.changed", "tenant": "t"}
    return decode_change(json.dumps({**envelope, "time": "2026-05-01T00:00:00Z", "data": data}).encode())


def relations(state: State) -> int:
    tenant = state.known("t")
    kinds = [tenant.kinds("c", provider) for provider in ("p", "q")]
    return sum(cell["count"] for each in kinds for months in each.values() for cell in months.values())


FACTS = st.tuples(st.sampled_from(KINDS), st.sampled_from(["p", "q"]), st.sampled_from(["01", "02"]))


@given(st.lists(FACTS, unique=True, max_size=12), st.randoms(use_true_random=False), st.booleans())
def test_every_retraction_finds_what_it_retracts(facts: list[Fact], dice: object, purpose: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "_MOST_KINDS", 4)
        state = State({}, {"*": "advice"} if purpose else {})
        for fact in facts:
            state.apply(change(fact, before=False))
            if purpose and dice.random() < 0.3:  # type: ignore[attr-defined]
                state.tenant("t").grant("c", dice.random() < 0.5)  # type: ignore[attr-defined]
        left = list(facts)
        dice.shuffle(left)  # type: ignore[attr-defined]
        while left:
            assert relations(state) == len(left)
            state.apply(change(left.pop(), before=True))
            if purpose and dice.random() < 0.3:  # type: ignore[attr-defined]
                state.tenant("t").grant("c", dice.random() < 0.5)  # type: ignore[attr-defined]
        assert relations(state) == state.known("t").graph.edges == 0
        with pytest.raises(Inconsistent):
            state.apply(change(("k6", "p", "01"), before=True))


@given(st.lists(st.tuples(FACTS, st.integers(1, 9)), max_size=12), st.randoms(use_true_random=False))
def test_counts_that_need_several_words_and_kinds_without_a_code_move_as_they_are_stored(
    facts: list[tuple[Fact, int]], dice: Any
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "_MOST_KINDS", 4)
        patch.setattr(cells, "_MOST_COUNT", 3)  # so that a count of four has two words
        moved, put = Graph(), Graph()
        stored: dict[str, dict[str, dict[str, dict[str, int]]]] = {}
        steps = [*((fact, count) for fact, count in facts), *((fact, -count) for fact, count in facts)]
        for (kind, provider, month), by in steps:
            moved.of_kind(dice.choice(KINDS))
            put.of_kind(dice.choice(KINDS))
            moved.move("c", provider, kind, f"2026-{month}", by)
            months = stored.setdefault(provider, {}).setdefault(kind, {})
            months[f"2026-{month}"] = {"count": months.get(f"2026-{month}", {"count": 0})["count"] + by}
            if not months[f"2026-{month}"]["count"]:
                del months[f"2026-{month}"]
            put.put("c", provider, stored[provider])
            for each in ("p", "q"):
                whole = kinds_of(put, "c", each)
                assert kinds_of(moved, "c", each) == whole
                for one in KINDS:
                    wanted = {one: whole[one]} if one in whole else {}
                    assert [kinds_of(graph.of_kind(one), "c", each) for graph in (moved, put)] == [wanted] * 2
        assert moved.edges == put.edges == 0
