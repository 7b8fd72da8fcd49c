"""What changes concern, until somebody looks: bounded by tenant, and nothing is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.intelligence.outcomes import touched
from services.intelligence.outcomes.touched import Touched

MOVE = st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(0, 3), st.booleans())


@given(st.lists(MOVE, max_size=60), st.integers(0, 60))
def test_whatever_has_changed_is_looked_at_and_a_tenant_costs_no_other_one(
    moves: list[tuple[str, int, int, bool]], taken: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(touched, "MOST", 5)
        told, works = Touched(), []
        for number, (tenant, consumer, provider, moved) in enumerate(moves):
            if number == taken:
                works.append(told.take())
            if moved:
                told.moved(tenant, f"c{consumer}", [f"p{provider}"])
            else:
                told.described(tenant, [f"c{consumer}"])
        if works:
            told.put_back(works.pop())
        work = told.take()
    assert not work.everything
    sizes = {tenant: len({move[1:] for move in moves if move[0] == tenant}) for tenant in "abc"}
    assert {tenant for tenant, size in sizes.items() if size <= 5}.isdisjoint(work.tenants)
    for tenant, consumer, provider, moved in moves:
        known = work.pairs.get((tenant, f"c{consumer}"), set())
        noted = f"p{provider}" in known if moved else (tenant, f"c{consumer}") in work.consents
        assert noted or tenant in work.tenants
    for tenant in "abc":
        pairs = sum(len(each) for name, each in work.pairs.items() if name[0] == tenant)
        assert pairs + sum(name[0] == tenant for name in work.consents) <= 5


def test_of_too_many_tenants_everything_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(touched, "MOST", 0)
    monkeypatch.setattr(touched, "MOST_TENANTS", 2)
    told = Touched()
    for tenant in ("a", "b"):
        told.moved(tenant, "c", ["p"])
    assert told.take().tenants == {"a", "b"}
    for tenant in ("a", "b", "c"):
        told.moved(tenant, "c", ["p"])
    assert told.take().everything
