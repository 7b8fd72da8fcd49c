"""Who is alike: providers with the same consumers, consumers with the same providers. Pure."""

from collections.abc import Sequence

import numpy as np

from services.intelligence.engine.answers import Answer, Lack, Ranking
from services.intelligence.engine.graph import Graph
from services.intelligence.engine.question import Question, Side, other
from services.intelligence.engine.ranking import best
from services.intelligence.engine.reasons import Reasons, Terms
from services.intelligence.engine.rows import Floats, Ints, counted, summed
from services.intelligence.engine.walk import SCALE, first_step, popularity_factors


def similar(graph: Graph, side: Side, id: str, question: Question) -> Ranking:
    """The nodes of the same side that share neighbours with one: the walk, a step shorter.

    S(j) = Σ_v rint(2^50 · w(u, v) / |row of v|) over the neighbours of both. ``shared`` of an answer is their
    number. The reasons of a similar consumer are the providers that both know; who knows two providers is not
    named. ``known`` has no meaning here.
    """
    graph = graph.of_kind(question.kind)
    names = graph.names[side]
    number = names.find(id)
    if number is None:
        return Ranking((), "walk", "unknown", 0, False)
    first = first_step(graph, side, number, question)
    if first is None:
        return Ranking((), "walk", "weightless", 0, False)
    rows = graph.rows[other(side)]
    most = min(graph.sample, max(32, graph.budget // len(first.nodes)))
    met, lengths = rows.gather(first.nodes, most, names)
    sampled = first.sampled or bool((rows.length[first.nodes] > most).any())
    parts = np.repeat(np.rint(first.chances * SCALE / lengths), lengths)
    wholes = summed(met, parts, names.room)
    shared = counted(met, names.room)
    wholes[number] = 0
    lack: Lack = "excluded" if wholes.any() else "unreached"
    wholes[graph.not_allowed(side, question)] = 0
    scores = wholes * popularity_factors(graph, side, question.beta) / SCALE
    found = int((scores > 0).sum())
    chosen = best(scores, names.ids, question.limit)
    degrees = graph.rows[side].length
    terms = _terms(graph, id, first.nodes, met, lengths, parts, chosen, question) if side == "consumer" else {}
    answers = tuple(
        Answer(
            names.ids[each],
            int(wholes[each]),
            float(int(degrees[each]) ** -question.beta) / SCALE,
            int(degrees[each]),
            *terms.get(each, ((), 0, 0)),
            shared=int(shared[each]),
        )
        for each in chosen
    )
    return Ranking(answers, "walk", None if found else lack, found, sampled)


def _terms(
    graph: Graph,
    consumer_id: str,
    providers: Ints,
    met: Ints,
    lengths: Ints,
    parts: Floats,
    chosen: Sequence[int],
    question: Question,
) -> dict[int, Reasons]:
    """The providers that each chosen consumer and the one asked about both know, with what each adds to the
    score."""
    if not question.reasons:
        return {}
    owners = np.repeat(np.arange(len(providers)), lengths)
    wanted = np.zeros(graph.names["consumer"].room, np.bool_)
    wanted[list(chosen)] = True
    at = np.flatnonzero(wanted[met])
    terms = Terms(graph, consumer_id, providers, question)
    found = {}
    for each in chosen:
        of_both = at[met[at] == each]
        sums = summed(owners[of_both], parts[of_both], len(providers))
        largest = terms.largest(sums)
        found[each] = terms.reasons(sums, largest, [None] * len(largest), lengths[largest].tolist())
    return found
