"""The graph is a set: order, repetition, removal and return of relationships leave no trace in any answer."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.intelligence.engine import (
    Graph,
    Question,
    Wide,
    affinity,
    connection,
    neighbours,
    popular,
    recommend,
    similar,
)

CONSUMERS = [f"c{number}" for number in range(7)]
PROVIDERS = [f"p{number}" for number in range(6)]
KINDS = ("purchase", "review", "view")
MONTHS = ("1999-12", "2025-11", "2026-01", "2026-02")

Change = tuple[str, str, dict[str, Any] | None, Wide | None]

kinds = st.dictionaries(
    st.sampled_from(KINDS),
    st.dictionaries(
        st.sampled_from(MONTHS), st.builds(lambda n: {"count": n}, st.integers(1, 1 << 30)), min_size=1, max_size=3
    ),
    min_size=1,
)
wide = st.builds(Wide, st.sampled_from(MONTHS), st.floats(1e-6, 1e6))
changes = st.lists(
    st.tuples(
        st.sampled_from(CONSUMERS),
        st.sampled_from(PROVIDERS),
        st.one_of(kinds, kinds, st.none()),
        st.one_of(st.none(), st.none(), wide),
    ),
    min_size=1,
    max_size=60,
)
questions = st.builds(
    Question,
    month=st.just("2026-03"),
    weights=st.dictionaries(st.sampled_from(KINDS), st.floats(0, 100), max_size=3),
    half_life=st.floats(0.1, 1000),
    beta=st.floats(0, 1),
    kind=st.one_of(st.none(), st.sampled_from(KINDS)),
    known=st.booleans(),
    limit=st.integers(1, 8),
)


def everything(graph: Graph, question: Question) -> list[object]:
    out: list[object] = [graph.edges]
    for id in [*CONSUMERS, "nobody"]:
        out += [recommend(graph, "consumer", id, question), similar(graph, "consumer", id, question)]
        out.append(neighbours(graph, "consumer", id, question, 2))
        out += [affinity(graph, id, provider, question) for provider in PROVIDERS[:2]]
        out.append(connection(graph, ("consumer", id), ("provider", "p0"), question))
    for id in PROVIDERS:
        out += [recommend(graph, "provider", id, question), similar(graph, "provider", id, question)]
    return [*out, popular(graph, "provider", question), popular(graph, "consumer", question)]


def final(history: list[Change]) -> dict[tuple[str, str], Change]:
    """What is left of a history; its last change of a pair counts."""
    state: dict[tuple[str, str], Change] = {}
    for change in history:
        state.pop(change[:2], None)
        if change[2] or change[3]:
            state[change[:2]] = change
    return state


@settings(max_examples=40, deadline=None)
@given(changes, questions, st.randoms(use_true_random=False), st.sampled_from([(1, 1), (2, 8), (8_192, 1 << 20)]))
def test_any_history_of_changes_answers_as_a_fresh_graph(
    history: list[Change], question: Question, random: Any, bounds: tuple[int, int]
) -> None:
    state = final(history)
    rows = [(consumer, provider, change[2] or {}, change[3]) for (consumer, provider), change in state.items()]
    fresh = Graph.build(rows, *bounds)
    lived = Graph(*bounds)
    for index, change in enumerate(history):
        lived.put(*change)
        if index % 7 == 0:  # questions between the changes may leave no trace either
            recommend(lived, "provider", "p0", question)
    for change in state.values():
        lived.put(*change)
    shuffled = Graph(*bounds)
    order = list(rows)
    random.shuffle(order)
    for row in order:
        shuffled.put(*row)
    assert everything(lived, question) == everything(fresh, question)
    assert everything(shuffled, question) == everything(fresh, question)


MOVES = st.lists(
    st.tuples(
        st.sampled_from(CONSUMERS[:3]),
        st.sampled_from(PROVIDERS[:3]),
        st.sampled_from(KINDS),
        st.sampled_from(MONTHS),
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(MOVES, questions, st.randoms(use_true_random=False))
def test_relations_that_come_and_go_answer_as_a_fresh_graph(
    added: list[tuple[str, str, str, str]], question: Question, random: Any
) -> None:
    lived = Graph()
    for move in added:
        lived.move(*move, 1)
        lived.of_kind(random.choice(KINDS))  # which keeps the graph of a kind, and moves it as well
    taken = [move for move in added if random.random() < 0.5]
    random.shuffle(taken)
    for move in taken:
        lived.move(*move, -1)
        with pytest.raises(ValueError, match="not so many"):
            lived.move(*move, -1 - added.count(move))
    rows: dict[tuple[str, str], Any] = {}
    for consumer, provider, kind, month in (Counter(added) - Counter(taken)).elements():
        cell = rows.setdefault((consumer, provider), {}).setdefault(kind, {}).setdefault(month, {"count": 0})
        cell["count"] += 1
    fresh = Graph.build((*pair, kinds, None) for pair, kinds in rows.items())
    assert everything(lived, question) == everything(fresh, question)
    for kind in KINDS:
        assert everything(lived.of_kind(kind), question) == everything(fresh.of_kind(kind), question)


def test_a_change_reads_little_of_its_relationship() -> None:
    """One of 10,000 kinds, which two batches of events make, would hold up the changes of all tenants."""
    graph, looked_at = Graph(), list[Any]()
    graph.put("ada", "cafe", {f"kind_{n}": {"2026-01": {"count": 1}} for n in range(1_000)})

    class Kinds(list[str]):
        def __getitem__(self, code: Any) -> Any:
            looked_at.append(code)
            return super().__getitem__(code)

    graph.cells.kinds = Kinds(graph.cells.kinds)
    graph.move("ada", "cafe", "kind_500", "2026-01", 1)
    assert len(looked_at) < 50


@settings(max_examples=25, deadline=None)
@given(changes)
def test_who_has_nothing_left_is_not_kept(history: list[Change]) -> None:
    graph = Graph()
    for change in history:
        graph.put(*change)
    for change in history:
        graph.put(change[0], change[1], None)
    assert graph.edges == 0
    for side in graph.names.values():
        assert len(side) == 0
        assert not any(side.ids)
        assert not side.hashes.any()
    assert not any(rows.length.any() for rows in graph.rows.values())
