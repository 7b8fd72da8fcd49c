"""The strongest connection, neighbours and degrees, against a search by dictionaries."""

import random
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from math import isfinite, prod

import pytest

from services.intelligence.engine import Graph, Question, Side, central, connection, neighbours

QUESTION = Question("2026-03", limit=3)
Node = tuple[Side, str]


def market(seed: int) -> list[tuple[str, str]]:
    draw = random.Random(seed)
    return sorted({(f"c{draw.randrange(14)}", f"p{draw.randrange(12)}") for _ in range(22)})


def build(pairs: list[tuple[str, str]], reverse: bool = False) -> Graph:
    graph = Graph()
    for consumer, provider in sorted(pairs, reverse=reverse):
        graph.put(consumer, provider, {"k": {"2026-03": {"count": 1 + len(provider)}}})
    return graph


def all_paths(pairs: list[tuple[str, str]], start: Node, end: Node, longest: int) -> list[list[Node]]:
    near: dict[Node, set[Node]] = defaultdict(set)
    for consumer, provider in pairs:
        near["consumer", consumer].add(("provider", provider))
        near["provider", provider].add(("consumer", consumer))
    found: list[list[Node]] = []
    frontier = [[start]]
    for _ in range(longest):
        frontier = [[*path, node] for path in frontier for node in sorted(near[path[-1]]) if node not in path]
        if found := [path for path in frontier if path[-1] == end]:
            degrees = {node: len(others) for node, others in near.items()}
            found.sort(key=lambda path: (prod(degrees[node] for node in path[1:-1]), [id for _, id in path[::-1]]))
            return found
    return found


@pytest.mark.parametrize("seed", range(4))
def test_the_connection_is_the_best_of_all_paths(seed: int) -> None:
    pairs = market(seed)
    graph, other_order = build(pairs), build(pairs, reverse=True)
    nodes: list[Node] = [("consumer", f"c{number}") for number in range(4)]
    nodes += [("provider", f"p{number}") for number in range(4)]
    lengths = set()
    for start in nodes:
        for end in nodes:
            if start == end or any(not graph.degree(*node) for node in (start, end)):
                continue
            made = connection(graph, start, end, QUESTION)
            expected = all_paths(pairs, start, end, 6)
            assert made.found == bool(expected)
            if expected:
                assert [(node.side, node.id) for node in made.nodes] == expected[0]
                assert made.steps == len(expected[0]) - 1
                steps = [{id for _, id in step} for step in pairwise(expected[0])]
                assert [{edge.consumer_id, edge.provider_id} for edge in made.edges] == steps
                assert all((edge.consumer_id, edge.provider_id) in graph for edge in made.edges)
                lengths.add(made.steps)
            assert made == connection(other_order, start, end, QUESTION)
    assert len(lengths) >= 2


def test_ends_that_are_unknown_or_the_same() -> None:
    graph = build(market(1))
    assert connection(graph, ("consumer", "nobody"), ("provider", "p1"), QUESTION).lack == "consumer"
    assert connection(graph, ("consumer", "c1"), ("provider", "none"), QUESTION).lack == "provider"
    same = connection(graph, ("consumer", "c1"), ("consumer", "c1"), QUESTION)
    assert (same.found, same.steps, len(same.nodes)) == (True, 0, 1)


def test_two_apart_are_not_connected() -> None:
    graph = build([("a", "x"), ("b", "y")])
    assert not connection(graph, ("consumer", "a"), ("consumer", "b"), QUESTION).found
    chain = build([(f"c{number}", f"p{number + step}") for number in range(6) for step in (0, 1)])
    assert connection(chain, ("consumer", "c0"), ("consumer", "c3"), QUESTION).steps == 6
    assert not connection(chain, ("consumer", "c0"), ("consumer", "c4"), QUESTION).found
    assert not connection(chain, ("consumer", "c0"), ("consumer", "c3"), QUESTION, longest=5).found


def test_neighbours_are_the_strongest_and_bounded() -> None:
    graph = Graph()
    for number in range(10):
        graph.put("ada", f"p{number}", {"k": {"2026-03": {"count": 10 - number // 2}}})
        graph.put(f"c{number}", "p0", {"k": {"2026-03": {"count": 1}}})
    one = neighbours(graph, "consumer", "ada", QUESTION)
    assert one is not None
    assert [(node.id, node.steps) for node in one.nodes] == [("ada", 0), ("p0", 1), ("p1", 1), ("p2", 1)]
    assert [edge.strength for edge in one.edges] == [10.0, 10.0, 9.0]
    assert (one.left_out, one.nodes[0].degree) == (7, 10)
    two = neighbours(graph, "consumer", "ada", QUESTION, depth=2)
    assert two is not None
    assert [node.id for node in two.nodes if node.steps == 2] == ["c0", "c1"]
    assert neighbours(graph, "consumer", "nobody", QUESTION) is None
    with pytest.raises(ValueError, match="depth"):
        neighbours(graph, "consumer", "ada", QUESTION, depth=3)
    top = central(graph, "provider", QUESTION)[0]
    assert (top.id, top.degree) == ("p0", 11)


def test_the_strongest_are_so_as_of_any_month() -> None:
    graph = Graph()
    for number in range(8):
        graph.put("ada", f"p{number}", {"k": {f"2026-0{8 - number}": {"count": 1 + number % 2}}})
        graph.put(f"c{number}", "p0", {"k": {f"20{10 + number}-02": {"count": 1}}})
    for month in ("1970-01", "2026-03", "2400-01"):
        question = Question(month, {"k": 1_000_000.0}, half_life=0.01, limit=5)
        of_ada, of_p0 = (neighbours(graph, *node, question) for node in (("consumer", "ada"), ("provider", "p0")))
        assert of_ada is not None
        assert of_p0 is not None
        assert [edge.provider_id for edge in of_ada.edges] == [f"p{number}" for number in range(5)]
        assert [edge.consumer_id for edge in of_p0.edges] == ["ada", "c7", "c6", "c5", "c4"]
        assert all(isfinite(edge.strength) for edge in (*of_ada.edges, *of_p0.edges))
        every = neighbours(graph, "provider", "p0", replace(question, limit=20))
        assert every is not None
        assert [edge.consumer_id for edge in every.edges] == [
            "ada",
            *(f"c{number}" for number in range(7, -1, -1)),
        ]
    weightless = neighbours(graph, "provider", "p0", Question("2026-03", {"k": 0.0}, limit=3))
    assert weightless is not None
    assert [edge.consumer_id for edge in weightless.edges] == ["ada", "c0", "c1"]
