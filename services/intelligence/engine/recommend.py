"""Who comes next: providers for a consumer, consumers for a provider. Pure."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from services.intelligence.engine.answers import Affinity, Answer, Lack, Ranking
from services.intelligence.engine.graph import Graph
from services.intelligence.engine.question import Question, Side, other
from services.intelligence.engine.ranking import best, rank
from services.intelligence.engine.reasons import explain
from services.intelligence.engine.rows import Floats
from services.intelligence.engine.walk import (
    SCALE,
    Walk,
    first_step,
    known_strengths,
    popularity_factors,
)


def recommend(graph: Graph, side: Side, id: str, question: Question) -> Ranking:
    """The providers for a consumer, or the consumers for a provider; ``side`` and ``id`` are who it is for.

    Popularity, which is said, where the walk has no answer; nothing, where those known were asked for.
    """
    graph = graph.of_kind(question.kind)
    walk = start(graph, side, id, question)
    if not isinstance(walk, Walk):
        return _instead(graph, side, id, question, walk)
    wholes = candidates(walk, question)
    scores = wholes * popularity_factors(graph, other(side), question.beta) / SCALE
    found = int((scores > 0).sum())
    if not found:
        return _instead(graph, side, id, question, _nowhere(walk, question), walk.sampled)
    chosen = best(scores, graph.names[other(side)].ids, question.limit)
    return Ranking(answers(walk, chosen, wholes, question), "walk", None, found, walk.sampled)


def affinity(graph: Graph, consumer_id: str, provider_id: str, question: Question) -> Affinity:
    """One pair: how strong it is, and how strongly the rest of the graph connects it."""
    graph = graph.of_kind(question.kind)
    known = (consumer_id, provider_id) in graph
    strength = graph.strength(consumer_id, provider_id, question)
    question = replace(question, known=known)
    walk = start(graph, "consumer", consumer_id, question)
    number = graph.names["provider"].find(provider_id)
    if not isinstance(walk, Walk):
        return Affinity(consumer_id, provider_id, strength, None, None, 0, walk, False)
    if number is None:
        return Affinity(consumer_id, provider_id, strength, None, None, 0, "unknown", walk.sampled)
    wholes = candidates(walk, question)
    scores = wholes * popularity_factors(graph, "provider", question.beta) / SCALE
    found = int((scores > 0).sum())
    if not scores[number]:
        return Affinity(consumer_id, provider_id, strength, None, None, found, "unreached", walk.sampled)
    place = rank(scores, graph.names["provider"].ids, number)
    (made,) = answers(walk, [number], wholes, question)
    return Affinity(consumer_id, provider_id, strength, made, place, found, None, walk.sampled)


def popular(graph: Graph, side: Side, question: Question) -> list[Answer]:
    """The nodes of ``side`` with the most relationships. Their score is that number."""
    graph = graph.of_kind(question.kind)
    names = graph.names[side]
    degrees = graph.rows[side].length[: names.room].astype(np.float64)
    degrees[graph.not_allowed(side, question)] = 0
    chosen = best(degrees, names.ids, question.limit)
    return [Answer(names.ids[number], int(degrees[number]), 1.0, int(degrees[number])) for number in chosen]


def start(graph: Graph, side: Side, id: str, question: Question) -> Walk | Lack:
    """The walk from a node, or why there is none."""
    number = graph.names[side].find(id)
    if number is None:
        return "unknown"
    first = first_step(graph, side, number, question)
    return "weightless" if first is None else Walk(graph, side, number, first)


def candidates(walk: Walk, question: Question) -> Floats:
    """The sums of those who may be an answer, 0 for all others."""
    graph, side = walk.graph, walk.side
    wholes = walk.sums.copy()
    known = graph.rows[side].row(walk.start)
    if question.known:
        wholes[walk.first] -= walk.own()
        kept = np.zeros(len(wholes), np.bool_)
        kept[known] = True
        wholes[~kept] = 0
    else:
        wholes[known] = 0
    wholes[graph.not_allowed(other(side), question)] = 0
    return wholes


def answers(walk: Walk, numbers: Sequence[int], wholes: Floats, question: Question) -> tuple[Answer, ...]:
    """Some answers with their reasons."""
    graph, far = walk.graph, other(walk.side)
    ids, degrees = graph.names[far].ids, graph.rows[far].length
    reasons = explain(walk, numbers, question) if question.reasons else [((), 0, 0)] * len(numbers)
    strengths: list[float | None] = [None] * len(numbers)
    if question.known:
        strengths = [*known_strengths(graph, walk.side, walk.start, numbers, question).tolist()]
    return tuple(
        Answer(
            ids[number],
            int(wholes[number]),
            float(int(degrees[number]) ** -question.beta) / SCALE,
            int(degrees[number]),
            *reason,
            strength,
        )
        for number, reason, strength in zip(numbers, reasons, strengths, strict=True)
    )


def _nowhere(walk: Walk, question: Question) -> Lack:
    """Why the walk has no answer: it reaches nobody, or only such as may not be one."""
    if question.among is None and not question.without:
        return "unreached"
    free = replace(question, among=None, without=frozenset())
    return "excluded" if candidates(walk, free).any() else "unreached"


def _instead(graph: Graph, side: Side, id: str, question: Question, lack: Lack, sampled: bool = False) -> Ranking:
    """Popularity, without those known."""
    if question.known:
        return Ranking((), "walk", lack, 0, sampled)
    number = graph.names[side].find(id)
    ids = graph.names[other(side)].ids
    row = [] if number is None else graph.rows[side].row(number).tolist()
    without = question.without | {ids[each] for each in row}
    found = popular(graph, other(side), replace(question, kind=None, without=without))
    return Ranking(tuple(found), "popularity", lack, len(found), sampled)
