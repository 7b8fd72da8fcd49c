"""The features of a provider for a consumer: bounded, and a function of the set of relationships."""

import random
import tracemalloc

import numpy as np
import pytest

from services.intelligence.engine import Graph, Question
from services.intelligence.learning import features
from services.intelligence.learning.features import Features
from services.intelligence.learning.profiles import Categories, Place, Profiles

MONTH = "2026-03"
ONCE = {"visit": {MONTH: {"count": 1}}}


def town(providers: int, categories: int) -> Profiles:
    draw = random.Random(1)
    ids = [f"p{number}" for number in range(providers)]
    return Profiles(
        {},
        {id: Place(48 + draw.random() / 10, 11 + draw.random() / 10) for id in ids},
        {id: frozenset({f"k{number % categories}", "all"}) for number, id in enumerate(ids)},
    )


def test_one_consumer_with_everything_takes_little_memory() -> None:
    """A table of providers and providers would take 288 MB, as would one of providers and categories."""
    count = 6_000
    profiles = town(count, count)
    rows = [("all", f"p{number}", ONCE, None) for number in range(count - 5)]
    rows += [(f"c{number}", f"p{number * each % count}", ONCE, None) for number in range(99) for each in (1, 3, 7)]
    graph = Graph.build(rows)
    tracemalloc.start()
    try:
        found = Features(graph, profiles, Question(MONTH)).of("all")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found is not None
    assert found.sampled
    assert most < 96 * 2**20
    few = Features(graph, profiles, Question(MONTH)).of("c1")
    assert few is not None
    assert not few.sampled


def test_a_sample_depends_on_the_set_of_relationships_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "KNOWN_PLACES", 4)
    draw = random.Random(2)
    rows = sorted({(f"c{draw.randrange(20)}", f"p{draw.randrange(30)}") for _ in range(300)})
    profiles = town(30, 4)
    made = []
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        graph = Graph(sample=5, budget=40)
        for row in rows:
            graph.put(*row, ONCE)
        each = Features(graph, profiles, Question(MONTH))
        found = each.of("c3")
        assert found is not None
        assert found.sampled
        names = graph.names["provider"]
        made.append(found.rows[names.numbers()])
    assert np.allclose(made[0], made[1], rtol=1e-12)
    assert np.allclose(made[0], made[2], rtol=1e-12)


def test_categories_are_compared_as_by_a_table() -> None:
    draw = random.Random(3)
    ids = [f"p{number}" for number in range(50)]
    mine = {id: frozenset(draw.sample("abcdefgh", draw.randrange(4))) for id in ids}
    names = sorted({name for each in mine.values() for name in each})
    table = np.array(
        [[len(mine[id]) ** -0.5 if name in mine[id] else 0.0 for name in names] for id in ids], np.float64
    )
    known = np.array(draw.sample(range(50), 9))
    found = Categories.of(ids, {id: each for id, each in mine.items() if each})
    assert found
    assert np.allclose(found.shared_with(known), table @ table[known].mean(axis=0), rtol=1e-12)
    assert found.shared_with(np.zeros(0, np.int64)).tolist() == [0.0] * 50
    assert not Categories.of(ids, {})


def test_consumers_who_come_are_no_reason_to_begin_anew() -> None:
    graph = Graph.build([("a", "x", ONCE, None), ("a", "y", ONCE, None), ("b", "y", ONCE, None)])
    at_home = Profiles({"a": Place(48.0, 11.0)}, {"x": Place(48.0, 11.0)}, {})
    without, with_homes = (Features(graph, each, Question(MONTH)) for each in (Profiles(), at_home))
    graph.put("new", "x", ONCE)
    assert (without.fits, with_homes.fits) == (True, False)
    assert without.of("new") is not None
    graph.put("new", "new", ONCE)
    assert not without.fits
