"""A tenant with more kinds than there are codes for: further ones are counted together, and retracted as well."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.intelligence.engine import cells
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
