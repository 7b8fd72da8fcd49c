"""The walk against a slow one by dictionaries; its reasons; its bounds."""

import random
from typing import Any

import numpy as np
import pytest

from services.intelligence.engine import Graph, Question, Side, Wide, recommend, similar
from services.intelligence.engine.recommend import candidates, start
from services.intelligence.engine.walk import Walk
from tests.support.graph import SlowGraph

MONTH = "2026-03"
Pairs = dict[tuple[str, str], dict[str, Any]]


def market(seed: int, consumers: int = 30, providers: int = 20, pairs: int = 160) -> Pairs:
    draw = random.Random(seed)
    return {
        (f"c{draw.randrange(consumers)}", f"p{int(draw.random() ** 2 * providers)}"): {
            kind: {f"202{draw.randrange(3, 7)}-0{draw.randrange(1, 10)}": {"count": draw.randrange(1, 9)}}
            for kind in draw.sample(("purchase", "review", "view"), draw.randrange(1, 4))
        }
        for _ in range(pairs)
    }


def build(pairs: Pairs, **bounds: int) -> Graph:
    return Graph.build(((*pair, kinds, None) for pair, kinds in pairs.items()), **bounds)


QUESTIONS = [
    Question(MONTH, limit=100, reasons=100),
    Question(MONTH, {"purchase": 5.0, "view": 0.0}, half_life=1.5, beta=0.7, limit=100, reasons=100),
    Question(MONTH, kind="review", limit=100, reasons=2),
    Question(MONTH, half_life=float("inf"), limit=100, known=True, reasons=100),
]


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("side", ["consumer", "provider"])
def test_the_walk_is_that_of_a_slow_engine(side: Side, question: Question) -> None:
    pairs = market(1)
    graph, slow = build(pairs), SlowGraph(pairs, question)
    ids = sorted({pair[side == "provider"] for pair in pairs})
    compared = 0
    for id in ids:
        ranking = recommend(graph, side, id, question)
        parts, known = slow.wholes(side, id), slow.near[side].get(id, {})
        expected = {}
        for target, by_first in parts.items():
            whole = sum(
                part
                for first, by_met in by_first.items()
                for part in by_met.values()
                if not (question.known and first == target)
            )
            if whole and (target in known) == question.known:
                expected[target] = whole
        if not expected:
            assert ranking.basis == "popularity" or ranking.answers == ()
            continue
        found = {answer.id: answer.whole for answer in ranking.answers}
        # A probability is divided in another order there: off by one part in 2^50 at most, for each term.
        assert found.keys() == expected.keys()
        for target, whole in expected.items():
            assert abs(found[target] - whole) <= 2 + whole * 1e-14
            compared += 1
        scores = [answer.score for answer in ranking.answers]
        assert scores == sorted(scores, reverse=True)
    assert compared > 30


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("bounds", [{}, {"sample": 3}, {"budget": 40}])
@pytest.mark.parametrize("side", ["consumer", "provider"])
def test_reasons_add_up_to_every_score(side: Side, question: Question, bounds: dict[str, int]) -> None:
    pairs = market(2)
    graph = build(pairs, **bounds)
    checked = 0
    for id in sorted({pair[side == "provider"] for pair in pairs}):
        ranking = recommend(graph, side, id, question)
        if ranking.basis == "walk":
            for answer in ranking.answers:
                assert answer.whole == sum(via.whole for via in answer.via) + answer.rest_whole
                assert len(answer.via) <= question.reasons
                assert all(via.shared is not None and 0 < via.shared <= via.of for via in answer.via)
                assert (answer.strength is not None) == question.known
                checked += 1
    assert checked > 20


def test_shared_consumers_are_counted() -> None:
    pairs = [("ada", "bar"), ("ben", "bar"), ("ben", "cafe"), ("cid", "bar"), ("cid", "cafe"), ("dan", "bar")]
    graph = build({pair: {"visit": {MONTH: {"count": 1}}} for pair in pairs})
    (answer,) = recommend(graph, "consumer", "ada", Question(MONTH)).answers
    (via,) = answer.via
    assert (answer.id, via.provider_id, via.shared, via.of, via.strength) == ("cafe", "bar", 2, 4, 1.0)
    assert via.few
    # Half a quarter each: of bar's four consumers, ben and cid go on to cafe half of the time.
    assert answer.whole == 2**50 // 4
    assert answer.score == pytest.approx(0.25 * 2**-0.4)
    (for_cafe, _) = recommend(graph, "provider", "cafe", Question(MONTH)).answers
    assert for_cafe.id == "ada"
    assert [(via.provider_id, via.shared) for via in for_cafe.via] == [("bar", 2)]
    (alike,) = similar(graph, "provider", "cafe", Question(MONTH)).answers
    assert (alike.id, alike.shared) == ("bar", 2)


def test_sums_stay_below_2_to_the_53() -> None:
    """The largest sum that there can be: everyone leads to one provider."""
    months = {f"{year:04d}-01": {"count": (1 << 29) - 1} for year in range(1, 9999, 1111)}
    graph = Graph.build((f"c{c}", f"p{p}", {"k": months}, None) for c in range(60) for p in range(40))
    walk = start(graph, "consumer", "c0", Question(MONTH, beta=0.0))
    assert isinstance(walk, Walk)
    assert 0 < float(walk.sums.sum()) < 2.0**53
    assert 0 < float(walk.parts.sum()) < 2.0**53


