"""Lists for many consumers with a guaranteed exposure."""

import random
from importlib import import_module
from itertools import pairwise

import numpy as np
import pytest

from services.intelligence.engine import Graph, Question, TooLarge, campaign, recommend
from services.intelligence.engine.campaign import gini

QUESTION = Question("2026-03", limit=4)
CONSUMERS = [f"c{number:02d}" for number in range(40)]


def build(reverse: bool = False) -> Graph:
    draw = random.Random(1)
    pairs = sorted({(draw.choice(CONSUMERS), f"p{int(draw.random() ** 3 * 20):02d}") for _ in range(200)})
    graph = Graph()
    for pair in pairs[::-1] if reverse else pairs:
        graph.put(*pair, {"k": {"2026-03": {"count": 1}}})
    return graph


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_every_provider_gets_its_share(share: float) -> None:
    graph = build()
    made = campaign(graph, CONSUMERS, QUESTION, share)
    report = made.report
    assert report.guaranteed == int(share * 40 * 4 / report.providers) > 0
    shown = [id for row in made.lists.values() for id, _ in row]
    counts = {id: shown.count(id) for id in graph.names["provider"].ids}
    assert report.below == sum(count < report.guaranteed for count in counts.values())
    # A provider that nearly everybody knows may miss its last place, where all places are guaranteed.
    assert report.below <= (1 if share == 1 else 0)
    assert report.shown == report.providers
    assert report.gini == pytest.approx(gini(np.array(list(counts.values()))))
    assert report.gini < report.gini_before
    assert 0 < report.kept_least <= report.kept_mean < 1
    for consumer, row in made.lists.items():
        assert len({id for id, _ in row}) == len(row) == 4
        assert not any((consumer, id) in graph for id, _ in row)
        assert all(one[1] >= other[1] for one, other in pairwise(row))
    assert campaign(build(reverse=True), CONSUMERS[::-1], QUESTION, share) == made


def test_more_fairness_costs_more() -> None:
    reports = [campaign(build(), CONSUMERS, QUESTION, share).report for share in (0, 0.25, 0.5, 1)]
    kept = [report.kept_mean for report in reports]
    assert kept[0] == 1.0
    assert kept == sorted(kept, reverse=True)
    assert [report.gini for report in reports] == sorted((report.gini for report in reports), reverse=True)


def test_without_a_guarantee_the_lists_are_the_recommendations() -> None:
    graph = build()
    made = campaign(graph, CONSUMERS, QUESTION, 0.0)
    for consumer, row in made.lists.items():
        ranking = recommend(graph, "consumer", consumer, QUESTION)
        if ranking.candidates >= 4:
            assert [id for id, _ in row] == [answer.id for answer in ranking.answers]
            assert [score for _, score in row] == pytest.approx([answer.score for answer in ranking.answers])


def test_the_unknown_get_popular_providers_and_are_counted() -> None:
    made = campaign(build(), ["nobody", "c01"], QUESTION, 0.0)
    assert made.report.unreached == 1
    assert len(made.lists["nobody"]) == 4
    assert made.report.consumers == 2


def test_limits_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="share"):
        campaign(build(), CONSUMERS, QUESTION, 1.5)
    few = Question("2026-03", limit=4, among=frozenset({"p00", "p01"}))
    report = campaign(build(), CONSUMERS, few, 0.5).report
    assert report.providers == 2
    assert report.short > 0
    # The package has a function of this name, too.
    monkeypatch.setattr(import_module("services.intelligence.engine.campaign"), "LARGEST", 10)
    with pytest.raises(TooLarge, match="divide the campaign"):
        campaign(build(), CONSUMERS, QUESTION, 0.5)


def test_nobody_is_an_empty_campaign() -> None:
    assert campaign(Graph(), [], QUESTION, 0.5).lists == {}
    assert campaign(Graph(), ["a"], QUESTION, 0.5).lists == {"a": ()}
