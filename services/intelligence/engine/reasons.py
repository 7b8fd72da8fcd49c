"""Why: the terms of a score, largest first. Pure."""

import numpy as np

from services.intelligence.engine.answers import Via
from services.intelligence.engine.question import Question
from services.intelligence.engine.rows import Floats, Ints, counted, summed
from services.intelligence.engine.walk import Walk


def explain(walk: Walk, target: int, question: Question) -> tuple[tuple[Via, ...], int, int]:
    """The largest ``question.reasons`` terms of the sum of ``target``, the number of the others and their sum.

    A term is a provider that the consumer knows, whichever of both was asked about: of those that lead from the
    consumer to the provider, or, from a provider, of those of the consumer that the walk came through.
    """
    terms = (
        _of_consumer(walk, target, question) if walk.side == "consumer" else _of_provider(walk, target, question)
    )
    providers, wholes, shared, of = terms
    ids = walk.graph.names["provider"].ids
    order = sorted(np.flatnonzero(wholes).tolist(), key=lambda index: (-wholes[index], ids[int(providers[index])]))
    consumer = walk.start if walk.side == "consumer" else target
    consumer_id = walk.graph.names["consumer"].ids[consumer]
    shown, others = order[: question.reasons], order[question.reasons :]
    via = tuple(
        Via(
            provider_id := ids[int(providers[index])],
            walk.graph.strength(consumer_id, provider_id, question) or 0.0,
            int(shared[index]),
            int(of[index]),
            int(wholes[index]),
        )
        for index in shown
    )
    return via, len(others), int(sum(wholes[index] for index in others))


def _of_consumer(walk: Walk, target: int, question: Question) -> tuple[Ints, Floats, Ints, Ints]:
    wholes, shared = walk.by_first(target)
    if question.known:  # its own relationship is no reason
        wholes[walk.first == target] = 0
    return walk.first, wholes, shared, walk.lengths


def _of_provider(walk: Walk, target: int, question: Question) -> tuple[Ints, Floats, Ints, Ints]:
    graph = walk.graph
    providers = graph.rows["consumer"].row(target).astype(np.int64)
    room = graph.names["provider"].room
    met, parts = walk.met, walk.parts
    if question.known:  # its own relationship is no reason
        others = np.repeat(walk.first != target, walk.lengths)
        met, parts = met[others], parts[others]
    carried = summed(met, parts, room)[providers]
    shared = counted(met[parts > 0], room)[providers]
    of = graph.rows["provider"].length[providers].astype(np.int64)
    return providers, carried, shared, of