def test_one_provider_with_everybody_and_one_consumer_with_everything() -> None:
    rows = [(f"c{number}", "all", {"k": {MONTH: {"count": 1}}}, None) for number in range(20_000)]
    rows += [("c0", f"p{number}", {"k": {MONTH: {"count": 1}}}, None) for number in range(20_000)]
    rows += [("c1", "p7", {"k": {MONTH: {"count": 1}}}, None), ("c2", "p7", {"k": {MONTH: {"count": 1}}}, None)]
    graph = Graph.build(rows, sample=500, budget=5_000)
    fresh = Graph(sample=500, budget=5_000)
    for row in reversed(rows):
        fresh.put(*row)
    asked: list[tuple[Side, str]] = [
        ("consumer", "c0"),
        ("provider", "all"),
        ("consumer", "c2"),
        ("consumer", "c19"),
    ]
    for side, id in asked:
        walk = start(graph, side, id, Question(MONTH))
        assert isinstance(walk, Walk)
        assert walk.sampled
        assert len(walk.met) <= 32 * 500
        assert recommend(graph, side, id, Question(MONTH)) == recommend(fresh, side, id, Question(MONTH))
    assert recommend(graph, "provider", "p9", Question(MONTH)).answers


def test_wide_relationships_have_the_strength_that_is_given() -> None:
    graph = Graph()
    graph.put("ada", "bar", {}, Wide("2026-01", 3.0))
    graph.put("ada", "cafe", {"visit": {"2026-01": {"count": 3}}})
    graph.put("ben", "bar", {"visit": {"2026-03": {"count": 1}}})
    question = Question(MONTH, half_life=2.0)
    assert graph.strength("ada", "bar", question) == graph.strength("ada", "cafe", question) == 1.5
    row = graph.rows["consumer"].row_words(0)
    assert graph.relative(row, question).tolist() == [3.0, 3.0]
    assert ("ada", "bar") not in graph.of_kind("visit")
    graph.put("ada", "bar", None)
    assert graph.strength("ada", "bar", question) is None


def test_a_pool_of_cells_and_rows_are_compacted() -> None:
    graph = Graph()
    draw = random.Random(3)
    for step in range(30_000):
        months = {f"2026-{draw.randrange(1, 10):02d}": {"count": step % 5 + 1} for _ in range(step % 6)}
        graph.put(f"c{draw.randrange(40)}", f"p{draw.randrange(40)}", {"k": months} if months else None)
    assert graph.nbytes() < 400_000
    state = {
        (c, p): {
            "k": {f"{cell.month // 12}-{cell.month % 12 + 1:02d}": {"count": int(cell.amount)} for cell in cells}
        }
        for c, p, cells in graph.all_cells()
    }
    fresh = build(state)
    for id in ("c0", "c1", "c39"):
        assert recommend(graph, "consumer", id, Question(MONTH)) == recommend(
            fresh, "consumer", id, Question(MONTH)
        )


def test_those_among_are_the_only_answers_and_change_no_score() -> None:
    graph = build(market(4))
    free = recommend(graph, "consumer", "c1", Question(MONTH, limit=100))
    some = frozenset(answer.id for answer in free.answers[1::2]) | {"nobody"}
    only = recommend(graph, "consumer", "c1", Question(MONTH, limit=100, among=some))
    assert only.answers == free.answers[1::2]


def test_who_may_not_be_an_answer_is_not_said_to_be_out_of_reach() -> None:
    graph = build({**market(4), ("alone", "lonely"): {"view": {"2025-01": {"count": 1}}}})
    nobody = Question(MONTH, among=frozenset({"nobody"}))
    assert recommend(graph, "consumer", "c1", nobody).lack == "excluded"
    assert recommend(graph, "consumer", "alone", nobody).lack == "unreached"
    assert recommend(graph, "consumer", "alone", Question(MONTH)).lack == "unreached"
    assert similar(graph, "consumer", "c1", nobody).lack == "excluded"
    assert similar(graph, "consumer", "alone", nobody).lack == "unreached"
    everybody = Question(MONTH, among=frozenset(graph.names["provider"].ids))
    assert recommend(graph, "consumer", "c1", everybody).lack is None


def test_the_unknown_get_what_is_popular() -> None:
    pairs = market(5)
    graph = build(pairs)
    ranking = recommend(graph, "consumer", "nobody", Question(MONTH, limit=3))
    assert (ranking.basis, ranking.lack) == ("popularity", "unknown")
    degrees = {id: sum(provider == id for _, provider in pairs) for _, id in pairs}
    assert [answer.id for answer in ranking.answers] == sorted(degrees, key=lambda id: (-degrees[id], id))[:3]
    assert recommend(Graph(), "consumer", "nobody", Question(MONTH)).answers == ()
    weightless = Question(MONTH, dict.fromkeys(("purchase", "review", "view"), 0.0))
    assert recommend(graph, "consumer", "c1", weightless).lack == "weightless"


@pytest.mark.parametrize("bad", [{"half_life": 0.0}, {"beta": 1.1}, {"beta": -1}, {"weights": {"a": -1.0}}])
def test_what_is_out_of_range_is_rejected(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Question(MONTH, **bad)


def test_candidates_are_not_changed_by_asking() -> None:
    graph = build(market(6))
    walk = start(graph, "consumer", "c1", Question(MONTH))
    assert isinstance(walk, Walk)
    before = walk.sums.copy()
    candidates(walk, Question(MONTH, known=True))
    assert np.array_equal(before, walk.sums)
