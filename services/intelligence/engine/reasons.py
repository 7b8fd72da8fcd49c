"""Why: the terms of a score, largest first. Pure."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from services.intelligence.engine.answers import Via
from services.intelligence.engine.question import Question
from services.intelligence.engine.rows import Floats, Ints, counted, summed
from services.intelligence.engine.walk import Walk

#: The terms that are listed, the number of the others, and their sum.
Reasons = tuple[tuple[Via, ...], int, int]


def explain(walk: Walk, targets: Sequence[int], question: Question) -> list[Reasons]:
    """The largest ``question.reasons`` terms of the sum of each of ``targets``.

    A term is a provider that the consumer knows, whichever of both was asked about: of those that lead from the
    consumer to the provider, or, from a provider, of those of the consumer that the walk came through.
    """
    by_consumer = walk.side == "consumer"
    return (_of_consumer if by_consumer else _of_provider)(walk, targets, question)


def _of_consumer(walk: Walk, targets: Sequence[int], question: Question) -> list[Reasons]:
    ends = np.cumsum(walk.lengths)
    found = []
    for target, (sums, knows) in zip(targets, walk.by_first(targets), strict=True):
        if question.known:  # its own relationship is no reason
            sums[walk.first == target] = 0

        def counts(index: int, knows: NDArray[np.bool_] = knows) -> tuple[int, int]:
            of = int(walk.lengths[index])
            row = slice(int(ends[index]) - of, int(ends[index]))
            return int((knows[row] & (walk.parts[row] > 0)).sum()), of

        found.append(_terms(walk, walk.start, walk.first, sums, counts, question))
    return found


def _of_provider(walk: Walk, targets: Sequence[int], question: Question) -> list[Reasons]:
    room = walk.graph.names["provider"].room
    rows = walk.graph.rows
    everyone = summed(walk.met, walk.parts, room), counted(walk.met[walk.parts > 0], room)
    found = []
    for target in targets:
        sums, shared = everyone
        if question.known:  # its own relationship is no reason
            others = np.repeat(walk.first != target, walk.lengths)
            met, parts = walk.met[others], walk.parts[others]
            sums, shared = summed(met, parts, room), counted(met[parts > 0], room)
        providers = rows["consumer"].row(target).astype(np.int64)

        def counts(index: int, providers: Ints = providers, shared: Ints = shared) -> tuple[int, int]:
            provider = providers[index]
            return int(shared[provider]), int(rows["provider"].length[provider])

        found.append(_terms(walk, target, providers, sums[providers], counts, question))
    return found


def _terms(
    walk: Walk,
    consumer: int,
    providers: Ints,
    wholes: Floats,
    counts: Callable[[int], tuple[int, int]],
    question: Question,
) -> Reasons:
    """``counts`` gives, of an index of ``providers``, how many consumers share it, and of how many."""
    ids = walk.graph.names["provider"].ids
    consumer_id = walk.graph.names["consumer"].ids[consumer]
    terms = np.flatnonzero(wholes)
    order = sorted(terms.tolist(), key=lambda index: (-wholes[index], ids[providers[index]]))
    via = []
    for index in order[: question.reasons]:
        provider_id = ids[providers[index]]
        strength = walk.graph.strength(consumer_id, provider_id, question) or 0.0
        via.append(Via(provider_id, strength, *counts(index), int(wholes[index])))
    listed = sum(each.whole for each in via)
    return tuple(via), len(order) - len(via), int(wholes.sum()) - listed
