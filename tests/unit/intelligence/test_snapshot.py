"""PageRank and communities."""

import random

import numpy as np
import pytest

from services.intelligence.engine import Graph, Snapshot


def two_towns(order: int) -> Graph:
    draw = random.Random(1)
    pairs = {
        (f"{town}-c{draw.randrange(20):02d}", f"{town}-p{draw.randrange(8)}") for town in "ab" for _ in range(110)
    }
    pairs |= {("a-c00", "b-p0"), ("b-c01", "a-p1"), ("lone", "island")}
    rows = sorted(pairs)
    random.Random(order).shuffle(rows)
    graph = Graph()
    for pair in rows:
        graph.put(*pair, {"k": {"2026-03": {"count": 1}}})
    return graph


def test_pagerank_is_the_stationary_chance_of_a_surfer() -> None:
    snapshot = Snapshot.of(two_towns(1))
    count = len(snapshot.consumer_ids)
    total = count + len(snapshot.provider_ids)
    matrix = np.zeros((total, total))
    matrix[snapshot.consumers, snapshot.providers + count] = 1
    matrix += matrix.T
    transition = 0.85 * matrix / matrix.sum(axis=0) + 0.15 / total
    ranks = np.full(total, 1 / total)
    for _ in range(300):
        ranks = transition @ ranks
    assert snapshot.pagerank() == pytest.approx(ranks, abs=1e-8)
    assert snapshot.pagerank().sum() == pytest.approx(1)


def test_communities_are_the_towns_in_any_order() -> None:
    figures = [Snapshot.of(two_towns(order)).figures(shown=2) for order in (1, 2)]
    assert figures[0] == figures[1]
    towns: dict[int, set[str]] = {}
    for node in figures[0].nodes:
        towns.setdefault(node.community, set()).add(node.id.split("-")[0])
    assert sorted(map(sorted, towns.values())) == [["a"], ["b"], ["island", "lone"]]
    assert figures[0].modularity > 0.4
    sizes = [community.consumers + community.providers for community in figures[0].communities]
    assert sizes == sorted(sizes, reverse=True)
    assert [community.number for community in figures[0].communities] == [0, 1, 2]
    assert sum(community.outside for community in figures[0].communities) == 4
    assert (
        sum(community.inside for community in figures[0].communities)
        == len(Snapshot.of(two_towns(1)).consumers) - 2
    )
    for community in figures[0].communities[:2]:
        assert len(community.first_providers) == 2
        assert community.first_providers[0][1] >= community.first_providers[1][1]
    degrees = {(node.side, node.id): node.degree for node in figures[0].nodes}
    assert all(degree == two_towns(1).degree(*key) for key, degree in list(degrees.items())[:5])


def test_nothing_has_no_communities() -> None:
    figures = Snapshot.of(Graph()).figures()
    assert (figures.nodes, figures.communities, figures.modularity) == ((), (), 0.0)
